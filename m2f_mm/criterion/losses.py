"""The loss terms of mask classification, each over all rows at once (Mask2Former, section 3.3; MaskFormer, 3.2).

Shapes: M masks, P points, C classes without no-object.
"""
import torch.nn.functional as F
from torch import Tensor


def class_loss(logits: Tensor, classes: Tensor, class_weight: Tensor, weight_sum: Tensor) -> Tensor:
    """Cross-entropy of all queries, each with the weight of its class, over ``weight_sum``.

    With the sum of the weights of these queries that is the weighted mean.

    Args:
        logits: (B, Q, C + 1).
        classes: (B, Q), C is no-object.
        class_weight: (C + 1,).
    """
    losses = F.cross_entropy(logits.flatten(0, 1), classes.flatten(), class_weight, reduction='sum')
    return losses / weight_sum


def mask_loss(logits: Tensor, wanted: Tensor, num_masks: Tensor) -> Tensor:
    """Sum over masks of the mean binary cross-entropy at their points, over ``num_masks``; both (M, P)."""
    return F.binary_cross_entropy_with_logits(logits, wanted, reduction='none').mean(1).sum() / num_masks


def dice_loss(logits: Tensor, wanted: Tensor, num_masks: Tensor) -> Tensor:
    """Sum over masks of the dice loss at their points (1 added above and below), over ``num_masks``; both (M, P)."""
    probabilities = logits.sigmoid()
    both = (probabilities * wanted).sum(-1)
    either = probabilities.sum(-1) + wanted.sum(-1)
    return (1 - (2 * both + 1) / (either + 1)).sum() / num_masks
