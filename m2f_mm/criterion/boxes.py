"""How far boxes are apart: (cx, cy, w, h) in 0..1 of the padded image (DETR, section 3.1; Mask DINO, section 3.4).

Shapes: Q boxes that are predicted, N that are wanted, R pairs.
"""

import torch
from torch import Tensor

from m2f_mm.boxes import box_corners

EPS = 1e-6


def generalized_iou(boxes: Tensor, wanted: Tensor) -> Tensor:
    """Generalised intersection over union of boxes (..., 4) that broadcast; -1 to 1 (Rezatofighi et al., 2019)."""
    (upper, lower), (wanted_upper, wanted_lower) = box_corners(boxes), box_corners(wanted)
    both = (torch.minimum(lower, wanted_lower) - torch.maximum(upper, wanted_upper)).clamp(min=0).prod(-1)
    around = (torch.maximum(lower, wanted_lower) - torch.minimum(upper, wanted_upper)).clamp(min=0).prod(-1)
    either = (lower - upper).prod(-1) + (wanted_lower - wanted_upper).prod(-1) - both
    return both / (either + EPS) - (around - either) / (around + EPS)


def l1_cost(boxes: Tensor, wanted: Tensor) -> Tensor:
    """Sum of absolute differences of every pair: (Q, 4) and (N, 4) give (Q, N)."""
    return torch.cdist(boxes, wanted, p=1)


def giou_cost(boxes: Tensor, wanted: Tensor) -> Tensor:
    """Generalised IoU of every pair, less is better: (Q, 4) and (N, 4) give (Q, N)."""
    return -generalized_iou(boxes[:, None], wanted)


def l1_loss(boxes: Tensor, wanted: Tensor) -> Tensor:
    """Sum of absolute differences of each pair, both (R, 4); returns (R,)."""
    return (boxes - wanted).abs().sum(-1)


def giou_loss(boxes: Tensor, wanted: Tensor) -> Tensor:
    """One minus the generalised IoU of each pair, both (R, 4); returns (R,)."""
    return 1 - generalized_iou(boxes, wanted)
