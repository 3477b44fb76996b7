"""CVAT's XML for images: polygons, masks of run lengths, boxes and ellipses."""

import os
from collections.abc import Sequence
from xml.etree import ElementTree

import numpy as np

from ..segmentations import WrongMask
from .coco import box_note
from .folder import Folder, read_xml, split_of_folders
from .options import Options
from .records import ImageRecord, ObjectRecord, OwnData, named_label
from .run_lengths import coco_masks
from .shapes import box_around, checked_box, checked_polygon, ellipse, placed_mask, rectangle, runs_to_mask, turned

_CURE = 'Correct it in CVAT and export anew'
_NO_AREA = ('polyline', 'points', 'tag', 'cuboid', 'skeleton')


def read_cvat(folder: Folder, options: Options) -> OwnData | None:
    """All XMLs whose root is ``annotations`` with a ``version``; None where there is none.

    Shapes of one label and one group are one object, as in CVAT's own export to COCO.
    """
    data = OwnData(folder.root, "CVAT's XML", '', ('instance', 'boxes'), [], [])
    left_out: dict[str, int] = {}
    for name in folder.with_suffix('.xml'):
        try:
            root = read_xml(folder.path(name))
        except ValueError:
            continue  # the next reader of XMLs names it
        if root.tag != 'annotations' or root.find('version') is None:
            continue
        if root.find('track') is not None:
            raise ValueError(
                f'{folder.path(name)} has tracks of a video: export the task from CVAT as "CVAT for images 1.1"'
            )
        data.reason = data.reason or f'the root of {name} is annotations with a version'
        for label in root.iter('label'):
            if label.findtext('name') and label.findtext('type', 'any') not in ('tag', 'points', 'polyline'):
                named_label(data.classes, label.findtext('name', '').strip())
        for element in root.iter('image'):
            _read_image(folder, data, name, element, left_out)
    if not data.reason:
        return None
    objects = [each for record in data.records for each in record.objects]
    boxes = sum(not each.has_mask for each in objects)
    if objects and boxes == len(objects):
        data.tasks = ('boxes',)
    elif boxes:
        data.notes.append(box_note(boxes, len(objects)))
    for kind, count in left_out.items():
        data.notes.append(f'{count} times {kind}, which has no area, is left out.')
    return data


def _read_image(
    folder: Folder, data: OwnData, name: str, element: ElementTree.Element, left_out: dict[str, int]
) -> None:
    image = element.get('name', '')
    here = os.path.dirname(name)
    near = [here, os.path.join(here, 'images'), os.path.join(here, 'images', element.get('subset', ''))]
    file = folder.find_image(image, near)
    if file is None:
        folder.missing_image(name, f'image {element.get("id", "")}', image)
        return
    sides = element.get('height', ''), element.get('width', '')
    size = folder.size(file, (int(sides[0]), int(sides[1])) if all(map(str.isdigit, sides)) else None)
    if size is None:
        return
    split = split_of_folders(os.path.relpath(file, folder.root)) or split_of_folders(f'{element.get("subset", "")}/x')
    record = ImageRecord(file, size, split)
    data.records.append(record)
    groups: dict[tuple[str, str], list[ObjectRecord]] = {}
    shapes = sorted(element, key=lambda shape: int(shape.get('z_order', '0') or 0))
    for number, shape in enumerate(shapes):
        if shape.tag in _NO_AREA:
            left_out[shape.tag] = left_out.get(shape.tag, 0) + 1
            continue
        try:
            instance = _object(shape, size)
        except (ValueError, OverflowError) as error:
            where = f'{shape.tag} {number} of image {image}'
            folder.fault('shapes that cannot be read', name, where, str(error), _CURE)
            continue
        label = shape.get('label', '').strip()
        instance.label = named_label(data.classes, label)
        group = shape.get('group_id') or ''
        groups.setdefault((label, group if group not in ('', '0') else f'alone {number}'), []).append(instance)
    record.objects = [joined(parts, size) for parts in groups.values()]


def joined(parts: Sequence[ObjectRecord], size: tuple[int, int]) -> ObjectRecord:
    """One object of several parts: the union of their masks, or the box around them where one has no mask."""
    first = parts[0]
    if len(parts) == 1:
        return first
    if not all(part.has_mask for part in parts):
        corners = np.array([part.bounds(size) for part in parts]).reshape(-1, 2)
        return ObjectRecord(first.label, box=box_around(corners))
    if all(part.polygons is not None for part in parts):
        return ObjectRecord(first.label, [polygon for part in parts for polygon in part.polygons])
    return ObjectRecord(first.label, rle=coco_masks().merge([part.as_rle(size) for part in parts]))


def _object(shape: ElementTree.Element, size: tuple[int, int]) -> ObjectRecord:
    if not shape.get('label'):
        raise WrongMask('it has no label')
    if shape.tag == 'polygon':
        points = [[float(value) for value in point.split(',')] for point in shape.get('points', '').split(';')]
        return ObjectRecord(0, [checked_polygon(points, size)])
    turn = float(shape.get('rotation', '0') or 0)
    if shape.tag == 'ellipse':
        x, y, radius_x, radius_y = (float(shape.get(key, '')) for key in ('cx', 'cy', 'rx', 'ry'))
        return ObjectRecord(0, [checked_polygon(ellipse(x, y, radius_x, radius_y, turn), size)])
    if shape.tag == 'box':
        corners = [float(shape.get(key, '')) for key in ('xtl', 'ytl', 'xbr', 'ybr')]
        if turn:  # around its middle
            middle = np.array([corners[:2], corners[2:]]).mean(0)
            corners = list(box_around(turned(rectangle(*corners) - middle, turn) + middle))
        return ObjectRecord(0, box=checked_box(corners, size))
    if shape.tag == 'mask':
        left, top, width, height = (int(float(shape.get(key, ''))) for key in ('left', 'top', 'width', 'height'))
        counts = [int(value) for value in shape.get('rle', '').split(',')]
        return ObjectRecord(0, rle=placed_mask(runs_to_mask(counts, height, width), left, top, size))
    raise WrongMask(f'{shape.tag} is not known')
