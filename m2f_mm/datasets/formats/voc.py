"""Pascal VOC's folders, also as CVAT's "Segmentation mask 1.1", and XMLs with boxes or polygons of VOC and LabelMe."""

import os
from collections.abc import Iterable, Sequence
from functools import partial
from xml.etree import ElementTree

import numpy as np

from ..faults import Fault
from ..image_files import read_header
from ..label_maps import WrongLabelMap, check_size
from ..segmentations import WrongMask
from .class_lists import ClassList, find_class_list
from .folder import IMAGES, Folder, read_xml, split_of_folders
from .label_map_reader import Pair, counted_maps, label_map_data, total_values
from .masks import mostly_colored
from .meanings import decide, given_classes
from .options import Options
from .parallel import parallel
from .records import BACKGROUND, ImageRecord, ObjectRecord, OwnData, encode_mask, named_label
from .run_lengths import objects_can_be_read
from .shapes import checked_box, checked_polygon
from .value_maps import IGNORED, ValueTable, color_number, share

VOC = (
    BACKGROUND, 'aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat', 'chair', 'cow', 'diningtable',
    'dog', 'horse', 'motorbike', 'person', 'pottedplant', 'sheep', 'sofa', 'train', 'tvmonitor',
)  # fmt: skip
VOID_COLOR = 0xE0E0C0  # of VOC's borders
MEND = 'Correct the annotation, or take it out of the file'


def read_voc(folder: Folder, options: Options) -> OwnData | None:
    """Label maps in a folder ``SegmentationClass``, with the objects of ``SegmentationObject``; None where there is
    none."""
    maps = [name for name in folder.with_suffix('.png') if name.split('/')[:-1][-1:] == ['SegmentationClass']]
    if not maps:
        return None
    top = os.path.dirname(os.path.dirname(maps[0]))
    label_list = os.path.join(top, 'labelmap.txt')
    listed = given_classes(options) or find_class_list(folder, 'labelmap.txt') or find_class_list(folder)
    sets = _sets(folder, top)
    pairs, missing = [], 0
    for name in maps:
        stem = os.path.splitext(os.path.basename(name))[0]
        image = folder.image_with_stem(stem, [f'{top}/{each}'.lstrip('/') for each in ('JPEGImages', 'images', '')])
        image = image or _anywhere(folder, stem)
        missing += image is None
        if image:
            pairs.append(Pair(image, folder.path(name), sets.get(stem, '')))
    colored = mostly_colored(pairs)
    if colored and (listed is None or listed.colors is None):
        listed = ClassList('the colors of VOC', list(VOC), colors=[voc_color(i) for i in range(len(VOC))])
    elif listed is not None and not colored and not _has_palette(pairs):
        listed = listed._replace(colors=None)  # numbers in the order of the list
    colored = listed is not None and listed.colors is not None
    table = ValueTable({}, colored)
    records = counted_maps(folder, pairs, table)
    counts = total_values(records)
    if listed is None and max((value for value in counts if value != 255), default=0) < len(VOC):
        names = set(_object_names(folder, top))
        if names and names <= set(VOC):
            meanings, notes, questions = {**dict(enumerate(VOC)), 255: None}, [], []
            notes.append('The classes are the 20 of VOC: the XMLs in Annotations name no other.')
        else:
            meanings, notes, questions = decide(counts, None, options)
    else:
        meanings, notes, questions = decide(counts, listed, options, colored)
    if colored and meanings.get(0) == BACKGROUND:
        questions = [each for each in questions if not each.text.startswith('Black')]
        notes.append(f'Black, {share(counts, 0)} of the pixels, is {BACKGROUND}, by this format.')
    if 255 in counts and not colored and meanings.get(255, '') is None:
        notes = [note for note in notes if not note.startswith('255')]
        notes.append(
            f'255, {share(counts, 255)} of the pixels, is the void border of objects: ignored, by this format.'
        )
    if colored and VOID_COLOR in counts:
        meanings.setdefault(VOID_COLOR, None)
        notes.append(f'{share(counts, VOID_COLOR)} of the pixels have the color of void borders: ignored.')
    reason = 'labelmap.txt and SegmentationClass' if label_list in folder.files else 'SegmentationClass'
    data = label_map_data(
        folder,
        "CVAT's segmentation masks" if label_list in folder.files else 'Pascal VOC',
        f'there is {reason}{" in " + top if top else ""}',
        records,
        meanings,
        table,
        order=None if listed is None else _listed_first(meanings, listed.names),
    )
    data.notes, data.questions = notes, questions
    if missing:
        data.notes.append(f'{missing} label maps have no image of their name and are left out.')
    _read_objects(folder, data)
    return data


