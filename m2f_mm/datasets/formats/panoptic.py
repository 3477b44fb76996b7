"""COCO's panoptic annotations: a JSON of segments and a PNG of ids for each image."""

import os
from collections.abc import Mapping
from typing import Any

from ..faults import Fault
from ..id_map import IdRuns
from ..inspection import png_faults
from ..io import read_panoptic_png
from ..json_records import is_id, shown
from ..panoptic_records import panoptic_faults
from .coco import LISTS, class_labels, image_folders, usable_images
from .folder import Folder, split_of_file
from .options import Options
from .parallel import parallel
from .records import ImageRecord, OwnData, Segment

_CURE = 'Write JSON and PNG anew, each segment with its id in both'


def read_panoptic(folder: Folder, options: Options) -> OwnData | None:
    """The panoptic annotations of all JSONs of this form in a folder; None where there is none."""
    files = [(name, content) for name, content in folder.jsons() if is_panoptic(content)]
    if not files:
        return None
    files.sort(key=lambda file: split_of_file(file[0]) == '')
    data = OwnData(
        folder.root,
        'COCO panoptic',
        f'{files[0][0]} has annotations with segments_info',
        ('panoptic', 'instance', 'semantic'),
        [],
        [],
    )
    isthing: dict[str, bool] = {}
    taken: set[str] = set()
    for name, content in files:
        _read_file(folder, data, name, content, isthing, taken)
    unsaid = [name for name in data.classes if name not in isthing]
    if unsaid:
        data.notes.append(
            f'Categories without isthing are taken as things: {", ".join(unsaid[:10])}'
            f'{", ..." if len(unsaid) > 10 else ""}. Add "isthing": 0 to those that cannot be counted.'
        )
    data.is_thing = [isthing.get(name, True) for name in data.classes]
    if not any(data.is_thing):
        data.tasks = ('panoptic', 'semantic')
    return data


def is_panoptic(content: Any) -> bool:
    """Whether a JSON is of this form."""
    if not isinstance(content, dict) or not all(isinstance(content.get(key), list) for key in LISTS):
        return False
    first = next(iter(content['annotations']), None)
    return isinstance(first, dict) and 'segments_info' in first


def _read_file(
    folder: Folder, data: OwnData, name: str, content: Mapping, isthing: dict[str, bool], taken: set[str]
) -> None:
    path = folder.path(name)
    labels = class_labels(data, content, name, path)
    for category in content['categories']:
        if 'isthing' in category:
            isthing[category['name'].strip()] = bool(category['isthing'])
    images = {image['id']: image for image in usable_images(folder, content, name)}
    faults = list(panoptic_faults(content, path))
    known = set(folder.faults)
    folder.faults.extend(fault for fault in faults if fault not in known)
    split = split_of_file(name)
    near = image_folders(name, split, [image['file_name'] for image in list(images.values())[:20]], folder)
    pngs = _png_folder(folder, name, content)
    records = []
    for annotation in content['annotations']:
        if any(fault.fatal for fault in faults) and not _is_whole(annotation, images, content, path):
            continue
        image = images[annotation['image_id']]
        file = folder.find_image(image['file_name'], near)
        if file is None:
            folder.missing_image(name, f'image {image["id"]}', image['file_name'])
            continue
        if file in taken:
            data.notes.append(f'{name}: image {image["file_name"]} is in another file, too, and is taken from there.')
            continue
        taken.add(file)
        size = folder.size(file, (image['height'], image['width']))
        if size is None:
            continue
        segments = [
            Segment(each['id'], labels[each['category_id']], bool(each.get('iscrowd', 0)))
            for each in annotation['segments_info']
        ]
        png = os.path.join(pngs, annotation['file_name'])
        records.append(ImageRecord(file, size, split, panoptic=png, segments=segments))
    for record, wrong in zip(records, parallel(_png_faults, records)):
        folder.faults.extend(wrong)
        if not wrong:
            data.records.append(record)


def _is_whole(annotation: Any, images: Mapping, content: Mapping, path: str) -> bool:
    """Whether one annotation, alone, is without a fatal fault."""
    if not isinstance(annotation, dict) or not is_id(annotation.get('image_id')):
        return False
    if annotation['image_id'] not in images:
        return False
    alone = dict(content, images=[images[annotation['image_id']]], annotations=[annotation])
    return not any(fault.fatal for fault in panoptic_faults(alone, path))


def _png_folder(folder: Folder, name: str, content: Mapping) -> str:
    """The folder of the PNGs of a JSON: named as it is, else one that has the first PNG."""
    first = next(
        (each['file_name'] for each in content['annotations'] if isinstance(each.get('file_name'), str)), ''
    )  # fmt: skip
    beside = os.path.splitext(folder.path(name))[0]
    if not first or os.path.isfile(os.path.join(beside, first)):
        return beside
    ends = [each for each in folder.files if f'/{each}'.endswith(f'/{first}')]
    split = split_of_file(name)
    ends.sort(key=lambda each: (split_of_file(each) != split, each))
    for each in ends:
        if folder.path(each)[-len(first) :] == first and 'image' not in each.lower():
            return folder.path(each)[: -len(first)].rstrip('/')
    return beside


def _png_faults(record: ImageRecord) -> list[Fault]:
    """Of header and ids of a panoptic PNG."""
    faults = list(png_faults(record.panoptic, record.size, None))
    if faults:
        return faults
    try:
        ids = set(IdRuns(read_panoptic_png(record.panoptic)).ids().tolist()) - {0}
    except ValueError as error:
        detail = str(error).removeprefix(f'{record.panoptic} ')
        return [Fault('panoptic PNGs that cannot be read', record.panoptic, '', detail, _CURE)]
    listed = {segment.id for segment in record.segments}
    if ids == listed:
        return []
    return [
        Fault(
            'panoptic PNGs with other segments than their JSON',
            record.panoptic,
            '',
            f'segment ids {shown(sorted(ids - listed))} are only in the PNG, {shown(sorted(listed - ids))} only in the '
            'JSON',
            _CURE,
        )
    ]
