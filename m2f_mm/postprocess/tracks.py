"""Videos of any length: windows of frames are predicted one after the other, and their queries joined into tracks.

Of a frame the run-length codes (RLE) of the masks of the top tracks are stored, so memory hardly grows with the video.

Shapes: Q queries and tracks, E channels of a query, C classes, D mask channels, T frames of a window, h x w the mask
features.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from m2f_mm.structures import Track

from .association import Associator, CosineIoUAssociator
from .classes import SOFTMAX, ClassScores
from .finite import finite_sum, raise_non_finite
from .instance import rasterize_masks, topk_instances
from .mask_stores import RLEStore
from .panoptic_video import PanopticVideo
from .tiles import Sizes


class TrackStore:
    """The tracks of a video so far: their mean class logits, and of each frame the masks of the top ones.

    Args:
        num_tracks: how many tracks have their masks stored in a window, those with the highest scores so far; at least
            Q stores all of them, as MinVIS does. A track that is not among them is absent from the window's frames.
        is_thing: for each class; scores of other classes do not count.
        classes: what the class logits mean.
    """

    def __init__(
        self,
        num_tracks: int = 30,
        is_thing: Sequence[bool] | Tensor | None = None,
        classes: ClassScores = SOFTMAX,
    ):
        self.num_tracks = num_tracks
        self.is_thing = is_thing
        self.classes = classes
        self.rles: list[dict[int, dict]] = []  # of each frame, by track
        self.logit_sums: Tensor | None = None  # (Q, C + 1), over frames

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.rles)

    @property
    def mean_logits(self) -> Tensor:
        """(Q, C + 1) or (Q, C), over all frames."""
        assert self.logit_sums is not None
        return self.logit_sums / len(self)

    def add(
        self, class_logits: Tensor, mask_embeds: Tensor, mask_features: Tensor, sizes: Sizes, parts: dict[str, Tensor]
    ) -> None:
        """New frames. The device is waited for once, and once more for each of them.

        Args:
            class_logits: by track, (Q, C + 1) or (Q, C).
            mask_embeds: by track, (Q, D).
            mask_features: (T, D, h, w).
            sizes: of padded input, image and output.
            parts: predictions that have to be finite.

        Raises:
            NonFinitePrediction: they are not.
        """
        from pycocotools import mask as coco_masks

        sums = class_logits.float() * len(mask_features)
        self.logit_sums = sums if self.logit_sums is None else self.logit_sums + sums
        mean_logits = self.logit_sums / (len(self) + len(mask_features))
        rows = self._top_tracks(mean_logits, class_logits)
        *tracks, finite = torch.cat((rows, finite_sum(*parts.values()).isfinite()[None])).tolist()
        if not finite:
            raise_non_finite(parts)
        embeds, source = mask_embeds[rows], torch.arange(len(rows), device=rows.device)
        for frame in mask_features.split(1):
            store = RLEStore(source, len(rows), *sizes.output)
            rasterize_masks(store, embeds, frame, sizes)
            self.rles.append({track: rle for track, rle in zip(tracks, store.finish()) if coco_masks.area(rle)})

    def _top_tracks(self, mean_logits: Tensor, class_logits: Tensor) -> Tensor:
        """Tracks whose masks are stored, ascending, by the better of their scores so far and in this window."""
        scores = torch.maximum(self._scores(mean_logits), self._scores(class_logits))
        return scores.topk(min(self.num_tracks, len(scores))).indices.sort().values

    def _scores(self, class_logits: Tensor) -> Tensor:
        scores = self.classes.instance(class_logits.float())
        if self.is_thing is not None:
            scores = scores * torch.as_tensor(self.is_thing, dtype=scores.dtype, device=scores.device)
        return scores.amax(1)

    def masks(self, track: int) -> list[dict | None]:
        """RLE of each frame, None where the track is absent."""
        return [frame.get(track) for frame in self.rles]


class TrackSession:
    """The state of one video that is predicted in windows: its tracks and, where it is asked for, its panoptic map. A
    single window gives what ``clip_segmentation`` gives.

    Args:
        max_per_video: results, (track, class) pairs with the highest mean scores.
        is_thing: for each class; pairs of other classes are dropped after the choice.
        num_tracks: see ``TrackStore``; at least ``max_per_video``.
        associator: which query of a window is which track; cosine similarity and IoU by default.
        classes: what the class logits mean.
        panoptic: collects the panoptic map, too.
        score_threshold: results with a lower score are left out.
    """

    def __init__(
        self,
        max_per_video: int = 10,
        is_thing: Sequence[bool] | Tensor | None = None,
        num_tracks: int = 30,
        associator: Associator | None = None,
        classes: ClassScores = SOFTMAX,
        panoptic: PanopticVideo | None = None,
        score_threshold: float = 0.0,
    ):
        self.max_per_video = max_per_video
        self.panoptic = panoptic
        self.score_threshold = score_threshold
        self.associator = associator or CosineIoUAssociator()
        self.store = TrackStore(max(num_tracks, max_per_video), is_thing, classes)

    def add(
        self,
        class_logits: Tensor,
        mask_embeds: Tensor,
        mask_features: Tensor,
        queries: Tensor,
        sizes: Sizes,
        overlap_prev: int = 0,
        overlap_next: int = 0,
    ) -> None:
        """The next window.

        Args:
            class_logits: (Q, C + 1) or (Q, C), as ``classes`` reads them.
            mask_embeds: (Q, D).
            mask_features: (T, D, h, w).
            queries: (Q, E).
            sizes: of padded input, image and output.
            overlap_prev: frames at its beginning that the window before has, too.
            overlap_next: frames at its end that the next window will have, too.

        Raises:
            NonFinitePrediction: a prediction is not finite.
        """
        parts = {
            'class logits': class_logits,
            'mask embeddings': mask_embeds,
            'mask features': mask_features,
            'queries': queries,
        }
        try:
            order = self.associator.order(queries, mask_embeds, mask_features[:overlap_prev])
        except FloatingPointError:
            raise_non_finite(parts)
        class_logits, mask_embeds, queries = (part[order] for part in (class_logits, mask_embeds, queries))
        new = mask_features[overlap_prev:]
        self.store.add(class_logits, mask_embeds, new, sizes, parts)
        if self.panoptic is not None:
            self.panoptic.add(class_logits, mask_embeds, new, sizes)
        self.associator.remember(queries, mask_embeds, mask_features[len(mask_features) - overlap_next :])

    def finish(self) -> list[Track]:
        """The results over all frames, those of a higher score first."""
        if not len(self.store):
            return []
        probabilities = self.store.classes.instance(self.store.mean_logits)
        top = topk_instances(probabilities, self.max_per_video, self.store.is_thing)
        tracks = []
        for k in top.scores.argsort(descending=True, stable=True).tolist():
            if top.scores[k] < self.score_threshold:
                break
            masks = self.store.masks(int(top.queries[top.rows[k]]))
            tracks.append(Track(int(top.labels[k]), masks, float(top.scores[k])))
        return tracks
