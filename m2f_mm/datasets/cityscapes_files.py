"""Cityscapes' fine annotations as train ids and in COCO panoptic form, equal to what cityscapesScripts makes.

From the download, whose layout stays as it is::

    cityscapes/leftImg8bit/{train,val}/CITY/*_leftImg8bit.png
    cityscapes/gtFine/{train,val}/CITY/*_gtFine_{labelIds,instanceIds}.png

to::

    cityscapes/gtFine/{train,val}/CITY/*_gtFine_labelTrainIds.png        as ``createTrainIdLabelImgs``
    cityscapes/gtFine/cityscapes_panoptic_{train,val}.json and folders   as ``createPanopticImgs``
"""
from functools import partial
from pathlib import Path

import numpy as np

from .cityscapes_categories import LABEL_IDS, NAMES, PALETTE, SUPERCATEGORIES, THING_IDS
from .id_map import IGNORE
from .io import encode_png, write_file, write_panoptic_png
from .preparation import bounding_box, each_picture, finish, names_in, read_pixels, summary

SPLITS = ('train', 'val')
TRAIN_ID = np.full(256, IGNORE, np.uint8)  # of each label id; the number plate's -1 is 255 in 8 bits
TRAIN_ID[list(LABEL_IDS)] = np.arange(len(LABEL_IDS))
CATEGORIES = [
    dict(id=label, name=name, color=list(colour), supercategory=parent, isthing=int(train_id in THING_IDS))
    for train_id, (label, name, colour, parent) in enumerate(zip(LABEL_IDS, NAMES, PALETTE, SUPERCATEGORIES))
]


def prepare(root: Path, workers: int) -> list[str]:
    """Make what is missing, and say what it holds.

    Raises:
        FileNotFoundError: there are no annotations.
        BrokenPictures: names the pictures that cannot be read or contradict themselves.
    """
    found = []
    for split in SPLITS:
        result = root / 'gtFine' / f'cityscapes_panoptic_{split}.json'
        if result.is_file():
            found.append(f'{result} is there already')
            continue
        print(f'{result}:')
        folder = root / 'gtFine' / split
        names = names_in(folder, '_gtFine_instanceIds.png')
        records = each_picture(partial(picture, folder, result.with_suffix('')), names, result, workers)
        finish(result, dict(images=[record['image'] for record in records],
                            annotations=[record['annotation'] for record in records], categories=CATEGORIES))
        labels = [segment['category_id'] for record in records for segment in record['annotation']['segments_info']]
        found.append(summary(CATEGORIES, labels, len(records), str(result)))
    return found


def picture(folder: Path, out: Path, name: str) -> dict:
    """Write train ids and panoptic PNG of the picture ``CITY/CITY_SEQUENCE_FRAME``."""
    labels = read_pixels(folder / f'{name}_gtFine_labelIds.png', ('L', ))
    instances = read_pixels(folder / f'{name}_gtFine_instanceIds.png', ('I', 'I;16')).astype(np.int32)
    if labels.shape != instances.shape:
        raise ValueError(f'{folder / name}: label ids are {labels.shape}, instance ids {instances.shape} pixels (H, W)')
    write_file(str(folder / f'{name}_gtFine_labelTrainIds.png'), encode_png(TRAIN_ID[labels]))

    ids, segments = np.zeros(instances.shape, np.int32), []
    for number in np.unique(instances).tolist():
        label = number if number < 1000 else number // 1000  # 1000 * label + counter, or the label alone
        if label not in LABEL_IDS:
            continue
        thing = LABEL_IDS.index(label) in THING_IDS
        mask = instances == number
        ids[mask] = number
        segments.append(dict(id=number, category_id=label, area=int(mask.sum()), bbox=bounding_box(mask),
                             iscrowd=int(thing and number < 1000)))  # a thing without counter is a group
    base = Path(name).name
    write_panoptic_png(str(out / f'{base}_gtFine_panoptic.png'), ids)
    height, width = instances.shape
    return dict(image=dict(id=base, width=width, height=height, file_name=f'{base}_gtFine_leftImg8bit.png'),
                annotation=dict(image_id=base, file_name=f'{base}_gtFine_panoptic.png', segments_info=segments))
