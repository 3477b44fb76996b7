"""Videos of any length: windows of frames are predicted one after the other, and their queries joined into tracks.

A query of one window and one of the next are the same object where their vectors are alike (MinVIS, section 3.2) and,
in the frames that both windows have seen, their masks. What is kept of a frame are the run-length codes of the masks of
the likeliest tracks, so memory hardly grows with the video.

Shapes: Q queries and tracks, E channels of a query, C classes, D mask channels, T frames of a window, h x w the mask
features.
"""

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn.functional import normalize

from m2f_mm.mask_ops import mask_logits_from
from m2f_mm.structures import Track

from .classes import SOFTMAX, ClassScores
from .finite import finite_sum, raise_non_finite
from .instance import draw, topk_instances
from .mask_stores import RunLengths
from .panoptic import Segment, assign_pixels, merge_segments
from .tiles import Sizes

Frame = TypeVar('Frame')


class VideoTracks:
    """Collects the windows of one video; a single window gives what ``clip_segmentation`` gives.

    Args:
        max_per_video: results, (track, class) pairs with the highest mean scores.
        is_thing: for each class; pairs of other classes are dropped after the choice.
        kept: tracks whose masks are kept of a window, those with the highest scores so far; at least Q keeps all of
            them, as MinVIS does. A track that is not among them is taken for unseen there.
        mask_weight: of the masks in the choice of a partner, beside the vectors; frames that two windows share are
            needed for it.
        classes: what the class logits mean.
        panoptic: collects a panoptic map of the video, too.
        score_threshold: results with a lower score are left out.
    """

    def __init__(
        self,
        max_per_video: int = 10,
        is_thing: Sequence[bool] | Tensor | None = None,
        kept: int = 30,
        mask_weight: float = 1.0,
        classes: ClassScores = SOFTMAX,
        panoptic: 'PanopticVideo | None' = None,
        score_threshold: float = 0.0,
    ):
        self.max_per_video = max_per_video
        self.is_thing = is_thing
        self.kept = max(kept, max_per_video)
        self.mask_weight = mask_weight
        self.classes = classes
        self.panoptic = panoptic
        self.score_threshold = score_threshold
        self.length = 0  # frames
        self.codes: list[dict[int, dict]] = []  # of each frame, by track
        self.logits: Tensor | None = None  # (Q, C + 1), sums over frames
        self.queries: Tensor | None = None  # (Q, E), of the last window
        self.tail: Tensor | None = None  # bool (Q, O, h, w), masks of its last frames

    def add(
        self,
        class_logits: Tensor,
        mask_embeds: Tensor,
        mask_features: Tensor,
        queries: Tensor,
        sizes: Sizes,
        known: int = 0,
        shared: int = 0,
    ) -> None:
        """The next window.

        Args:
            class_logits: (Q, C + 1) or (Q, C), as ``classes`` reads them.
            mask_embeds: (Q, D).
            mask_features: (T, D, h, w).
            queries: (Q, E).
            sizes: of padded input, image and output.
            known: frames at its beginning that the window before has ended with.
            shared: frames at its end that the next window will begin with.

        Raises:
            NonFinitePrediction: what the network predicts is not finite.
        """
        parts = {
            'class logits': class_logits,
            'mask embeddings': mask_embeds,
            'mask features': mask_features,
            'queries': queries,
        }
        order = self._order(mask_embeds, mask_features[:known], queries, parts)
        class_logits, mask_embeds, self.queries = (part[order] for part in (class_logits, mask_embeds, queries))
        new = mask_features[known:]
        self.length += len(new)
        self.logits = class_logits.float() * len(new) + (0 if self.logits is None else self.logits)
        rows = self._likeliest(class_logits)
        *tracks, finite = torch.cat((rows, finite_sum(*parts.values()).isfinite()[None])).tolist()
        if not finite:
            raise_non_finite(parts)
        embeds, places = mask_embeds[rows], torch.arange(len(rows), device=rows.device)
        for frame in new.split(1):
            store = RunLengths(places, len(rows), *sizes.output)
            draw(store, embeds, frame, sizes)
            self.codes.append({track: code for track, code in zip(tracks, store.finish()) if not is_empty(code)})
        if self.panoptic is not None:
            self.panoptic.add(class_logits, mask_embeds, new, sizes)
        self.tail = low_res_masks(mask_embeds, mask_features[len(mask_features) - shared :])

    def _order(self, mask_embeds: Tensor, features: Tensor, queries: Tensor, parts: dict[str, Tensor]) -> Tensor:
        """The query of each track, (Q,); an assignment needs costs that are finite, as all ``parts`` should be."""
        if self.queries is None:
            return torch.arange(len(queries), device=queries.device)
        cost = 1 - cosine_similarity(self.queries, queries)
        if len(features) and self.mask_weight:
            cost = cost + self.mask_weight * (
                1 - mask_iou(self.tail[:, -len(features) :], low_res_masks(mask_embeds, features))
            )
        cost = cost.cpu().numpy()
        if not np.isfinite(cost).all():
            raise_non_finite(parts)
        return torch.from_numpy(linear_sum_assignment(cost)[1]).to(queries.device)

    def _likeliest(self, class_logits: Tensor) -> Tensor:
        """Tracks whose masks are kept, ascending, by the better of their scores so far and in this window."""
        scores = torch.maximum(*(self._scores(logits) for logits in (self.logits / self.length, class_logits)))
        return scores.topk(min(self.kept, len(scores))).indices.sort().values

    def _scores(self, class_logits: Tensor) -> Tensor:
        scores = self.classes.instance(class_logits.float())
        if self.is_thing is not None:
            scores = scores * torch.as_tensor(self.is_thing, dtype=scores.dtype, device=scores.device)
        return scores.amax(1)

    def finish(self) -> list[Track]:
        """The results over all frames, those of a higher score first."""
        if self.logits is None:
            return []
        probabilities = self.classes.instance(self.logits / self.length)
        scores, labels, source, rows = topk_instances(probabilities, self.max_per_video, self.is_thing)
        tracks = []
        for k in scores.argsort(descending=True, stable=True).tolist():
            if scores[k] < self.score_threshold:
                break
            row = int(rows[source[k]])
            tracks.append(Track(int(labels[k]), [frame.get(row) for frame in self.codes], float(scores[k])))
        return tracks


