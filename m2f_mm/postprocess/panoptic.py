"""Panoptic segmentation from mask predictions (MaskFormer, section 3.4; Mask2Former's official inference), for images
and clips.

Shapes: Q queries, K kept queries, C classes, D mask channels, T frames of a clip, h x w the mask features, H x W the
output; q queries and r rows of a tile.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .classes import SOFTMAX, ClassScores
from .finite import finite_sum, raise_non_finite
from .tiles import Sizes, first_argmax, sigmoid_, tiles


@dataclass
class Segment:
    """One segment: its id in the map, its class, whether it is a thing, and the class probability of its query."""

    id: int
    label: int
    is_thing: bool
    score: float


def panoptic_segmentation(
    class_logits: Tensor,
    mask_embeds: Tensor,
    mask_features: Tensor,
    sizes: Sizes,
    is_thing: Sequence[bool],
    object_threshold: float = 0.8,
    overlap_threshold: float = 0.8,
    filter_low_score: bool = True,
    codes: Callable[[Sequence[Segment]], Sequence[int]] | None = None,
    tile_bytes: int | None = None,
    classes: ClassScores = SOFTMAX,
) -> tuple[Tensor, list[Segment]]:
    """Every pixel to the query that claims it most, queries that lost too much of their mask dropped.

    Three times the device is waited for: for the number of kept queries, for the areas, and to send what they mean.

    Args:
        class_logits: (Q, C + 1) or (Q, C), as ``classes`` reads them.
        mask_embeds: (Q, D).
        mask_features: (1, D, h, w).
        sizes: of padded input, image and output.
        is_thing: for each class; stuff segments of one class are merged into the first.
        object_threshold: class probability that a query must exceed.
        overlap_threshold: share of a query's own mask (probability >= 0.5) that it must own at the end.
        filter_low_score: leave pixels void where their owner's own mask is below 0.5 (MaskFormer does not).
        codes: what the map says for void and for each segment, K + 1 numbers; by default 0 and the ids.
        tile_bytes: see ``tiles``.
        classes: what the class logits mean.

    Returns:
        int32 (H, W) map of segment ids, 0 is void, and the segments, ids 1, 2, ... in the order of the queries.
    """
    maps, segments = clip_panoptic(
        class_logits,
        mask_embeds,
        mask_features,
        sizes,
        is_thing,
        object_threshold,
        overlap_threshold,
        filter_low_score,
        codes,
        tile_bytes,
        classes,
    )
    return maps[0], segments


def clip_panoptic(
    class_logits: Tensor,
    mask_embeds: Tensor,
    mask_features: Tensor,
    sizes: Sizes,
    is_thing: Sequence[bool],
    object_threshold: float = 0.8,
    overlap_threshold: float = 0.8,
    filter_low_score: bool = True,
    codes: Callable[[Sequence[Segment]], Sequence[int]] | None = None,
    tile_bytes: int | None = None,
    classes: ClassScores = SOFTMAX,
) -> tuple[list[Tensor], list[Segment]]:
    """The same of a clip: what a query owns and claims is counted over all frames, and a segment has one id in all of
    them.

    Args:
        mask_features: (T, D, h, w).
        Others: as for ``panoptic_segmentation``, which is this for one frame.

    Returns:
        T maps int32 (H, W), and the segments.

    Raises:
        NonFinitePrediction: what the network predicts is not finite.
    """
    parts = {'class logits': class_logits, 'mask embeddings': mask_embeds, 'mask features': mask_features}
    scores, labels, keep = classes.panoptic(class_logits, object_threshold)
    count, finite = torch.stack((keep.sum(), finite_sum(*parts.values()).isfinite())).tolist()
    if not finite:
        raise_non_finite(parts)
    kept = (~keep).to(torch.uint8).argsort(stable=True)[:count]
    scores, labels = scores[kept], labels[kept]
    owners, counts = zip(
        *(
            assign_pixels(scores, mask_embeds[kept], frame, sizes, filter_low_score, tile_bytes)
            for frame in mask_features.split(1)
        )
    )
    lookup, segments = merge_segments(sum(counts), labels, scores, is_thing, overlap_threshold, filter_low_score)
    meanings = list(codes(segments)) if codes else [0, *(segment.id for segment in segments)]
    lookup = torch.tensor([meanings[0], *(meanings[i] for i in lookup)], dtype=torch.int32).to(scores.device)
    return [lookup.index_select(0, owner.flatten()).view(sizes.output) for owner in owners], segments


def assign_pixels(
    scores: Tensor,
    embeds: Tensor,
    features: Tensor,
    sizes: Sizes,
    filter_low_score: bool,
    tile_bytes: int | None = None,
) -> tuple[Tensor, Tensor]:
    """The winner of every pixel among K queries, and what each has.

    Returns:
        int32 (H, W), 0 where nobody is and 1 + the index of the query elsewhere; and (3, K) numbers of pixels: that a
        query owns, of its own mask, of both at once.
    """
    owners = torch.zeros(sizes.output, dtype=torch.int32, device=scores.device)
    counts = torch.zeros(3, len(scores), dtype=torch.long, device=scores.device)
    for rows, queries, logits in tiles(embeds, features, sizes, tile_bytes):
        probabilities = sigmoid_(logits)
        own = probabilities >= 0.5
        counts[1, queries] += own.flatten(1).sum(1)
        value, index = first_argmax(probabilities.mul_(scores[queries, None, None]))
        hit = own.gather(0, index[None])[0]
        if queries.start == 0:
            best, winner, inside = value, index, hit
        else:  # a later query must claim more to win
            better = value > best
            best = torch.maximum(best, value)
            winner = torch.where(better, index + queries.start, winner)
            inside = torch.where(better, hit, inside)
        if queries.stop == len(scores):
            flat = winner.flatten()
            counts[0].scatter_add_(0, flat, torch.ones_like(flat))  # bincount would ask the device
            counts[2].scatter_add_(0, flat, inside.flatten().long())
            owners[rows] = (winner + 1).mul_(inside) if filter_low_score else winner + 1
    return owners, counts


def merge_segments(
    counts: Tensor,
    labels: Tensor,
    scores: Tensor,
    is_thing: Sequence[bool],
    overlap_threshold: float,
    filter_low_score: bool,
) -> tuple[list[int], list[Segment]]:
    """Which of K queries becomes which segment: ids by query, 0 for none, and the segments.

    Args:
        counts: (3, K), see ``assign_pixels``.
        labels, scores: of the queries, (K,).
    """
    table = torch.cat((counts.double(), labels[None].double(), scores[None].double())).tolist()
    lookup, segments, stuff = [], [], {}
    for owned, own, both, label, score in zip(*table):
        label = int(label)
        empty = owned == 0 or own == 0 or (filter_low_score and both == 0)
        if empty or owned / own < overlap_threshold:
            lookup.append(0)
        elif label in stuff:
            lookup.append(stuff[label])
        else:
            segments.append(Segment(len(segments) + 1, label, bool(is_thing[label]), score))
            lookup.append(len(segments))
            if not is_thing[label]:
                stuff[label] = len(segments)
    return lookup, segments
