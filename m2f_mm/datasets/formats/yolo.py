"""YOLO's label files, and label maps that are listed by a YAML of the same kind.

A YAML has ``names``, and folders or lists of images under ``train``, ``val`` and ``test``. Each image has a text file
of its name, in the folder that has ``labels`` where the image has ``images``: a line for each object, its class and x
and y of its outline as shares of width and height, or of center, width and height of its box. With ``masks_dir``,
images have PNGs of class numbers in a folder of that name instead.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import yaml

from ..faults import Fault
from ..segmentations import WrongMask
from .class_lists import VOID, find_class_list
from .coco import box_note
from .folder import Folder, split_of_folders
from .label_map_reader import Pair, counted_maps, label_map_data
from .options import Options
from .records import ImageRecord, ObjectRecord, OwnData
from .shapes import checked_box, checked_polygon

_SLACK = 0.01  # how far a coordinate may lie outside of 0..1: rounding of the tool that wrote it
_CURE = 'Correct the line: class and x y of 3 points or more, as shares of width and height'


def read_yolo(folder: Folder, options: Options) -> OwnData | None:
    """The images of the first YAML of this form in a folder; None where there is none."""
    for name in sorted(folder.with_suffix('.yaml', '.yml'), key=lambda name: (name.count('/'), name)):
        content = _content(folder, name)
        if content is None:
            continue
        classes = _names(content, folder.path(name))
        images = _images(folder, name, content)
        if content.get('masks_dir'):
            return _label_maps(folder, name, content, classes, images)
        return _label_files(folder, f'{name} has names and train', classes, images)
    return _without_yaml(folder)


def _without_yaml(folder: Folder) -> OwnData | None:
    """Images with label files beside a list of classes, as Label Studio exports them; None where there are none."""
    listed = find_class_list(folder, 'classes.txt', 'obj.names')
    if listed is None or listed.values is not None or listed.colors is not None:
        return None
    texts = {folder.path(name) for name in folder.with_suffix('.txt')}
    images = [(folder.path(name), split_of_folders(name)) for name in folder.images]
    labelled = [(path, split) for path, split in images if _label_file(path, folder.root) in texts]
    if not labelled:
        return None
    reason = f'{listed.file} lists classes, and images have files of labels'
    return _label_files(folder, reason, dict(enumerate(listed.names)), images)


def _content(folder: Folder, name: str) -> dict | None:
    try:
        with open(folder.path(name), encoding='utf-8') as file:
            content = yaml.safe_load(file)
    except (yaml.YAMLError, UnicodeDecodeError):
        return None
    return content if isinstance(content, dict) and 'names' in content and {'train', 'val'} & content.keys() else None


def _names(content: Mapping, path: str) -> dict[int, str]:
    """Name of each class number."""
    names = content['names']
    names = dict(enumerate(names)) if isinstance(names, list) else names
    if not isinstance(names, dict) or not names or not all(isinstance(key, int) for key in names):
        raise ValueError(f'{path}: names is {content["names"]!r}; expected is a list, or a number and a name a line')
    names = {key: str(name).strip() for key, name in sorted(names.items())}
    if len(set(names.values())) < len(names):
        raise ValueError(f'{path}: two classes have one name: {list(names.values())}')
    return names


def _images(folder: Folder, name: str, content: Mapping) -> list[tuple[str, str]]:
    """Path and split of each image that the YAML lists."""
    images: dict[str, str] = {}
    for split in ('test', 'val', 'train'):
        given = content.get(split) or ()
        for entry in [given] if isinstance(given, str) else given:
            listed = list(_listed(folder, name, str(content.get('path') or ''), str(entry)))
            if not listed:
                folder.fault(
                    'folders of images that are not there',
                    name,
                    f'{split}: {entry}',
                    'there is no such folder or list of images',
                    'Correct path and this entry',
                    fatal=split != 'test',
                )
            for path in listed:
                if images.setdefault(path, split) != split:
                    folder.fault(
                        'images of two splits',
                        os.path.relpath(path, folder.root),
                        '',
                        f'it is in {split} and in {images[path]}; it is taken for {images[path]} alone',
                        fatal=False,
                    )
    return sorted(images.items())


def _listed(folder: Folder, name: str, base: str, entry: str) -> Sequence[str]:
    """Images of an entry: a folder, or a text file of paths. Written for another computer, it is looked for beside the
    YAML."""
    here = os.path.dirname(folder.path(name))
    own = entry
    while own.startswith(('../', './')):
        own = own.split('/', 1)[1]
    places = [os.path.join(here, base, entry), os.path.join(here, entry), os.path.join(here, own)]
    places.append(os.path.join(here, *own.split('/')[-2:]))
    for place in dict.fromkeys(map(os.path.normpath, places)):
        if os.path.isdir(place) and (place + os.sep).startswith(folder.root + os.sep):
            inside = os.path.relpath(place, folder.root).replace(os.sep, '/')
            prefix = '' if inside == '.' else f'{inside}/'
            return [folder.path(each) for each in folder.images if each.startswith(prefix)]
        if os.path.isfile(place) and place.endswith('.txt'):
            with open(place, encoding='utf-8') as file:
                lines = [line.strip() for line in file if line.strip()]
            near = [os.path.relpath(each, folder.root) for each in (os.path.join(here, base), os.path.dirname(place))]
            near = [each for each in near if not each.startswith('..')]
            return [path for path in (folder.find_image(line, near) for line in lines) if path]
    return ()


def _replaced(path: str, root: str, word: str) -> str:
    """A path below the root whose last folder ``images`` has another name."""
    parts = os.path.relpath(path, root).split(os.sep)
    for i in range(len(parts) - 2, -1, -1):
        if parts[i] == 'images':
            parts[i] = word
            break
    return os.path.join(root, *parts)


def _label_file(image: str, root: str) -> str:
    """Path of the labels of an image."""
    return os.path.splitext(_replaced(image, root, 'labels'))[0] + '.txt'


def _label_maps(
    folder: Folder, name: str, content: Mapping, names: dict[int, str], images: Sequence[tuple[str, str]]
) -> OwnData:
    pairs, missing = [], 0
    for image, split in images:
        stem = os.path.splitext(_replaced(image, folder.root, str(content['masks_dir']).strip('/')))[0]
        mask = next((stem + each for each in ('.png', '.PNG', '.bmp', '.tif') if os.path.isfile(stem + each)), None)
        missing += mask is None
        if mask:
            pairs.append(Pair(image, mask, split))
    meanings: dict[int, str | None] = dict(names)
    mapping = content.get('label_mapping')
    if mapping:
        meanings = {
            int(value): names.get(target) if isinstance(target, int) else None for value, target in mapping.items()
        }
    meanings.setdefault(255, None)
    data = label_map_data(
        folder,
        'semantic label maps of a YAML',
        f'{name} has names, train and masks_dir',
        counted_maps(folder, pairs),
        meanings,
        order=[each for each in names.values() if each.lower() not in VOID],
    )
    data.notes.append('Value 255 is ignored, by this format.')
    if missing:
        data.notes.append(f'{missing} images have no label map and are left out.')
    return data


def _label_files(folder: Folder, reason: str, names: dict[int, str], images: Sequence[tuple[str, str]]) -> OwnData:
    data = OwnData(folder.root, '', reason, (), list(names.values()), [])
    labels = {number: place for place, number in enumerate(names)}
    empty = 0
    for image, split in images:
        size = folder.size(image)
        if size is None:
            continue
        record = ImageRecord(image, size, split)
        data.records.append(record)
        path = _label_file(image, folder.root)
        if os.path.isfile(path):
            _read_labels(folder, path, labels, record)
        else:
            empty += 1
    if empty == len(images):
        raise ValueError(
            f'{folder.root} is of YOLO ({reason}), but none of its {len(images)} images has a file of labels: '
            f'{images[0][0] if images else "an image"} would have its own in a folder labels in the place of images'
        )
    objects = [each for record in data.records for each in record.objects]
    boxes = sum(not each.has_mask for each in objects)
    if objects and boxes == len(objects):
        data.format, data.tasks = 'YOLO boxes', ('boxes',)
        data.notes.append('Every line of the labels has 5 numbers: boxes only.')
    else:
        data.format, data.tasks = 'YOLO segmentation', ('instance', 'boxes')
        if boxes:
            data.notes.append(box_note(boxes, len(objects)))
    if empty:
        data.notes.append(f'{empty} of {len(images)} images have no file of labels: taken as images without objects.')
    return data


def _read_labels(folder: Folder, path: str, labels: Mapping[int, int], record: ImageRecord) -> None:
    try:
        with open(path, encoding='utf-8') as file:
            lines = file.read().splitlines()
    except UnicodeDecodeError as error:
        folder.faults.append(Fault('label files that are no text', path, '', str(error), 'Export it anew'))
        return
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                record.objects.append(_object(line.split(), labels, record.size))
            except WrongMask as error:
                folder.faults.append(
                    Fault('lines of labels that cannot be read', path, f'line {number}', str(error), _CURE)
                )


def _object(words: Sequence[str], labels: Mapping[int, int], size: tuple[int, int]) -> ObjectRecord:
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        raise WrongMask(f'it holds something else than numbers: {" ".join(words)[:80]!r}') from None
    if numbers[0] not in labels:
        raise WrongMask(f'it has the class {words[0]}; the YAML has {min(labels)} to {max(labels)}')
    shares: Any = np.array(numbers[1:])
    if len(shares) != 4 and (len(shares) < 6 or len(shares) % 2):
        raise WrongMask(f'it has {len(words)} numbers')
    if not np.isfinite(shares).all() or shares.min() < -_SLACK or shares.max() > 1 + _SLACK:
        raise WrongMask(f'it has coordinates from {shares.min():g} to {shares.max():g}, outside of 0..1')
    height, width = size
    label = labels[int(numbers[0])]
    if len(shares) == 4:
        x, y, w, h = shares * (width, height, width, height)
        return ObjectRecord(label, box=checked_box((x - w / 2, y - h / 2, x + w / 2, y + h / 2), size))
    points = shares.clip(0, 1).reshape(-1, 2) * (width, height)
    return ObjectRecord(label, [checked_polygon(points, size)])
