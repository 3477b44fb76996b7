"""Cityscapes' fine annotations as train ids, in COCO panoptic and in COCO instance form.

From the download, whose layout stays as it is::

    cityscapes/leftImg8bit/{train,val}/CITY/*_leftImg8bit.png
    cityscapes/gtFine/{train,val}/CITY/*_gtFine_{labelIds,instanceIds}.png, *_gtFine_polygons.json

to::

    cityscapes/gtFine/{train,val}/CITY/*_gtFine_labelTrainIds.png        as cityscapesScripts' createTrainIdLabelImgs
    cityscapes/gtFine/cityscapes_panoptic_{train,val}.json and folders   as its createPanopticImgs
    cityscapes/gtFine/cityscapes_instance_{train,val}.json               polygons, as detectron2 reads them
"""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from shapely.errors import ShapelyError
from shapely.geometry import MultiPolygon, Polygon

from ..cityscapes_categories import LABEL_IDS, NAMES, PALETTE, SUPERCATEGORIES, THING_IDS
from ..id_map import IGNORE
from ..io import encode_png, write_file, write_panoptic_png
from .runner import coco_box, convert_instances, convert_panoptic, names_in, read_pixels, unless_there

SPLITS = ('train', 'val')
TRAIN_ID = np.full(256, IGNORE, np.uint8)  # of each label id; the number plate's -1 is 255 in 8 bits
TRAIN_ID[list(LABEL_IDS)] = np.arange(len(LABEL_IDS))
THINGS = {NAMES[i]: LABEL_IDS[i] for i in THING_IDS}  # label id of each
CATEGORIES = [
    dict(id=label, name=name, color=list(color), supercategory=parent, isthing=int(train_id in THING_IDS))
    for train_id, (label, name, color, parent) in enumerate(zip(LABEL_IDS, NAMES, PALETTE, SUPERCATEGORIES))
]


def convert(root: Path, workers: int) -> list[str]:
    """Make what is missing, and say what it holds.

    Raises:
        FileNotFoundError: there are no annotations.
        BrokenImages: names the images that cannot be read or contradict themselves.
    """
    make = dict(panoptic=make_panoptic, instance=make_instances)
    return [
        unless_there(root / f'gtFine/cityscapes_{kind}_{split}.json', partial(write, root / 'gtFine' / split, workers))
        for split in SPLITS
        for kind, write in make.items()
    ]


def make_panoptic(folder: Path, workers: int, result: Path) -> str:
    """Write train ids, the panoptic JSON of a split and its PNGs; a summary of them."""
    names = names_in(folder, '_gtFine_instanceIds.png')
    work = partial(panoptic_image, folder, result.with_suffix(''))
    return convert_panoptic(work, names, result, CATEGORIES, workers, suffix='_gtFine_panoptic.png')


def make_instances(folder: Path, workers: int, result: Path) -> str:
    """Write the instance JSON of a split; a summary of it."""
    things = [category for category in CATEGORIES if category['isthing']]
    names = names_in(folder, '_gtFine_polygons.json')
    return convert_instances(partial(instances_of_image, folder), names, result, things, workers)


def panoptic_image(folder: Path, out: Path, name: str) -> dict:
    """Write train ids and panoptic PNG of the image ``CITY/CITY_SEQUENCE_FRAME``."""
    labels = read_pixels(folder / f'{name}_gtFine_labelIds.png', ('L',))
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
        segments.append(
            dict(
                id=number,
                category_id=label,
                area=int(mask.sum()),
                bbox=coco_box(mask),
                iscrowd=int(thing and number < 1000),
            )
        )  # a thing without counter is a group
    base = Path(name).name
    write_panoptic_png(str(out / f'{base}_gtFine_panoptic.png'), ids)
    height, width = instances.shape
    return dict(
        image=dict(id=base, width=width, height=height, file_name=f'{base}_gtFine_leftImg8bit.png'),
        annotation=dict(image_id=base, file_name=f'{base}_gtFine_panoptic.png', segments_info=segments),
    )


def instances_of_image(folder: Path, name: str) -> dict:
    """The things of the image ``CITY/CITY_SEQUENCE_FRAME`` as polygons that do not overlap.

    A later object of the file lies before an earlier one, whatever its class. The corners are centres of pixels, and
    the label maps were drawn half a pixel fatter than the polygons, hence the two halves.
    """
    path = folder / f'{name}_gtFine_polygons.json'
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
        image = dict(
            id=Path(name).name,
            file_name=f'{name}_leftImg8bit.png',
            height=content['imgHeight'],
            width=content['imgWidth'],
        )
        objects = [(entry['label'], entry['polygon']) for entry in content['objects'] if 'deleted' not in entry]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f'{path} is not a complete polygon file of Cityscapes ({error!r})') from error
    try:
        annotations = [dict(annotation, image_id=image['id']) for annotation in visible_things(objects)]
    except ShapelyError as error:
        raise ValueError(f'{path} has polygons that cannot be cut ({error})') from error
    return dict(image=image, annotations=annotations)


def visible_things(objects: list[tuple[str, list]]) -> Iterator[dict]:
    """What is left of each thing among labels and corners in the order of the file, the last one first."""
    before = Polygon()
    for label, corners in reversed(objects):
        if label == 'license plate':  # has no label id
            continue
        whole = Polygon(np.asarray(corners, np.float32) + 0.5).buffer(0.5, quad_segs=4)
        visible, thing = whole.difference(before), THINGS.get(label.removesuffix('group'))
        if thing and visible.is_empty:
            continue
        before = before.union(whole)
        if not thing:
            continue
        pieces = visible.geoms if isinstance(visible, MultiPolygon) else [visible]
        outlines = [np.asarray(piece.exterior.coords) for piece in pieces]  # COCO's polygons have no holes
        x1, y1, x2, y2 = visible.bounds
        yield dict(
            category_id=thing,
            iscrowd=int(label.endswith('group')),
            area=sum(Polygon(outline).area for outline in outlines),
            bbox=[x1, y1, x2 - x1, y2 - y1],
            segmentation=[outline.ravel().tolist() for outline in outlines],
        )
