"""Boxes of masks, and the forms of boxes.

Shapes: n masks or boxes, h x w pixels.
"""

import numpy as np
import torch
from torch import Tensor

GIOU_EPS = 1e-6


def masks_to_boxes(masks: Tensor, exclusive: bool = True) -> Tensor:
    """Boxes (n, 4) as cx, cy, w, h in 0..1 around masks, bool (n, h, w).

    Args:
        masks: masks.
        exclusive: the right and lower edges lie behind the last pixel, and an empty mask has the box 0; otherwise they
            lie on it, and an empty mask has a box that ends up at the largest centre and the smallest size.
    """
    sides = []
    for occupied in (masks.any(1), masks.any(2)):  # columns, rows
        first, end = first_last_true(occupied).unbind(1)
        if not exclusive:
            first, end = torch.where(end > 0, first, 1e8), (end - 1).clamp(min=0)
        sides.append((first / occupied.shape[1], end / occupied.shape[1]))
    (x0, x1), (y0, y1) = sides
    return xyxy_to_cxcywh(x0, y0, x1, y1)


def first_last_true(used: Tensor) -> Tensor:
    """First used position and end of the last, for each row of bool (n, length): int64 (n, 2), zeros where none is."""
    used = used.to(torch.uint8)
    last = used.shape[1] - used.flip(1).argmax(1)
    return torch.stack((used.argmax(1), last), 1) * used.amax(1, keepdim=True)


def xyxy_to_cxcywh(x0: Tensor, y0: Tensor, x1: Tensor, y1: Tensor) -> Tensor:
    """Boxes (..., 4) as cx, cy, w, h with these sides, (...) each."""
    return torch.stack(((x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0), -1)


def box_corners(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Upper left and lower right corner, (..., 2) each, of boxes (..., 4) as cx, cy, w, h."""
    centre, size = boxes[..., :2], boxes[..., 2:]
    return centre - size / 2, centre + size / 2


def box_of_mask(mask: np.ndarray) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 in pixels around a mask (h, w) of NumPy, the last two exclusive; zeros for an empty one."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return 0, 0, 0, 0
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def generalized_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """Generalised intersection over union of boxes (..., 4) as cx, cy, w, h that broadcast; -1 to 1 (Rezatofighi et
    al., 2019)."""
    (upper, lower), (other_upper, other_lower) = box_corners(boxes), box_corners(others)
    intersection = (torch.minimum(lower, other_lower) - torch.maximum(upper, other_upper)).clamp(min=0).prod(-1)
    hull = (torch.maximum(lower, other_lower) - torch.minimum(upper, other_upper)).clamp(min=0).prod(-1)
    union = (lower - upper).prod(-1) + (other_lower - other_upper).prod(-1) - intersection
    return intersection / (union + GIOU_EPS) - (hull - union) / (hull + GIOU_EPS)
