"""ADE20K's full annotations, 847 classes, as smaller images and label maps of 16 bits.

From the download of January 2021, whose layout stays as it is::

    ADE20K_2021_17_01/images/ADE/{training,validation}/*/*/ADE_*.jpg and ADE_*_seg.png

to what MaskFormer's preparation makes of it::

    ADE20K_2021_17_01/images_detectron2/{training,validation}/*.jpg        the shorter side at most 512 pixels
    ADE20K_2021_17_01/annotations_detectron2/{training,validation}/*.tif   0..846, 65535 is everything else
"""

import io
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from ..ade20k_full_categories import IDS
from ..io import write_file
from .runner import already_there, convert_label_maps, read_pixels

SPLITS = ('training', 'validation')
SHORT_SIDE = 512  # pixels; images with both sides longer are made smaller
IGNORE = 65535
LABELS = np.full(26 * 256, IGNORE, np.uint16)  # of each number that red and green can say
LABELS[list(IDS)] = np.arange(len(IDS))


def convert(root: Path, workers: int) -> list[str]:
    """Make what is missing, and say what it holds.

    Raises:
        FileNotFoundError: the data set is not there.
        BrokenImages: names the images that cannot be read.
    """
    return [make(root, split, workers) for split in SPLITS]


def make(root: Path, split: str, workers: int) -> str:
    """Write the images and label maps of a split; a line about them."""
    paths = sorted((root / 'images/ADE' / split).rglob('ADE_*.jpg'), key=lambda path: path.stem)
    if not paths:
        raise FileNotFoundError(
            f'{root}/images/ADE/{split} has no ADE_*.jpg; unpack ADE20K_2021_17_01 in the folder '
            'above the one that is given'
        )
    out = root / 'annotations_detectron2' / split
    work = partial(convert_image, root / 'images_detectron2' / split, out)
    written = convert_label_maps(work, {path.stem: (path,) for path in paths}, out, '.tif', workers)
    return f'{out}: {len(paths)} images' if written else already_there(out)


def convert_image(images: Path, out: Path, name: str, path: Path) -> dict:
    """Write one image and its labels, the labels last."""
    image, colors = read_pixels(path, ('RGB', 'L')), read_pixels(path.with_name(f'{name}_seg.png'), ('RGB',))
    if image.shape[:2] != colors.shape[:2]:
        raise ValueError(f'{path} is {image.shape[:2]} pixels (H, W), but its annotation {colors.shape[:2]}')
    numbers = (colors[..., 0] // 10).astype(np.int32) * 256 + colors[..., 1]
    size = smaller(image.shape[:2])
    if size != image.shape[:2]:
        image = cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)
        numbers = cv2.resize(numbers, size[::-1], interpolation=cv2.INTER_NEAREST)
    write_file(str(images / f'{name}.jpg'), encoded(image, 'JPEG'))
    write_file(str(out / f'{name}.tif'), encoded(LABELS[numbers], 'TIFF'))
    return {}


def smaller(shape: tuple[int, int]) -> tuple[int, int]:
    """Height and width with the shorter side at ``SHORT_SIDE``, unless that is no longer."""
    height, width = shape
    if min(shape) <= SHORT_SIDE:
        return shape
    if width >= height:
        return SHORT_SIDE, round(width / float(height) * SHORT_SIDE)
    return round(height / float(width) * SHORT_SIDE), SHORT_SIDE


def encoded(pixels: np.ndarray, kind: str) -> bytes:
    """A file of Pillow's format ``kind``."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format=kind)
    return stream.getvalue()
