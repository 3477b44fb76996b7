"""Label maps in the layouts of Cityscapes and ADE20K."""

import os
from collections.abc import Mapping

import numpy as np

from ..cityscapes_categories import LABEL_IDS, THING_IDS
from ..cityscapes_categories import NAMES as CITYSCAPES
from .class_lists import find_class_list
from .folder import Folder, split_of_folders
from .label_map_reader import Pair, counted_maps, label_map_data, total_values
from .meanings import decide, given_classes
from .options import Options
from .records import ImageRecord, ObjectRecord, OwnData, encode_mask
from .run_lengths import objects_can_be_read
from .value_maps import share

_TRAIN_IDS, _LABEL_IDS, _INSTANCE_IDS = ('_gtFine_labelTrainIds.png', '_gtFine_labelIds.png', '_gtFine_instanceIds.png')


def read_cityscapes(folder: Folder, options: Options) -> OwnData | None:
    """Label maps below ``gtFine`` and images below ``leftImg8bit``; None where there are none."""
    maps = {suffix: [name for name in folder.files if name.endswith(suffix)] for suffix in (_TRAIN_IDS, _LABEL_IDS)}
    if not any(maps.values()) or not any('gtFine' in name.split('/')[:-1] for name in folder.files):
        return None
    listed = given_classes(options) or find_class_list(folder)
    suffix = _TRAIN_IDS if len(maps[_TRAIN_IDS]) >= len(maps[_LABEL_IDS]) and listed is None else _LABEL_IDS
    suffix = suffix if maps[suffix] else _TRAIN_IDS
    images = {os.path.basename(name).removesuffix('_leftImg8bit.png'): name for name in folder.images if '8bit' in name}
    pairs, missing = [], 0
    for name in maps[suffix]:
        image = images.get(os.path.basename(name).removesuffix(suffix))
        missing += image is None
        if image:
            pairs.append(Pair(folder.path(image), folder.path(name), split_of_folders(name)))
    records = counted_maps(folder, pairs)
    counts = total_values(records)
    notes, questions = [], []
    if listed is not None:
        if listed.values is None:  # CVAT's label_colors.txt: numbers from 0 on
            listed = listed._replace(colors=None, values=list(range(len(listed.names))))
        meanings, notes, questions = decide(counts, listed, options)
    elif suffix == _TRAIN_IDS:
        meanings = {**dict(enumerate(CITYSCAPES)), 255: None}
    else:
        meanings = dict.fromkeys((*range(35), 255))
        meanings.update(zip(LABEL_IDS, CITYSCAPES))
        notes.append("Label ids that Cityscapes' benchmark does not evaluate are ignored.")
    order = CITYSCAPES if listed is None else None
    data = label_map_data(
        folder,
        'Cityscapes',
        f'there is a folder gtFine with files *{suffix}',
        records,
        meanings,
        order=order,
    )
    data.notes, data.questions = notes, questions
    if missing:
        data.notes.append(f'{missing} label maps have no image *_leftImg8bit.png and are left out.')
    with_objects = listed is None and all(os.path.isfile(_instance_file(each, suffix)) for each in data.records)
    if with_objects and objects_can_be_read(data.notes):
        data.tasks = ('semantic', 'instance', 'boxes')
        data.is_thing = [label in THING_IDS for label in range(len(CITYSCAPES))]
        for record in data.records:
            record.objects = _instances(_instance_file(record, suffix))
        data.notes.append('Panoptic training: make its PNGs first, with tools/dataset_converters/cityscapes.py.')
    return data


def _instance_file(record: ImageRecord, suffix: str) -> str:
    return record.label_map.removesuffix(suffix) + _INSTANCE_IDS


def _instances(path: str) -> list[ObjectRecord]:
    """Things of a file of 1000 times the label id, plus a number; a label id alone is a crowd."""
    from PIL import Image

    with Image.open(path) as image:
        ids = np.asarray(image).astype(np.int64)
    things = {LABEL_IDS[label]: label for label in THING_IDS}
    return [
        ObjectRecord(things[label_id], rle=encode_mask(ids == value), is_crowd=value < 1000)
        for value in np.unique(ids).tolist()
        if (label_id := value // 1000 if value >= 1000 else value) in things
    ]


def read_ade20k(folder: Folder, options: Options) -> OwnData | None:
    """Label maps in ``annotations/{training,validation}`` beside ``images/...``; None where there are none."""
    tops = [
        name.split('annotations/training/')[0] for name in folder.with_suffix('.png') if _parts(name)[-2:] == _TRAINING
    ]
    if not tops:
        return None
    top = tops[0]
    pairs, missing = [], 0
    for split, name in (('train', 'training'), ('val', 'validation')):
        start = f'{top}annotations/{name}/'
        for mask in folder.with_suffix('.png'):
            if mask.startswith(start):
                stem = os.path.splitext(mask.removeprefix(start))[0]
                image = folder.image_with_stem(stem, [f'{top}images/{name}'])
                missing += image is None
                if image:
                    pairs.append(Pair(image, folder.path(mask), split))
    if not pairs:
        return None
    records = counted_maps(folder, pairs)
    counts = total_values(records)
    listed = given_classes(options) or find_class_list(folder)
    zero = options.background is None and (options.ignore is None)
    if zero and 0 in counts and not (listed is not None and listed.values is not None and 0 in listed.values):
        shown = share(counts, 0)
        options = Options(ignore=(0, 255), classes=options.classes)
        if listed is not None and listed.values is None:
            listed = listed._replace(values=list(range(1, len(listed.names) + 1)))
        meanings, notes, questions = decide(counts, listed, options)
        said = (
            f'0 has {shown} of the pixels. In this layout it is what has no class: ignored, as is 255; the options '
            'background=0 or ignore=() say otherwise.'
        )
        notes = [said, *notes[:-1]]
    else:
        meanings, notes, questions = decide(counts, listed, options)
    names: Mapping[int, str | None] = meanings
    data = label_map_data(folder, 'ADE20K', f'there is {top}annotations/training beside images', records, names)
    data.notes, data.questions = notes, questions
    if missing:
        data.notes.append(f'{missing} label maps have no image of their name and are left out.')
    return data


_TRAINING = ('annotations', 'training')


def _parts(name: str) -> tuple[str, ...]:
    return tuple(name.split('/')[:-1])
