"""COCO's instance annotations, and Roboflow's form of them."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ..coco_records import annotation_faults
from ..faults import Fault, FaultsError
from ..json_records import is_finite, is_id, is_integer
from ..record_faults import category_faults, image_faults
from .folder import Folder, split_of_file, split_of_folders
from .options import Options
from .records import ImageRecord, ObjectRecord, OwnData
from .shapes import polygon_array, rle_of

ROBOFLOW = '_annotations.coco.json'
LISTS = ('images', 'annotations', 'categories')


def read_coco(folder: Folder, options: Options) -> OwnData | None:
    """The instances of all JSONs of this form in a folder; None where there is none."""
    files = [(name, content) for name, content in folder.jsons() if is_coco(content)]
    if not files:
        return None
    files.sort(key=lambda file: (split_of_file(file[0]) == '', not os.path.basename(file[0]).startswith('instances')))
    roboflow = all(os.path.basename(name) == ROBOFLOW for name, _ in files)
    data = OwnData(
        folder.root,
        "Roboflow's COCO" if roboflow else 'COCO instances',
        f'{files[0][0]} has the lists images, annotations and categories',
        (),
        [],
        [],
    )
    unused = [_unused_zero(content) for _, content in files] if roboflow else []
    if unused and all(unused):
        data.notes.append(
            f'Category 0, {unused[0]!r}, has no object in any file: it is the group of the classes, and left out.'
        )
    dropped = {0} if unused and all(unused) else set()
    taken: dict[str, str] = {}  # the JSON of each image
    for name, content in files:
        _read_file(folder, data, name, content, dropped, taken)
    objects = [each for record in data.records for each in record.objects]
    boxes = [each for each in objects if not each.has_mask]
    if objects and len(boxes) == len(objects):
        data.tasks = ('boxes',)
        data.notes.append('No annotation has a segmentation: boxes only.')
    else:
        data.tasks = ('instance', 'boxes')
        if boxes:
            data.notes.append(box_note(len(boxes), len(objects)))
    return data


def box_note(boxes: int, objects: int) -> str:
    """What happens to objects without a mask among others."""
    return (
        f'{boxes} of {objects} objects have a box but no mask: they are left out where masks are trained, so give them '
        'masks, or train on boxes.'
    )


def is_coco(content: Any) -> bool:
    """Whether a JSON is of this form, and not of keypoints."""
    if not isinstance(content, dict) or not all(isinstance(content.get(key), list) for key in LISTS):
        return False
    first = next(iter(content['annotations']), {})
    return isinstance(first, dict) and not {'segments_info', 'keypoints'} & first.keys()


def _unused_zero(content: Mapping) -> str | None:
    """Name of the category 0 of a JSON that no annotation has."""
    if any(isinstance(each, dict) and each.get('category_id') == 0 for each in content['annotations']):
        return None
    categories = [each for each in content['categories'] if isinstance(each, dict)]
    return next((str(each.get('name')) for each in categories if each.get('id') == 0 and len(categories) > 1), None)


def class_labels(
    data: OwnData, content: Mapping, name: str, path: str, dropped: Sequence[int] | set[int] = ()
) -> dict[int, int]:
    """Label of each category id of a JSON, whose names join the classes of the data.

    Raises:
        FaultsError: the categories contradict themselves.
    """
    faults = [fault for fault in category_faults(content, path, None) if fault.fatal]
    if faults:
        raise FaultsError(faults)
    names = {each['id']: each['name'].strip() for each in content['categories'] if each['id'] not in dropped}
    if data.classes and list(names.values()) != data.classes:
        data.notes.append(f'{name} lists other categories than the files before it: classes are joined by their names.')
    data.classes.extend(each for each in names.values() if each not in data.classes)
    return {key: data.classes.index(each) for key, each in names.items()}


def usable_images(folder: Folder, content: Mapping, name: str, key: str = 'images', names: str = 'file_name') -> list:
    """Records of images, or videos, that are complete; faults of the others are noted."""
    path = folder.path(name)
    faults = list(image_faults(content, path, key, names))
    folder.faults.extend(faults)
    if not any(fault.fatal for fault in faults):
        return content[key]
    ids: set[Any] = set()
    usable = []
    for record in content[key]:
        if not isinstance(record, dict) or not is_id(record.get('id')) or record['id'] in ids:
            continue
        if any(fault.fatal for fault in image_faults({key: [record]}, path, key, names)):
            continue
        ids.add(record['id'])
        usable.append(record)
    return usable


def _read_file(
    folder: Folder, data: OwnData, name: str, content: Mapping, dropped: set[int], taken: dict[str, str]
) -> None:
    path = folder.path(name)
    labels = class_labels(data, content, name, path, dropped)
    images = usable_images(folder, content, name)
    split = split_of_file(name)
    records: dict[Any, ImageRecord] = {}
    doubles: dict[str, list[str]] = {}
    near = image_folders(name, split, [image['file_name'] for image in images[:20]], folder)
    for image in images:
        file = folder.find_image(image['file_name'], near)
        if file is None:
            folder.missing_image(name, f'image {image["id"]}', image['file_name'])
        elif file in taken:
            doubles.setdefault(taken[file], []).append(image['file_name'])
        elif size := folder.size(file, (image['height'], image['width'])):
            records[image['id']] = ImageRecord(file, size, split)
        if file is not None:
            taken.setdefault(file, name)
    for other, names in doubles.items():
        data.notes.append(
            f'{name}: {len(names)} of its {len(images)} images are in {other}, too, and are taken from there.'
        )
    by_id = {image['id']: image for image in images}
    listed, categories = set(by_id), {category['id']: category['name'] for category in content['categories']}
    first_with_id: dict[Any, int] = {}
    for number, annotation in enumerate(content['annotations']):
        has_mask = isinstance(annotation, dict) and bool(annotation.get('segmentation'))
        faults = list(
            annotation_faults(annotation, number, path, by_id, listed, categories, None, has_mask, first_with_id)
        )
        folder.faults.extend(faults)
        if not faults and annotation['image_id'] in records and annotation['category_id'] in labels:
            record = records[annotation['image_id']]
            instance = _object(annotation, labels[annotation['category_id']], record.size, has_mask)
            if instance is None:
                folder.faults.append(Fault('objects without mask and box', path, f'annotation {annotation["id"]}'))
            else:
                record.objects.append(instance)
    data.records.extend(records.values())


def _object(annotation: Mapping, label: int, size: tuple[int, int], has_mask: bool) -> ObjectRecord | None:
    crowd = bool(annotation.get('iscrowd', 0))
    if has_mask:
        mask = annotation['segmentation']
        if isinstance(mask, list):
            return ObjectRecord(label, [polygon_array(polygon) for polygon in mask], is_crowd=crowd)
        return ObjectRecord(label, rle=rle_of(mask, size), is_crowd=crowd)
    box = annotation.get('bbox')
    if not (isinstance(box, list) and len(box) == 4 and all(map(is_finite, box)) and min(box[2:]) > 0):
        return None
    x, y, width, height = box
    return ObjectRecord(label, box=(x, y, x + width, y + height), is_crowd=crowd)


def image_folders(name: str, split: str, images: Sequence[str], folder: Folder) -> list[str]:
    """Folders, relative to those of ``Folder.places``, from which the file names of a JSON start.

    Args:
        name: of the JSON.
        split: that it is of.
        images: some file names in it.
        folder: that is read.

    Returns:
        All in which one of the images lies. Those that have more come first, then those that are named after the split,
        are nearer to the JSON, or have a usual name: another one may have the same names, too.
    """
    matches = Counter(start for image in images if is_text(image) for start in folder.starts(image))
    here = os.path.dirname(name).split('/')

    def rank(start: str) -> tuple:
        parts = start.split('/')
        other = not split or split_of_folders(f'{start}/x') != split
        near = len(os.path.commonprefix([here, parts]))
        usual = {*start.lower().split('/')} & {'images', 'img', 'jpegimages', 'img_dir'}
        return -matches[start], other, -near, not usual and parts != here, len(parts), start

    return sorted(matches, key=rank)


def is_text(value: Any) -> bool:
    """Whether a value of a JSON is a usable name."""
    return isinstance(value, str) and '\0' not in value and bool(value)


def sizes_listed(record: Mapping, height: str, width: str) -> tuple[int, int] | None:
    """Height and width that a record lists; None where it does not."""
    sides = record.get(height), record.get(width)
    return (int(sides[0]), int(sides[1])) if all(is_integer(side) and side > 0 for side in sides) else None
