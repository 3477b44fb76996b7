"""Panoptic segmentation from mask predictions (MaskFormer, section 3.4; Mask2Former's official inference).

Shapes: Q queries, K kept queries, C classes, D mask channels, h x w the mask features, H x W the output.
"""
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from m2f_mm.structures import contract

from .tiles import Sizes, bands


@dataclass
class Segment:
    """One segment: its id in the map, its class, whether it is a thing, and the class probability of its query."""
    id: int
    label: int
    is_thing: bool
    score: float


def panoptic_segmentation(class_logits: Tensor,
                          mask_embeds: Tensor,
                          mask_features: Tensor,
                          sizes: Sizes,
                          is_thing: Sequence[bool],
                          object_threshold: float = 0.8,
                          overlap_threshold: float = 0.8,
                          filter_low_score: bool = True) -> tuple[Tensor, list[Segment]]:
    """Every pixel to the query that claims it most, queries that lost too much of their mask dropped.

    Args:
        class_logits: (Q, C + 1), the last is no-object.
        mask_embeds: (Q, D).
        mask_features: (1, D, h, w).
        sizes: of padded input, image and output.
        is_thing: for each class; stuff segments of one class are merged into the first.
        object_threshold: class probability that a query must exceed.
        overlap_threshold: share of a query's own mask (probability >= 0.5) that it must own at the end.
        filter_low_score: leave pixels void where their owner's own mask is below 0.5 (MaskFormer does not).

    Returns:
        int32 (H, W) map of segment ids, 0 is void, and the segments, ids 1, 2, ... in the order of the queries.
    """
    scores, labels = class_logits.softmax(-1).max(-1)
    keep = (labels != class_logits.shape[-1] - 1) & (scores > object_threshold)
    scores, labels = scores[keep], labels[keep]
    count = len(scores)
    owner = torch.zeros(sizes.output, dtype=torch.int32, device=scores.device)  # kept query + 1, void 0
    if count == 0:
        return owner, []
    counts = torch.zeros(3, count, dtype=torch.long, device=scores.device)  # owned, own mask, both
    inside = torch.ones(sizes.output, dtype=torch.bool, device=scores.device)
    masks = contract(mask_embeds[keep], mask_features)[:, 0]  # (K, h, w)
    for rows, logits in bands(masks, sizes):
        probabilities = logits.sigmoid_()
        winner = (probabilities * scores[:, None, None]).argmax(0)  # (rows, W), the first of equals
        own = probabilities >= 0.5
        hit = own.gather(0, winner[None])[0]
        counts[0].scatter_add_(0, winner.flatten(), torch.ones_like(winner).flatten())  # bincount would ask the device
        counts[1] += own.flatten(1).sum(1)
        counts[2].scatter_add_(0, winner.flatten(), hit.long().flatten())
        owner[rows] = winner.int()
        inside[rows] = hit
    table = torch.cat((counts.double(), labels[None].double(), scores[None].double())).tolist()  # the one transfer
    lookup, segments = _decide(table, is_thing, overlap_threshold, filter_low_score)
    result = torch.tensor(lookup, dtype=torch.int32, device=scores.device)[owner.long()]
    return (result.masked_fill_(~inside, 0) if filter_low_score else result), segments


def _decide(table: list[list[float]], is_thing: Sequence[bool], overlap_threshold: float,
            filter_low_score: bool) -> tuple[list[int], list[Segment]]:
    """Which kept query becomes which segment: ids by query, and the segments."""
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
