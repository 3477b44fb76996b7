"""COCO-Stuff-10K's annotations as label maps, one class for each pixel.

From the download of v1.0, whose layout stays as it is::

    coco_stuff_10k/images/*.jpg, annotations/*.mat, imageLists/{train,test}.txt

to what MaskFormer's preparation makes of the annotations::

    coco_stuff_10k/annotations_detectron2/{train,test}/*.png   0..170, things before stuff; 255 is unlabelled
"""

from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from ..id_map import IGNORE
from ..io import encode_png, write_file
from .runner import already_there, convert_label_maps

SPLITS = ('train', 'test')
NUM_CLASSES = 171
UNLABELLED, FIRST = 1, 2  # in the annotations; the first class is 2


def convert(root: Path, workers: int) -> list[str]:
    """Make what is missing, and say what it holds.

    Raises:
        FileNotFoundError: the data set is not there.
        ModuleNotFoundError: h5py, which reads the annotations, is not installed.
        BrokenImages: names the images whose annotation cannot be read or does not fit.
    """
    return [make(root, split, workers) for split in SPLITS]


def make(root: Path, split: str, workers: int) -> str:
    """Write the label maps of a split; a line about them."""
    listed, out = root / f'imageLists/{split}.txt', root / f'annotations_detectron2/{split}'
    if not listed.is_file():
        raise FileNotFoundError(f'{listed} is not there; unpack cocostuff-10k-v1.0.zip in the folder that is given')
    names = listed.read_text(encoding='utf-8').split()
    if any(not (out / f'{name}.png').is_file() for name in names):
        _h5py()  # before the processes start
    written = convert_label_maps(partial(convert_image, root, out), names, out, '.png', workers)
    return f'{out}: {len(names)} images' if written else already_there(out)


def convert_image(root: Path, out: Path, name: str) -> dict:
    """Write the label map of one annotation."""
    path = root / f'annotations/{name}.mat'
    try:
        with _h5py().File(path) as file:
            labels = np.asarray(file['S']).T
    except (OSError, KeyError) as error:
        raise ValueError(f'{path} is no annotation of COCO-Stuff-10K v1.0: {error}') from error
    with Image.open(root / f'images/{name}.jpg') as image:
        if labels.shape != image.size[::-1]:
            raise ValueError(f'{path} is {labels.shape} pixels (H, W), but its image {image.size[::-1]}')
    strange = [int(label) for label in np.unique(labels) if not UNLABELLED <= label < FIRST + NUM_CLASSES]
    if strange:
        raise ValueError(
            f'{path} has the labels {strange[:10]}; those of v1.0 are {UNLABELLED} to '
            f'{FIRST + NUM_CLASSES - 1}. Is it another version?'
        )
    classes = np.where(labels == UNLABELLED, IGNORE, labels.astype(np.int32) - FIRST)
    write_file(str(out / f'{name}.png'), encode_png(classes.astype(np.uint8)))
    return {}


def _h5py():
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError('the annotations of COCO-Stuff-10K are HDF5 files: pip install h5py') from error
    return h5py
