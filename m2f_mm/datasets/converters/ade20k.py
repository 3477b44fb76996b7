"""ADE20K's scene parsing benchmark in COCO panoptic and COCO instance form.

From the two downloads, whose layout stays as it is::

    ADEChallengeData2016/images/{training,validation}/*.jpg
    ADEChallengeData2016/annotations/{training,validation}/*.png            0 is other, 1..150 are the classes
    ADEChallengeData2016/annotations_instance/{training,validation}/*.png   red is 1..100, green the object, 0 is none

to what Mask2Former's preparation calls::

    ADEChallengeData2016/ade20k_panoptic_{train,val}.json, ade20k_panoptic_{train,val}/*.png
    ADEChallengeData2016/ade20k_instance_{train,val}.json

Category ids are the positions of the 150 classes in both.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pycocotools.mask as coco_mask
from PIL import Image

from ..ade20k_categories import NAMES, PALETTE, SHORT_NAMES, THING_IDS
from ..io import write_panoptic_png
from .runner import SegmentColors, coco_box, convert_instances, convert_panoptic, names_in, read_pixels, unless_there

SPLITS = dict(train='training', val='validation')
IS_THING = [label in THING_IDS for label in range(len(NAMES))]
CATEGORIES = [
    dict(id=label, name=name, isthing=int(thing), color=list(color))
    for label, (name, thing, color) in enumerate(zip(NAMES, IS_THING, PALETTE))
]
THINGS = [dict(id=label, name=SHORT_NAMES[label]) for label in THING_IDS]


def convert(root: Path, workers: int) -> list[str]:
    """Make what is missing of the six files, and say what they hold.

    Raises:
        FileNotFoundError: a folder of the downloads is missing.
        BrokenImages: names the images that contradict themselves.
    """
    lines = []
    for short, folder in SPLITS.items():
        names = names_in(root / 'annotations' / folder, '.png')
        missing = [name for name in names if not (root / 'annotations_instance' / folder / f'{name}.png').is_file()]
        if missing:
            raise FileNotFoundError(
                f'{root / "annotations_instance" / folder} lacks {len(missing)} of {len(names)} images, the first is '
                f'{missing[0]}.png; unpack annotations_instance.tar '
                '(http://sceneparsing.csail.mit.edu/data/ChallengeData2017/annotations_instance.tar) there'
            )
        make = dict(panoptic=make_panoptic, instance=make_instances)
        for kind, write in make.items():
            write = partial(write, root, folder, names, workers)
            lines.append(unless_there(root / f'ade20k_{kind}_{short}.json', write))
    return lines


def make_panoptic(root: Path, folder: str, names: list[str], workers: int, result: Path) -> str:
    """Write the panoptic JSON of a split and its PNGs; a summary of them."""
    work = partial(panoptic_image, root, folder, result.with_suffix(''))
    return convert_panoptic(work, names, result, CATEGORIES, workers)


def make_instances(root: Path, folder: str, names: list[str], workers: int, result: Path) -> str:
    """Write the instance JSON of a split; a summary of it."""
    return convert_instances(partial(instances_of_image, root, folder), names, result, THINGS, workers)


def panoptic_image(root: Path, folder: str, out: Path, name: str) -> dict:
    """Write the panoptic PNG of an image: its stuff, and its objects over it. Things without an object are void."""
    path = root / 'annotations' / folder / f'{name}.png'
    classes = read_pixels(path, ('L',)).astype(np.int32) - 1
    if classes.max() >= len(IS_THING):
        raise ValueError(f'{path} has the label {classes.max() + 1}; labels are 0 (void) and 1..{len(IS_THING)}')
    colors = SegmentColors(PALETTE, IS_THING, name)
    ids, segments = np.zeros(classes.shape, np.int32), []

    def paint(mask: np.ndarray, label: int) -> None:
        number = colors.id_for(label)
        ids[mask] = number
        segments.append(dict(id=number, category_id=label, area=int(mask.sum()), bbox=coco_box(mask), iscrowd=0))

    for label in np.unique(classes):
        if label >= 0 and not IS_THING[label]:
            paint(classes == label, int(label))
    for label, mask in objects(root, folder, name, classes.shape):
        paint(mask, label)
    write_panoptic_png(str(out / f'{name}.png'), ids)
    return dict(
        image=image_record(root, folder, name, classes.shape),
        annotation=dict(image_id=name, file_name=f'{name}.png', segments_info=segments),
    )


def instances_of_image(root: Path, folder: str, name: str) -> dict:
    """The objects of an image as RLE."""
    image = image_record(root, folder, name, None)
    annotations = []
    for label, mask in objects(root, folder, name, (image['height'], image['width'])):
        rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
        rle['counts'] = rle['counts'].decode()
        annotations.append(
            dict(
                image_id=name,
                category_id=label,
                iscrowd=0,
                area=int(mask.sum()),
                bbox=coco_box(mask),
                segmentation=rle,
            )
        )
    return dict(image=image, annotations=annotations)


def objects(root: Path, folder: str, name: str, shape: tuple[int, int]) -> Iterator[tuple[int, np.ndarray]]:
    """Class and mask bool (H, W) of each object of an image."""
    path = root / 'annotations_instance' / folder / f'{name}.png'
    pixels = read_pixels(path, ('RGB',))
    if pixels.shape[:2] != shape:
        raise ValueError(
            f'{path} has {pixels.shape[0]}x{pixels.shape[1]} pixels (HxW), but the image {shape[0]}x{shape[1]}'
        )
    for number in np.unique(pixels[..., 1]):
        if number == 0:
            continue
        mask = pixels[..., 1] == number
        kinds = np.unique(pixels[..., 0][mask])
        if len(kinds) != 1 or not 1 <= kinds[0] <= len(THING_IDS):
            raise ValueError(
                f'{path}: object {number} has the classes {kinds.tolist()}; it must be one of 1..{len(THING_IDS)}'
            )
        yield THING_IDS[kinds[0] - 1], mask


def image_record(root: Path, folder: str, name: str, shape: tuple[int, int] | None) -> dict:
    """The image in the JSON; its size must be that of the annotation, where that is given."""
    path = root / 'images' / folder / f'{name}.jpg'
    with Image.open(path) as image:
        width, height = image.size
    if shape not in (None, (height, width)):
        raise ValueError(f'{path} has {height}x{width} pixels (HxW), but its annotation {shape[0]}x{shape[1]}')
    return dict(id=name, file_name=f'{name}.jpg', width=width, height=height)