def voc_color(index: int) -> int:
    """Number of the color that VOC gives a class: the bits of the index, three by three from the lowest, are the bits
    of red, green and blue from the highest."""
    color = [0, 0, 0]
    for bit in range(8):
        for channel in range(3):
            color[channel] |= (index >> (3 * bit + channel) & 1) << (7 - bit)
    return color_number((color[0], color[1], color[2]))


def _has_palette(pairs: Sequence[Pair]) -> bool:
    try:
        return bool(pairs) and read_header(pairs[0].label_map).mode == 'P'
    except ValueError:
        return False


def _listed_first(meanings: dict[int, str | None], names: Sequence[str]) -> list[str]:
    used = [name for _, name in sorted(meanings.items()) if name is not None]
    return [name for name in dict.fromkeys(used) if name not in names] + [name for name in names if name in used]


def _anywhere(folder: Folder, stem: str) -> str | None:
    """The only image of this name that is no mask."""
    matches = [
        name
        for name in folder.images
        if os.path.splitext(os.path.basename(name))[0] == stem and 'Segmentation' not in name
    ]
    return folder.path(matches[0]) if len(matches) == 1 else None


def _sets(folder: Folder, top: str) -> dict[str, str]:
    """Split of each image that a file in ``ImageSets/Segmentation`` lists."""
    splits: dict[str, str] = {}
    for split in ('test', 'val', 'train'):
        name = f'{top}/ImageSets/Segmentation/{split}.txt'.lstrip('/')
        if name in folder.files:
            with open(folder.path(name), encoding='utf-8') as file:
                for line in file:
                    name, suffix = os.path.splitext(os.path.basename(line.strip()))
                    stem = name if suffix.lower() in IMAGES else name + suffix
                    if stem:
                        splits.setdefault(stem, split)
    return splits


def _object_names(folder: Folder, top: str) -> Iterable[str]:
    """Names of the objects in ``Annotations``."""
    start = f'{top}/Annotations/'.lstrip('/')
    for name in folder.with_suffix('.xml'):
        if name.startswith(start):
            try:
                root = read_xml(folder.path(name))
            except ValueError:
                continue
            yield from (each.findtext('name', '') for each in root.iter('object'))


def _read_objects(folder: Folder, data: OwnData) -> None:
    """Add the objects of ``SegmentationObject``, where every label map has such a file."""
    files = [
        os.path.join(
            os.path.dirname(os.path.dirname(each.label_map)), 'SegmentationObject', os.path.basename(each.label_map)
        )
        for each in data.records
    ]
    if not files or not all(map(os.path.isfile, files)) or not objects_can_be_read(data.notes):
        return
    for result in parallel(partial(_objects, data), zip(data.records, files)):
        if isinstance(result, Fault):
            folder.faults.append(result)
    if any(record.objects for record in data.records):
        data.tasks = ('semantic', 'instance', 'boxes')


def _objects(data: OwnData, item: tuple[ImageRecord, str]) -> Fault | None:
    """Fill in the objects of a record: each value is one, of the class that most of its pixels have."""
    record, path = item
    try:
        numbers = data.table.read_values(path)
        check_size(path, numbers.shape, record.image, record.size)
    except WrongLabelMap as error:
        return error.fault
    labels = data.table.read_labels(record.label_map, IGNORED)
    for number in np.unique(numbers).tolist():
        if number in (0, VOID_COLOR if data.table.colored else 255):
            continue
        mask = numbers == number
        inside = labels[mask]
        inside = inside[inside != IGNORED]
        if not inside.size:
            continue
        label = int(np.bincount(inside).argmax())
        if label != data.background:
            record.objects.append(ObjectRecord(label, rle=encode_mask(mask)))
    return None


