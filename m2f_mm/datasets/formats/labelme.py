"""labelme's JSON, one for each image."""

import base64
import binascii
import io
import os
from collections.abc import Mapping
from math import hypot
from typing import Any

import numpy as np
from PIL import Image

from ..json_records import shown
from ..segmentations import WrongMask
from .coco import sizes_listed
from .cvat import joined
from .folder import Folder, split_of_folders
from .options import Options
from .records import ImageRecord, ObjectRecord, OwnData, named_label
from .shapes import box_around, checked_box, checked_polygon, ellipse, placed_mask

_CURE = 'Correct it in labelme, or take it out of the file'
_NO_AREA = ('point', 'points', 'line', 'linestrip')
_IGNORED, _BACKGROUND = '__ignore__', '_background_'


def read_labelme(folder: Folder, options: Options) -> OwnData | None:
    """All JSONs with ``shapes`` and ``imagePath``; None where there is none.

    Shapes of one label and one ``group_id`` are one object. Rectangles are filled masks where there are other shapes,
    as in labelme's own scripts, and boxes where there are none.
    """
    files = [(name, content) for name, content in folder.jsons() if _is_labelme(content)]
    if not files:
        return None
    data = OwnData(folder.root, 'labelme', f'{files[0][0]} has shapes and imagePath', ('instance', 'boxes'), [], [])
    shapes = [shape for _, content in files for shape in content['shapes'] if isinstance(shape, dict)]
    kinds = [str(shape.get('shape_type', 'polygon')) for shape in shapes]
    boxes = set(kinds) - {*_NO_AREA} == {'rectangle'}
    if boxes:
        data.tasks = ('boxes',)
        data.notes.append('Every shape is a rectangle: boxes only.')
    elif 'rectangle' in kinds:
        data.notes.append(
            f'{kinds.count("rectangle")} of {len(kinds)} shapes are rectangles, taken as masks of this form.'
        )
    for name, content in files:
        _read_file(folder, data, name, content, boxes)
    for kind in _NO_AREA:
        if kind in kinds:
            data.notes.append(f'{kinds.count(kind)} shapes of the type {kind}, which has no area, are left out.')
    ignored = sum(shape.get('label') == _IGNORED for shape in shapes)
    if ignored:
        data.notes.append(f'{ignored} shapes of the label {_IGNORED} are left out.')
    order = sorted(range(len(data.classes)), key=lambda label: data.classes[label])
    data.classes = [data.classes[label] for label in order]
    for record in data.records:
        for each in record.objects:
            each.label = order.index(each.label)
    return data


def _is_labelme(content: Any) -> bool:
    return isinstance(content, dict) and isinstance(content.get('shapes'), list) and 'imagePath' in content


def _read_file(folder: Folder, data: OwnData, name: str, content: Mapping, boxes: bool) -> None:
    here, image = os.path.dirname(name), content['imagePath']
    file = folder.find_image(image, [here]) if isinstance(image, str) else None
    file = file or folder.image_with_stem(os.path.splitext(os.path.basename(name))[0], [here])
    if file is None:
        folder.missing_image(name, '', str(image))
        if content.get('imageData'):
            data.notes.append(f'{name} holds its image itself, as imageData: save it beside the JSON.')
        return
    size = folder.size(file, sizes_listed(content, 'imageHeight', 'imageWidth'))
    if size is None:
        return
    record = ImageRecord(file, size, split_of_folders(name))
    data.records.append(record)
    groups: dict[tuple[str, Any], list[ObjectRecord]] = {}
    for number, shape in enumerate(content['shapes']):
        try:
            if not isinstance(shape, dict):
                raise WrongMask(f'it is {shown(shape)}, not a JSON object')
            label, kind = shape.get('label'), str(shape.get('shape_type', 'polygon'))
            if not isinstance(label, str) or not label.strip():
                raise WrongMask('it has no label')
            if kind in _NO_AREA or label in (_IGNORED, _BACKGROUND):
                continue
            instance = _object(shape, kind, size, boxes)
        except WrongMask as error:
            folder.fault('shapes that cannot be read', name, f'shape {number}', str(error), _CURE)
            continue
        instance.label = named_label(data.classes, label.strip())
        group = shape.get('group_id')
        groups.setdefault((label, ('alone', number) if group is None else str(group)), []).append(instance)
    record.objects = [joined(parts, size) for parts in groups.values()]


def _object(shape: Mapping, kind: str, size: tuple[int, int], boxes: bool) -> ObjectRecord:
    try:
        points = np.asarray(shape.get('points'), float)
    except (TypeError, ValueError):
        points = np.zeros(0)
    if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
        raise WrongMask(f'its points are {shown(shape.get("points"))}, no pairs of numbers')
    if kind in ('polygon', 'oriented_rectangle'):
        return ObjectRecord(0, [checked_polygon(points, size)])
    if len(points) != 2:
        raise WrongMask(f'a {kind} has {len(points)} points; it needs 2')
    if kind == 'rectangle':
        box = checked_box(box_around(points), size)
        if boxes:
            return ObjectRecord(0, box=box)
        x0, y0, x1, y1 = box
        return ObjectRecord(0, [np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])])
    if kind == 'circle':
        radius = hypot(*(points[1] - points[0]))
        return ObjectRecord(0, [checked_polygon(ellipse(*points[0], radius, radius), size)])
    if kind == 'mask':
        return ObjectRecord(0, rle=_placed(shape.get('mask'), points, size))
    raise WrongMask(f'the shape type {kind!r} is not known')


def _placed(encoded: Any, points: np.ndarray, size: tuple[int, int]) -> dict:
    """RLE of a PNG of the box between two points, which are the first and the last pixel."""
    try:
        with Image.open(io.BytesIO(base64.b64decode(encoded, validate=True))) as image:
            part = np.asarray(image.convert('L')) > 0
    except (TypeError, ValueError, binascii.Error, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise WrongMask(f'its mask is no PNG in base64 ({error})') from None
    (x0, y0), (x1, y1) = points.min(0).round().astype(int).tolist(), points.max(0).round().astype(int).tolist()
    if part.shape not in ((y1 - y0 + 1, x1 - x0 + 1), (y1 - y0, x1 - x0)):  # ends included, or of other tools not
        raise WrongMask(
            f'its mask has {part.shape[0]}x{part.shape[1]} pixels (HxW), its box {y1 - y0 + 1}x{x1 - x0 + 1}'
        )
    return placed_mask(part, x0, y0, size)