class PanopticVideo:
    """The panoptic map of a video, window after window; a single window gives what ``clip_panoptic`` gives.

    What is kept of a frame is whose every pixel is, packed. A pixel's owner is chosen among the tracks that are sure in
    their window; which tracks are segments, by their mean logits over those windows.

    Args:
        is_thing: for each class; stuff segments of one class are merged into the first.
        object_threshold, overlap_threshold, filter_low_score: see ``panoptic_segmentation``.
        classes: what the class logits mean.
    """

    def __init__(
        self,
        is_thing: Sequence[bool],
        object_threshold: float = 0.8,
        overlap_threshold: float = 0.8,
        filter_low_score: bool = True,
        classes: ClassScores = SOFTMAX,
    ):
        self.is_thing = is_thing
        self.object_threshold = object_threshold
        self.overlap_threshold = overlap_threshold
        self.filter_low_score = filter_low_score
        self.classes = classes
        self.owners: list[bytes] = []  # of each frame 1 + the track of every pixel, packed int16
        self.counts: Tensor | int = 0  # (3, Q), see ``assign_pixels``
        self.logits: Tensor | int = 0  # (Q, C + 1), sums over the frames in which a track is sure
        self.frames: Tensor | int = 0  # (Q,), their number
        self.size = (0, 0)

    def add(self, class_logits: Tensor, mask_embeds: Tensor, mask_features: Tensor, sizes: Sizes) -> None:
        """New frames: logits (Q, C + 1), embeddings (Q, D) and features (T, D, h, w), by track."""
        self.size = sizes.output
        scores, _, keep = self.classes.panoptic(class_logits, self.object_threshold)
        kept = keep.nonzero()[:, 0]
        tracks = torch.cat((kept.new_zeros(1), kept + 1)).to(torch.int16)
        counts = torch.zeros(3, len(scores), dtype=torch.long, device=scores.device)
        for frame in mask_features.split(1):
            owners, of_frame = assign_pixels(scores[kept], mask_embeds[kept], frame, sizes, self.filter_low_score)
            counts[:, kept] += of_frame
            self.owners.append(zlib.compress(tracks[owners].cpu().numpy().tobytes(), 1))
        self.counts = self.counts + counts
        self.logits = self.logits + class_logits.float() * keep[:, None] * len(mask_features)
        self.frames = self.frames + keep * len(mask_features)

    def finish(
        self, codes: Callable[[Sequence[Segment]], Sequence[int]] | None = None
    ) -> tuple[Iterator[Tensor], list[Segment]]:
        """Maps int32 (H, W), frame after frame, and the segments.

        Args:
            codes: what a map says for void and for each segment; by default 0 and the ids.
        """
        if not self.owners:
            return iter(()), []
        logits = self.logits / self.frames.clamp(min=1)[:, None]
        scores, labels, keep = self.classes.panoptic(logits, self.object_threshold)
        kept = (keep & (self.frames > 0)).nonzero()[:, 0]
        ids, segments = merge_segments(
            self.counts[:, kept],
            labels[kept],
            scores[kept],
            self.is_thing,
            self.overlap_threshold,
            self.filter_low_score,
        )
        meanings = list(codes(segments)) if codes else [0, *(segment.id for segment in segments)]
        lookup = np.full(len(scores) + 1, meanings[0], np.int32)
        lookup[kept.cpu().numpy() + 1] = [meanings[i] for i in ids]
        return (
            torch.from_numpy(lookup[np.frombuffer(zlib.decompress(packed), np.int16)].reshape(self.size))
            for packed in self.owners
        ), segments

    def segment_tracks(self) -> tuple[list[Segment], list[Track]]:
        """The segments, and of each what it covers, frame after frame; no pixel belongs to two."""
        from pycocotools import mask as coco_masks

        maps, segments = self.finish()
        tracks = [Track(segment.label, [], segment.score) for segment in segments]
        for frame in maps:
            frame = np.asfortranarray(frame.numpy())
            for segment, track in zip(segments, tracks):
                mask = frame == segment.id
                track.masks.append(coco_masks.encode(mask.view(np.uint8)) if mask.any() else None)
        return segments, tracks


