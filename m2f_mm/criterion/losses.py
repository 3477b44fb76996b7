"""The loss functions of mask classification, each over all rows at once (Mask2Former, section 3.3; MaskFormer, 3.2; for
boxes DETR, section 3.1, and Mask DINO, section 3.4).

Shapes: L supervised predictions, B images, Q queries, C classes without no-object, R masks or boxes, P points.
"""

import torch.nn.functional as F
from torch import Tensor

from m2f_mm.boxes import generalized_iou

OLD_MASK_TERMS = dict(cross_entropy='bce')
FOCAL_ALPHA = 0.25  # weight of the pixels of the target, the others have the rest


def class_loss(logits: Tensor, classes: Tensor, class_weight: Tensor, weight_sums: Tensor) -> Tensor:
    """Cross-entropy of the queries, each with the weight of its class, over ``weight_sums``: one number a layer.

    With the sums of the weights of these queries that is the weighted mean.

    Args:
        logits: (L, B, Q, C + 1).
        classes: (L, B, Q), C is no-object.
        class_weight: (C + 1,).
        weight_sums: (L,).
    """
    losses = F.cross_entropy(logits.flatten(0, 2), classes.flatten(), class_weight, reduction='none')
    return losses.view(len(logits), -1).sum(1) / weight_sums


def focal_class_loss(logits: Tensor, classes: Tensor) -> Tensor:
    """Focal loss of every class's sigmoid, summed over queries and classes: one number a layer (Mask DINO).

    Args:
        logits: (L, B, Q, C).
        classes: (L, B, Q); C is none of them.
    """
    targets = F.one_hot(classes, logits.shape[-1] + 1)[..., :-1].to(logits.dtype)
    return focal_terms(logits, targets).flatten(1).sum(1)


def bce_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean binary cross-entropy of each mask at its points; both (R, P), returns (R,)."""
    return F.binary_cross_entropy_with_logits(logits, targets, reduction='none').mean(1)


def focal_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean focal loss of each mask at its points; both (R, P), returns (R,) (MaskFormer, section 4.1)."""
    return focal_terms(logits, targets).mean(1)


def focal_terms(logits: Tensor, targets: Tensor) -> Tensor:
    """Focal loss of every number, alpha 1/4 and gamma 2 (RetinaNet, equation 5); both and the result of one shape."""
    probabilities = logits.sigmoid()
    entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction='none')
    wrong = probabilities + targets * (1 - 2 * probabilities)  # one minus the probability of the target
    return entropy * wrong**2 * (FOCAL_ALPHA * targets + (1 - FOCAL_ALPHA) * (1 - targets))


def dice_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Dice loss of each mask at its points, with 1 added above and below; both (R, P), returns (R,)."""
    probabilities = logits.sigmoid()
    intersection = (probabilities * targets).sum(-1)
    total = probabilities.sum(-1) + targets.sum(-1)
    return 1 - (2 * intersection + 1) / (total + 1)


def l1_loss(boxes: Tensor, targets: Tensor) -> Tensor:
    """Sum of absolute differences of each pair of boxes as cx, cy, w, h, both (R, 4); returns (R,)."""
    return (boxes - targets).abs().sum(-1)


def giou_loss(boxes: Tensor, targets: Tensor) -> Tensor:
    """One minus the generalised IoU of each pair of boxes as cx, cy, w, h, both (R, 4); returns (R,)."""
    return 1 - generalized_iou(boxes, targets)


MASK_LOSSES = dict(bce=bce_loss, focal=focal_loss)