def read_object_xmls(folder: Folder, options: Options) -> OwnData | None:
    """One XML per image with the root ``annotation``: boxes of VOC, polygons of LabelMe or Roboflow; None where there
    is none."""
    data = OwnData(folder.root, '', '', (), [], [])
    first = ''
    for name in folder.with_suffix('.xml'):
        try:
            root = read_xml(folder.path(name))
        except ValueError as error:
            folder.fault('XML files that cannot be read', name, '', str(error), 'Export it anew')
            continue
        if root.tag != 'annotation':
            continue
        first = first or name
        _read_xml(folder, data, name, root)
    if not first:
        return None
    objects = [each for record in data.records for each in record.objects]
    masks = any(each.has_mask for each in objects)
    data.format = 'LabelMe XML' if masks else 'VOC boxes'
    data.reason = f'{first} is an annotation of an image'
    data.tasks = ('instance', 'boxes') if masks else ('boxes',)
    data.classes, order = _sorted_classes(data.classes)
    for each in objects:
        each.label = order[each.label]
    return data


def _sorted_classes(classes: Sequence[str]) -> tuple[list[str], list[int]]:
    """Names by the alphabet, and the new place of each."""
    ordered = sorted(classes)
    return ordered, [ordered.index(name) for name in classes]


def _read_xml(folder: Folder, data: OwnData, name: str, root: ElementTree.Element) -> None:
    image = root.findtext('filename', '').strip()
    here, stem = os.path.dirname(name), os.path.splitext(os.path.basename(name))[0]
    near = [here, f'{os.path.dirname(here)}/JPEGImages'.lstrip('/'), f'{os.path.dirname(here)}/images'.lstrip('/')]
    file = folder.find_image(image, near) if image else None
    file = file or folder.image_with_stem(stem, near)
    if file is None:
        folder.missing_image(name, '', image or stem)
        return
    sides = root.findtext('size/height') or '0', root.findtext('size/width') or '0'
    listed = (int(sides[0]), int(sides[1])) if all(side.isdigit() and int(side) for side in sides) else None
    size = folder.size(file, listed)
    if size is None:
        return
    record = ImageRecord(file, size, split_of_folders(name))
    data.records.append(record)
    for number, each in enumerate(root.iter('object')):
        label = each.findtext('name', '').strip()
        if each.findtext('deleted', '0').strip() == '1':
            continue
        try:
            if not label:
                raise WrongMask('it has no name')
            instance = _xml_object(each, size)
        except (ValueError, OverflowError) as error:
            folder.fault('objects that cannot be read', name, f'object {number}', str(error), MEND)
            continue
        instance.label = named_label(data.classes, label)
        record.objects.append(instance)


def _xml_object(element: ElementTree.Element, size: tuple[int, int]) -> ObjectRecord:
    polygon = element.find('polygon')
    if polygon is not None:
        points = [(float(pt.findtext('x', '')), float(pt.findtext('y', ''))) for pt in polygon.iter('pt')]
        number = 1
        while polygon.find(f'x{number}') is not None:  # Roboflow's
            points.append(tuple(float(polygon.findtext(f'{axis}{number}', '')) for axis in 'xy'))
            number += 1
        return ObjectRecord(0, [checked_polygon(points, size)])
    box = element.find('bndbox')
    if box is None:
        raise WrongMask('it has neither polygon nor bndbox')
    x0, y0, x1, y1 = (float(box.findtext(key, '')) for key in ('xmin', 'ymin', 'xmax', 'ymax'))
    return ObjectRecord(0, box=checked_box((x0 - 1, y0 - 1, x1, y1), size))  # VOC counts pixels from 1, ends included
