"""How well tracks keep to their objects: identity switches (Bernardin and Stiefelhagen, "Evaluating multiple object
tracking performance", section 2.1), on masks."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from pycocotools import mask as coco_masks
from scipy.optimize import linear_sum_assignment

from m2f_mm.structures import Track


class Identity(NamedTuple):
    """Sums over a video.

    Args:
        switches: how often an object that is found belongs to another track than when it was last found.
        found: objects that are found, counted in every frame.
        visible: objects that are visible, counted in every frame.
    """

    switches: int
    found: int
    visible: int

    def __add__(self, other: 'Identity') -> 'Identity':
        return Identity(*(a + b for a, b in zip(self, other)))


def identity_switches(objects: Sequence[Track], tracks: Sequence[Track], iou_thr: float = 0.5) -> Identity:
    """Of one video. In each frame objects and tracks whose IoU is at least the threshold are paired, whatever their
    classes: those that were a pair when the object was last found first, then for the largest sum of IoUs."""
    last, switches, found, visible = {}, 0, 0, 0
    length = max((len(each.masks) for each in (*objects, *tracks)), default=0)
    for t in range(length):
        object_masks, track_masks = (
            [(i, each.masks[t]) for i, each in enumerate(side) if each.masks[t] is not None]
            for side in (objects, tracks)
        )
        visible += len(object_masks)
        if not object_masks or not track_masks:
            continue
        iou = np.asarray(
            coco_masks.iou(
                [mask for _, mask in object_masks], [mask for _, mask in track_masks], [0] * len(track_masks)
            )
        )
        same = np.array([[last.get(key) == track for track, _ in track_masks] for key, _ in object_masks])
        worth = np.where(iou >= iou_thr, iou + len(object_masks) * same, 0)  # old pairs count more than all others
        for row, column in zip(*linear_sum_assignment(-worth)):
            if iou[row, column] >= iou_thr:
                key, track = object_masks[row][0], track_masks[column][0]
                found += 1
                switches += last.get(key, track) != track
                last[key] = track
    return Identity(switches, found, visible)
