"""Masks as RLE are taken by pycocotools as its own, alone and as a list, and by others as bitmaps."""

import pickle

import numpy as np
from pycocotools import mask as coco_masks

from m2f_mm.datasets.rle_masks import RLEMasks

MASKS = np.stack([np.eye(5, dtype=bool), np.tri(5, dtype=bool)])


def test_pycocotools_takes_them():
    masks = RLEMasks(coco_masks.encode(np.asfortranarray(mask, np.uint8)) for mask in MASKS)
    assert coco_masks.area(masks).tolist() == [5, 15] and coco_masks.area(masks[1]) == 15
    np.testing.assert_allclose(coco_masks.iou(masks, [masks[0]], [0]), [[1], [1 / 3]])
    np.testing.assert_allclose(coco_masks.iou([masks[0]], [dict(masks[1])], [0]), [[1 / 3]])
    assert (coco_masks.decode(coco_masks.merge(masks)) == MASKS.any(0)).all()


def test_bitmaps_of_them():
    masks = RLEMasks(coco_masks.encode(np.asfortranarray(mask, np.uint8)) for mask in MASKS)
    assert (masks.numpy() == MASKS).all() and (masks[1:].numpy() == MASKS[1:]).all()
    assert (masks[0][2] == MASKS[0, 2]).all()
    assert (pickle.loads(pickle.dumps(masks)).numpy() == MASKS).all()
    assert RLEMasks(size=(4, 6)).numpy().shape == (0, 4, 6)
