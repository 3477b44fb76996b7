"""A panoptic data set of one image that tests bend to their needs."""

import copy
import json
import os

import numpy as np
from PIL import Image

from m2f_mm.datasets import PanopticDataset
from m2f_mm.datasets.io import write_panoptic_png

CATEGORIES = [dict(id=7, name='cat', isthing=1), dict(id=3, name='grass', isthing=0), dict(id=9, name='dog', isthing=1)]
IDS = np.array([[70000, 70000, 0, 5], [70000, 70000, 0, 5], [800, 800, 800, 9]])
SEGMENTS = [
    dict(id=70000, category_id=9, iscrowd=0),
    dict(id=5, category_id=7, iscrowd=1),
    dict(id=800, category_id=3, iscrowd=0),
    dict(id=9, category_id=7, iscrowd=0),
]


def write_toy(root, ids=IDS, segments=SEGMENTS, categories=CATEGORIES, change=lambda content: content):
    """Write the image ``a/b.jpg``, its PNG ``c/b_segments.png`` and ``panoptic.json`` to the folder ``root``."""
    root = str(root)
    os.makedirs(f'{root}/img/a', exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (*ids.shape, 3), np.uint8)).save(f'{root}/img/a/b.jpg')
    write_panoptic_png(f'{root}/seg/c/b_segments.png', ids)
    content = dict(
        images=[dict(id=1, file_name='a/b.jpg', height=ids.shape[0], width=ids.shape[1])],
        annotations=[dict(image_id=1, file_name='c/b_segments.png', segments_info=segments)],
        categories=categories,
    )
    with open(f'{root}/panoptic.json', 'w') as stream:
        json.dump(change(copy.deepcopy(content)), stream)
    return root


def open_toy(root, **kwargs):
    return PanopticDataset(
        data_root=str(root), ann_file='panoptic.json', data_prefix=dict(img='img', seg='seg'), **kwargs
    )
