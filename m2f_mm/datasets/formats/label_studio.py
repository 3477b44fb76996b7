"""Label Studio's export JSON, also JSON_MIN: polygons and boxes in percent, brush strokes as run lengths of RGBA."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..json_records import is_finite, is_integer, shown
from ..segmentations import WrongMask
from .coco import box_note, sizes_listed
from .folder import IMAGES, Folder, split_of_folders
from .options import Options
from .records import ImageRecord, ObjectRecord, OwnData, encode_mask, named_label
from .shapes import box_around, checked_box, checked_polygon, ellipse, rectangle

_LABELS = ('polygonlabels', 'brushlabels', 'rectanglelabels', 'ellipselabels', 'labels')
_CURE = 'Correct it in Label Studio and export anew'


def read_label_studio(folder: Folder, options: Options) -> OwnData | None:
    """All JSONs that are lists of tasks with their results; None where there is none."""
    files = [(name, content) for name, content in folder.jsons() if _is_tasks(content)]
    if not files:
        return None
    data = OwnData(
        folder.root, 'Label Studio', f'{files[0][0]} is a list of tasks with results', ('instance', 'boxes'), [], []
    )
    taken: set[str] = set()
    several = 0
    for name, content in files:
        for number, task in enumerate(content):
            several += _read_task(folder, data, name, number, task, taken)
    if several:
        data.notes.append(
            f'{several} tasks have several annotations: that marked as ground truth is taken, else the first.'
        )
    objects = [each for record in data.records for each in record.objects]
    boxes = sum(not each.has_mask for each in objects)
    if objects and boxes == len(objects):
        data.tasks = ('boxes',)
    elif boxes:
        data.notes.append(box_note(boxes, len(objects)))
    order = sorted(range(len(data.classes)), key=lambda label: data.classes[label])
    data.classes = [data.classes[label] for label in order]
    for each in objects:
        each.label = order.index(each.label)
    return data


def _is_tasks(content: Any) -> bool:
    if not isinstance(content, list) or not content or not isinstance(content[0], dict):
        return False
    if isinstance(content[0].get('data'), dict):
        return isinstance(content[0].get('annotations'), list)
    return any(True for _ in _short_results(content[0])) and _image(content[0]) is not None


def _short_results(task: Mapping) -> Iterator[dict]:
    """Results of a task of JSON_MIN, in the form of the long one."""
    for value in task.values():
        if isinstance(value, list):
            for each in value:
                if isinstance(each, dict) and any(key in each for key in _LABELS):
                    yield dict(each, value=each, type=next(key for key in _LABELS if key in each))


def _image(values: Mapping) -> str | None:
    """The address of the image among the data of a task: the first text that ends like one."""
    texts = [value for value in values.values() if isinstance(value, str)]
    paths = [text for text in texts if text.split('?d=')[-1].split('?')[0].lower().endswith(IMAGES)]
    return paths[0] if paths else None


def _read_task(folder: Folder, data: OwnData, name: str, number: int, task: Any, taken: set[str]) -> bool:
    """Add the record of a task; whether it has several annotations."""
    where = f'task {task.get("id", number)}' if isinstance(task, dict) else f'task number {number}'
    results, several = _results(task)
    image = _image(task.get('data') if isinstance(task.get('data'), dict) else task) if isinstance(task, dict) else None
    if image is None or results is None:
        folder.fault('tasks without image or result', name, where, shown(task), _CURE, fatal=image is None)
        return False
    file = _file(folder, name, image)
    if file is None:
        folder.missing_image(name, where, image)
        return False
    if file in taken:
        folder.fault('images of two tasks', name, where, f'{image} is in a task before, which is taken', fatal=False)
        return False
    taken.add(file)
    listed = next((size for each in results if (size := sizes_listed(each, 'original_height', 'original_width'))), None)
    size = folder.size(file, listed)
    if size is None:
        return several
    record = ImageRecord(file, size, split_of_folders(os.path.relpath(file, folder.root)))
    data.records.append(record)
    for key, each in _joined(results).items():
        try:
            instance = _object(each, size)
        except WrongMask as error:
            folder.fault('results that cannot be read', name, f'result {key} of {where}', str(error), _CURE)
            continue
        if instance is not None:
            instance.label = named_label(data.classes, _label(each))
            record.objects.append(instance)
    return several


def _results(task: Any) -> tuple[list | None, bool]:
    """Results of the annotation that counts, None where there is none; whether there are others."""
    if not isinstance(task, dict):
        return None, False
    if not isinstance(task.get('annotations'), list):
        return list(_short_results(task)), False
    done = [each for each in task['annotations'] if isinstance(each, dict) and not each.get('was_cancelled')]
    done.sort(key=lambda each: not each.get('ground_truth'))  # stable
    if not done or not isinstance(done[0].get('result'), list):
        return None, False
    return [each for each in done[0]['result'] if isinstance(each, dict)], len(done) > 1


def _file(folder: Folder, name: str, address: str) -> str | None:
    """The image of an address: a part of a path, which an upload has put 8 digits and a dash before."""
    path = address.split('?d=')[-1]
    here = os.path.dirname(name)
    short = re.sub(r'^[0-9a-f]{8}-', '', os.path.basename(path))
    return folder.find_image(path, [here]) or folder.find_image(short, [here, os.path.join(here, 'images')])


def _joined(results: Sequence[dict]) -> dict[str, dict]:
    """One entry for each region: its shape and its label may be two results of one id."""
    regions: dict[str, dict] = {}
    for number, each in enumerate(results):
        key = str(each.get('id', number))
        region = regions.setdefault(key, dict(each, value={}))
        if isinstance(each.get('value'), dict):
            region['value'].update(each['value'])
    return regions


def _label(region: Mapping) -> str:
    for key in _LABELS:
        names = region['value'].get(key)
        if isinstance(names, list) and names and isinstance(names[0], str) and names[0].strip():
            return names[0].strip()
    raise WrongMask('it has no label')


def _object(region: Mapping, size: tuple[int, int]) -> ObjectRecord | None:
    """The object of a region; None where it has no area."""
    value = region['value']
    height, width = size
    if region.get('image_rotation'):
        raise WrongMask(f'the image was turned by {region["image_rotation"]} degrees in the tool: turn the file')
    if not {'points', 'rle', 'x'} & value.keys():
        return None  # choices, ratings, texts
    _label(region)
    if 'rle' in value:
        return ObjectRecord(0, rle=encode_mask(decode_rle(value['rle'], *size)))
    if 'points' in value:
        try:
            points = np.asarray(value['points'], float) * (width / 100, height / 100)
        except (TypeError, ValueError):
            raise WrongMask(f'its points are {shown(value["points"])}') from None
        return ObjectRecord(0, [checked_polygon(points, size)])
    keys = ('x', 'y', 'radiusX', 'radiusY') if 'radiusX' in value else ('x', 'y', 'width', 'height')
    if 'keypointlabels' in value:
        return None
    if not all(is_finite(value.get(key)) for key in keys):
        raise WrongMask(f'its box is {shown([value.get(key) for key in keys])}')
    x, y, right, down = (value[key] * side / 100 for key, side in zip(keys, (width, height) * 2))
    turn = value.get('rotation') or 0
    if 'radiusX' in value:
        return ObjectRecord(0, [checked_polygon(ellipse(x, y, right, down, turn), size)])
    return ObjectRecord(0, box=checked_box(box_around(rectangle(x, y, x + right, y + down, turn)), size))


def decode_rle(rle: Any, height: int, width: int) -> np.ndarray:
    """Bool (H, W) of Label Studio's run lengths: where the alpha of an RGBA image is above its half.

    A stream of bits: 32 for the number of values, 5 for the bits of a value, four times 4 for the bits of a length
    (each one less than it is); then runs: a bit (1: one value, repeated; 0: a value each), 2 bits that choose a length,
    the length less one, and the value or values.

    Raises:
        WrongMask: it is none, or not of this size.
    """
    if not isinstance(rle, list) or not all(is_integer(byte) and 0 <= byte < 256 for byte in rle):
        raise WrongMask(f'its rle is {shown(rle)}; expected are bytes')
    bits = _Bits(bytes(rle))
    number = bits.read(32)
    if number != height * width * 4:
        raise WrongMask(f'its rle has {number} values, but 4 of {height}x{width} pixels are {height * width * 4}')
    word = bits.read(5) + 1
    lengths = [bits.read(4) + 1 for _ in range(4)]
    values = np.zeros(number, np.uint8)
    place = 0
    while place < number:
        repeated = bits.read(1)
        run = bits.read(lengths[bits.read(2)]) + 1
        if place + run > number:
            raise WrongMask('its rle is longer than the image')
        if repeated:
            values[place : place + run] = min(bits.read(word), 255)
        else:
            values[place : place + run] = [min(bits.read(word), 255) for _ in range(run)]
        place += run
    return values.reshape(height, width, 4)[..., 3] > 127


class _Bits:
    """Numbers out of a stream of bits, the highest first."""

    def __init__(self, content: bytes):
        self._content, self._place = content, 0

    def read(self, count: int) -> int:
        """The next bits as a number."""
        first, last = self._place >> 3, (self._place + count + 7) >> 3
        if last > len(self._content):
            raise WrongMask('its rle ends early')
        chunk = int.from_bytes(self._content[first:last], 'big')
        self._place += count
        return chunk >> (8 * last - self._place) & ((1 << count) - 1)
