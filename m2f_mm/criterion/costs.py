"""The matching costs of every pair of a query and an object: the losses, without those of masks that have no pair
(Mask2Former, section 3.2.1; for boxes DETR, section 3.1, and Mask DINO, section 3.4).

Shapes: Q queries, N objects, C classes without no-object, P points.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from m2f_mm.boxes import generalized_iou

from .losses import FOCAL_ALPHA


def probability_cost(logits: Tensor) -> Tensor:
    """Of every class: minus its probability (MaskFormer, section 3.2); (..., C + 1) like the logits."""
    return -logits.softmax(-1)


def focal_class_cost(logits: Tensor) -> Tensor:
    """Of every class: its focal loss as the target, minus its focal loss otherwise (Mask DINO, as Deformable DETR);
    (..., C) like the logits."""
    probability = logits.sigmoid()
    positive = FOCAL_ALPHA * (1 - probability) ** 2 * -(probability + 1e-8).log()
    negative = (1 - FOCAL_ALPHA) * probability**2 * -(1 - probability + 1e-8).log()
    return positive - negative


CLASS_COSTS = dict(probability=probability_cost, focal=focal_class_cost)


def bce_cost(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean binary cross-entropy of every pair: logits (Q, P), targets (N, P) give (Q, N).

    BCE(x, t) = softplus(x) - x t for every t in 0..1, so one product of matrices is enough.
    """
    return (F.softplus(logits).sum(-1, keepdim=True) - logits @ targets.T) / logits.shape[-1]


def focal_cost(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean focal loss of every pair, a mixture of its values for 0 and 1 where an object covers a point in part:
    logits (Q, P), targets (N, P) give (Q, N)."""
    probabilities = logits.sigmoid()
    inside = FOCAL_ALPHA * (1 - probabilities) ** 2 * F.softplus(-logits)
    outside = (1 - FOCAL_ALPHA) * probabilities**2 * F.softplus(logits)
    return ((inside - outside) @ targets.T + outside.sum(-1, keepdim=True)) / logits.shape[-1]


MASK_COSTS = dict(bce=bce_cost, focal=focal_cost)


def dice_cost(logits: Tensor, targets: Tensor) -> Tensor:
    """Dice loss of every pair, with 1 added above and below: logits (Q, P), targets (N, P) give (Q, N)."""
    probabilities = logits.sigmoid()
    intersection = probabilities @ targets.T
    total = probabilities.sum(-1)[:, None] + targets.sum(-1)
    return 1 - (2 * intersection + 1) / (total + 1)


def l1_cost(boxes: Tensor, targets: Tensor) -> Tensor:
    """Sum of absolute differences of every pair of boxes as cx, cy, w, h: (Q, 4) and (N, 4) give (Q, N)."""
    return torch.cdist(boxes, targets, p=1)


def giou_cost(boxes: Tensor, targets: Tensor) -> Tensor:
    """Minus the generalised IoU of every pair of boxes as cx, cy, w, h: (Q, 4) and (N, 4) give (Q, N)."""
    return -generalized_iou(boxes[:, None], targets)
