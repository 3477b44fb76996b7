"""Panoptic segmentation from mask predictions (MaskFormer, section 3.4; Mask2Former's official inference), for images
and clips.

Shapes: Q queries, K confident queries, C classes, D mask channels, T frames of a clip, h x w the mask features, H x W
the output; q queries and r rows of a tile.
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


MapIds = Callable[[Sequence[Segment]], Sequence[int]]  # what a map has for void and for each segment: K + 1 numbers


@dataclass(frozen=True)
class PanopticRules:
    """How queries become segments, for images, clips and videos.

    Args:
        is_thing: for each class; stuff segments of one class are merged into the first.
        object_threshold: class probability that a query must exceed.
        overlap_threshold: share of a query's own mask (probability >= 0.5) whose pixels it must win.
        filter_low_score: leave a pixel void where the mask of its winner is below 0.5 (MaskFormer does not).
        classes: what the class logits mean.
    """

    is_thing: Sequence[bool]
    object_threshold: float = 0.8
    overlap_threshold: float = 0.8
    filter_low_score: bool = True
    classes: ClassScores = SOFTMAX

    def confident(self, class_logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Score and class of each query, and whether it exceeds the object threshold; (Q,) each."""
        return self.classes.panoptic(class_logits, self.object_threshold)

    def assign_pixels(
        self, scores: Tensor, embeds: Tensor, features: Tensor, sizes: Sizes, tile_bytes: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """The query with the largest class probability times mask probability at every pixel of a frame.

        Args:
            scores: class probabilities of the confident queries, (K,).
            embeds: their mask embeddings, (K, D).
            features: mask features of the frame, (1, D, h, w).
            sizes: of padded input, image and output.
            tile_bytes: see ``tiles``.

        Returns:
            int32 (H, W), 0 for void and 1 + the index of the query elsewhere; and int64 (3, K) numbers of pixels:
            those that a query wins, those of its own mask, those of both.
        """
        winners = torch.zeros(sizes.output, dtype=torch.int32, device=scores.device)
        counts = torch.zeros(3, len(scores), dtype=torch.long, device=scores.device)
        for rows, queries, logits in tiles(embeds, features, sizes, tile_bytes):
            probabilities = sigmoid_(logits)
            own = probabilities >= 0.5
            counts[1, queries] += own.flatten(1).sum(1)
            value, index = first_argmax(probabilities.mul_(scores[queries, None, None]))
            inside_own = own.gather(0, index[None])[0]
            if queries.start == 0:
                best, winner, inside = value, index, inside_own
            else:  # of equal values the first query's wins
                better = value > best
                best = torch.maximum(best, value)
                winner = torch.where(better, index + queries.start, winner)
                inside = torch.where(better, inside_own, inside)
            if queries.stop == len(scores):
                flat = winner.flatten()
                counts[0].scatter_add_(0, flat, torch.ones_like(flat))  # bincount would wait for the device
                counts[2].scatter_add_(0, flat, inside.flatten().long())
                winners[rows] = (winner + 1).mul_(inside) if self.filter_low_score else winner + 1
        return winners, counts

    def merge_segments(self, counts: Tensor, labels: Tensor, scores: Tensor) -> tuple[list[int], list[Segment]]:
        """Which of the confident queries become which segments; waits for the device once.

        Args:
            counts: (3, K), see ``assign_pixels``; sums over the frames of a clip.
            labels: classes of the queries, (K,).
            scores: their class probabilities, (K,).

        Returns:
            The segment id of each query, 0 for none, and the segments, ids 1, 2, ... in the order of the queries.
        """
        table = torch.cat((counts.double(), labels[None].double(), scores[None].double())).tolist()
        segment_ids: list[int] = []
        segments: list[Segment] = []
        stuff: dict[int, int] = {}
        for won, own, both, label, score in zip(*table):
            label = int(label)
            empty = won == 0 or own == 0 or (self.filter_low_score and both == 0)
            if empty or won / own < self.overlap_threshold:
                segment_ids.append(0)
            elif label in stuff:
                segment_ids.append(stuff[label])
            else:
                segments.append(Segment(len(segments) + 1, label, bool(self.is_thing[label]), score))
                segment_ids.append(len(segments))
                if not self.is_thing[label]:
                    stuff[label] = len(segments)
        return segment_ids, segments


def ids_in_map(segment_ids: Sequence[int], segments: Sequence[Segment], map_ids: MapIds | None) -> list[int]:
    """What a map has for void and for each query, K + 1 numbers: by default 0 and the ids of the segments."""
    ids = map_ids(segments) if map_ids else [0, *(segment.id for segment in segments)]
    return [ids[segment] for segment in (0, *segment_ids)]


def panoptic_segmentation(
    class_logits: Tensor,
    mask_embeds: Tensor,
    mask_features: Tensor,
    sizes: Sizes,
    rules: PanopticRules,
    map_ids: MapIds | None = None,
    tile_bytes: int | None = None,
) -> tuple[Tensor, list[Segment]]:
    """The panoptic map of an image. The device is waited for three times: for the number of confident queries, for
    the numbers of pixels, and to send the ids of the map.

    Args:
        class_logits: (Q, C + 1) or (Q, C), as ``rules.classes`` reads them.
        mask_embeds: (Q, D).
        mask_features: (1, D, h, w).
        sizes: of padded input, image and output.
        rules: how queries become segments.
        map_ids: what the map has for void and for each segment; by default 0 and the ids.
        tile_bytes: see ``tiles``.

    Returns:
        int32 (H, W) map of segment ids, 0 is void, and the segments, ids 1, 2, ... in the order of the queries.

    Raises:
        NonFinitePrediction: a prediction is not finite.
    """
    maps, segments = clip_panoptic(class_logits, mask_embeds, mask_features, sizes, rules, map_ids, tile_bytes)
    return maps[0], segments


def clip_panoptic(
    class_logits: Tensor,
    mask_embeds: Tensor,
    mask_features: Tensor,
    sizes: Sizes,
    rules: PanopticRules,
    map_ids: MapIds | None = None,
    tile_bytes: int | None = None,
) -> tuple[list[Tensor], list[Segment]]:
    """The panoptic maps of a clip: pixels are counted over all frames, and a segment has one id in all of them.

    Args:
        class_logits: (Q, C + 1) or (Q, C), as ``rules.classes`` reads them.
        mask_embeds: (Q, D).
        mask_features: (T, D, h, w).
        sizes: of padded input, image and output.
        rules: see ``panoptic_segmentation``, which is this function for one frame.
        map_ids: see ``panoptic_segmentation``.
        tile_bytes: see ``tiles``.

    Returns:
        T maps int32 (H, W), and the segments.

    Raises:
        NonFinitePrediction: a prediction is not finite.
    """
    parts = {'class logits': class_logits, 'mask embeddings': mask_embeds, 'mask features': mask_features}
    scores, labels, confident = rules.confident(class_logits)
    count, finite = torch.stack((confident.sum(), finite_sum(*parts.values()).isfinite())).tolist()
    if not finite:
        raise_non_finite(parts)
    queries = (~confident).to(torch.uint8).argsort(stable=True)[:count]
    scores, labels, embeds = scores[queries], labels[queries], mask_embeds[queries]
    frames = [rules.assign_pixels(scores, embeds, frame, sizes, tile_bytes) for frame in mask_features.split(1)]
    counts = torch.stack([counts for _, counts in frames]).sum(0)
    segment_ids, segments = rules.merge_segments(counts, labels, scores)
    lookup = torch.tensor(ids_in_map(segment_ids, segments, map_ids), dtype=torch.int32).to(scores.device)
    return [lookup.index_select(0, winners.flatten()).view(sizes.output) for winners, _ in frames], segments