class Window(NamedTuple):
    """Frames ``first`` to ``end - 1`` of a video; ``known`` of them at the beginning are in the window before, and
    ``shared`` at the end in the next one."""

    first: int
    end: int
    known: int
    shared: int


def sliding_windows(
    frames: Iterable[Frame], size: int | None, overlap: int = 0
) -> Iterator[tuple[list[Frame], Window]]:
    """The frames of each window of a video, as they come; neighbours share ``overlap`` of them.

    Args:
        frames: of the video.
        size: frames of a window, None for a single one.
        overlap: less than ``size``.
    """
    if size is not None and not 0 <= overlap < size:
        raise ValueError(
            f'windows of {size} frames cannot share {overlap}: make the overlap smaller, or the windows larger'
        )
    frames = iter(frames)
    held, first, known = list(islice(frames, size)), 0, 0
    while held:
        following = list(islice(frames, 1))  # is there another window?
        end, shared = first + len(held), overlap if following else 0
        yield held, Window(first, end, known, shared)
        if not following:
            return
        held = [*held[len(held) - shared :], *following, *islice(frames, size - shared - 1)]
        first, known = end - shared, shared


def cosine_similarity(a: Tensor, b: Tensor) -> Tensor:
    """Cosine of the vectors (n, E) and (m, E): (n, m)."""
    with torch.autocast(a.device.type, enabled=False):
        return normalize(a.float(), dim=-1) @ normalize(b.float(), dim=-1).T


def low_res_masks(embeds: Tensor, features: Tensor) -> Tensor:
    """Masks at the size of the features, bool (Q, T, h, w), a frame at a time."""
    masks = features.new_empty((len(embeds), len(features), *features.shape[-2:]), dtype=torch.bool)
    for t in range(len(features)):
        masks[:, t] = mask_logits_from(embeds, features[t : t + 1])[:, 0] > 0
    return masks


def mask_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU of masks over all frames, bool (n, T, h, w) and (m, T, h, w): (n, m); 0 where both are empty."""
    with torch.autocast(a.device.type, enabled=False):  # numbers of pixels are too large for half precision
        both = sum(x.flatten(1).float() @ y.flatten(1).float().T for x, y in zip(a.unbind(1), b.unbind(1)))
    areas = [masks.flatten(1).sum(1).float() for masks in (a, b)]
    return both / (areas[0][:, None] + areas[1] - both).clamp(min=1)


def is_empty(code: dict) -> bool:
    """Whether a mask has no pixel."""
    from pycocotools import mask as coco_masks

    return not coco_masks.area(code)
