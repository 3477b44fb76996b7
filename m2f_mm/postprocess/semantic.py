"""Semantic segmentation from mask predictions (MaskFormer, section 3.4, "semantic inference").

Shapes: Q queries, C classes, D mask channels, h x w the mask features, H x W the output.
"""

from collections.abc import Iterator
from itertools import chain

import torch
from torch import Tensor

from .classes import SOFTMAX, ClassScores
from .tiles import ROWS, Blocks, RowResize, Sizes, first_argmax, resize_columns, sigmoid_, tiles


def semantic_blocks(
    class_logits: Tensor,
    mask_embeds: Tensor,
    mask_features: Tensor,
    sizes: Sizes,
    resize_masks: bool = False,
    tile_bytes: int | None = None,
    classes: ClassScores = SOFTMAX,
) -> Iterator[Tensor]:
    """Class scores (C, rows, W), block after block of a few output rows from the top.

    The score of a class is the sum over queries of class probability times mask probability; it is not normalised.

    Args:
        class_logits: (Q, C + 1) or (Q, C), as ``classes`` reads them.
        mask_embeds: (Q, D).
        mask_features: (1, D, h, w).
        sizes: of padded input, image and output.
        resize_masks: resize mask logits to the output and combine there, as models with a panoptic or instance output
            do; by default combine at the padded size and resize the scores, as semantic-only models do.
        tile_bytes: see ``tiles``.
        classes: what the class logits mean.
    """
    weights = classes.semantic(class_logits)
    if resize_masks or sizes.image == sizes.output:
        yield from _score_blocks(weights, mask_embeds, mask_features, sizes, tile_bytes)
        return
    height, width = sizes.output
    at_image = Blocks(
        _score_blocks(weights, mask_embeds, mask_features, Sizes(sizes.padded, sizes.image, sizes.image), tile_bytes)
    )
    to_output = RowResize(sizes.image[0], height, mask_features.device)
    for start in range(0, height, ROWS):
        stop = min(start + ROWS, height)
        top, bottom = to_output.needed(start, stop)
        yield to_output(resize_columns(at_image(top, bottom), width), start, stop, top)


def _score_blocks(
    weights: Tensor, mask_embeds: Tensor, mask_features: Tensor, sizes: Sizes, tile_bytes: int | None
) -> Iterator[Tensor]:
    """Class scores (C, ``ROWS``, W) at the output size of ``sizes``, from the top, with the queries' weights (Q, C)."""
    for _, queries, logits in tiles(mask_embeds, mask_features, sizes, tile_bytes):
        parts = logits.split(ROWS, 1)
        if queries.start == 0:
            scores = [logits.new_zeros(weights.shape[1], part[0].numel()) for part in parts]
        for score, part in zip(scores, parts):
            score.addmm_(weights[queries].T.to(part.dtype), sigmoid_(part.clone()).flatten(1))
        if queries.stop == len(mask_embeds):
            yield from (score.unflatten(1, (-1, sizes.output[1])) for score in scores)


def semantic_scores(
    class_logits: Tensor,
    mask_embeds: Tensor,
    mask_features: Tensor,
    sizes: Sizes,
    resize_masks: bool = False,
    tile_bytes: int | None = None,
    classes: ClassScores = SOFTMAX,
) -> Tensor:
    """The whole (C, H, W) map of class scores; arguments as ``semantic_blocks``."""
    blocks = semantic_blocks(class_logits, mask_embeds, mask_features, sizes, resize_masks, tile_bytes, classes)
    first = next(blocks)
    result, start = first.new_empty(len(first), *sizes.output), 0
    for scores in chain([first], blocks):
        result[:, start : start + scores.shape[1]] = scores
        start += scores.shape[1]
    return result


def semantic_segmentation(
    class_logits: Tensor,
    mask_embeds: Tensor,
    mask_features: Tensor,
    sizes: Sizes,
    resize_masks: bool = False,
    tile_bytes: int | None = None,
    classes: ClassScores = SOFTMAX,
) -> Tensor:
    """The label map (H, W), int64, without the (C, H, W) map; arguments as ``semantic_blocks``."""
    blocks = semantic_blocks(class_logits, mask_embeds, mask_features, sizes, resize_masks, tile_bytes, classes)
    result = torch.empty(sizes.output, dtype=torch.long, device=mask_features.device)
    start = 0
    for scores in blocks:
        result[start : start + scores.shape[1]] = first_argmax(scores)[1]
        start += scores.shape[1]
    return result
