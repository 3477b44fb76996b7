"""Semantic segmentation from mask predictions (MaskFormer, section 3.4, "semantic inference").

Shapes: Q queries, C classes, D mask channels, h x w the mask features, H x W the output.
"""
from collections.abc import Iterator

import torch
from torch import Tensor

from m2f_mm.structures import contract

from .tiles import Sizes, bands


def semantic_bands(class_logits: Tensor,
                   mask_embeds: Tensor,
                   mask_features: Tensor,
                   sizes: Sizes,
                   resize_masks: bool = False) -> Iterator[tuple[slice, Tensor]]:
    """Class scores, a band of output rows at a time.

    The score of a class is the sum over queries of class probability times mask probability; it is not normalised.

    Args:
        class_logits: (Q, C + 1), the last is no-object.
        mask_embeds: (Q, D).
        mask_features: (1, D, h, w).
        sizes: of padded input, image and output.
        resize_masks: resize mask logits to the output and combine there, as models with a panoptic or instance output
            do; by default combine at the padded size and resize the scores, as semantic-only models do.

    Yields:
        The slice of rows and the scores (C, rows, W).
    """
    classes = class_logits.softmax(-1)[:, :-1]

    def combine(logits: Tensor) -> Tensor:
        return torch.tensordot(classes.T, logits.sigmoid(), 1)

    masks = contract(mask_embeds, mask_features)[:, 0]
    if not resize_masks:
        return bands(masks, sizes, combine)
    return ((rows, combine(logits)) for rows, logits in bands(masks, sizes))


def semantic_scores(class_logits: Tensor, mask_embeds: Tensor, mask_features: Tensor, sizes: Sizes,
                    resize_masks: bool = False) -> Tensor:
    """The whole (C, H, W) map of class scores; arguments as ``semantic_bands``."""
    bands_of_scores = semantic_bands(class_logits, mask_embeds, mask_features, sizes, resize_masks)
    return torch.cat([scores for _, scores in bands_of_scores], 1)


def semantic_segmentation(class_logits: Tensor, mask_embeds: Tensor, mask_features: Tensor, sizes: Sizes,
                          resize_masks: bool = False) -> Tensor:
    """The label map (H, W), int64, without the (C, H, W) map; arguments as ``semantic_bands``."""
    bands_of_scores = semantic_bands(class_logits, mask_embeds, mask_features, sizes, resize_masks)
    return torch.cat([scores.argmax(0) for _, scores in bands_of_scores])
