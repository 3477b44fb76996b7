"""The loss terms of mask classification, each over all rows at once (Mask2Former, section 3.3; MaskFormer, 3.2).

Shapes: M masks, P points, C classes without no-object.
"""
import torch.nn.functional as F
from torch import Tensor


def weighted_cross_entropy(logits: Tensor, labels: Tensor, class_weight: Tensor) -> Tensor:
    """Cross-entropy averaged with the weight of each row's class: logits (..., C + 1), labels (...,)."""
    return F.cross_entropy(logits.flatten(0, -2), labels.flatten(), class_weight)


def mask_loss(logits: Tensor, wanted: Tensor, num_masks: Tensor) -> Tensor:
    """Sum over masks of the mean binary cross-entropy at their points, over ``num_masks``; both (M, P)."""
    return F.binary_cross_entropy_with_logits(logits, wanted, reduction='none').mean(1).sum() / num_masks


def dice_loss(logits: Tensor, wanted: Tensor, num_masks: Tensor) -> Tensor:
    """Sum over masks of the dice loss at their points (1 added above and below), over ``num_masks``; both (M, P)."""
    probabilities = logits.sigmoid()
    both = (probabilities * wanted).sum(-1)
    either = probabilities.sum(-1) + wanted.sum(-1)
    return (1 - (2 * both + 1) / (either + 1)).sum() / num_masks
