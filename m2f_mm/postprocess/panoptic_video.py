"""The panoptic map of a video whose windows come one after the other.

Shapes: Q tracks, C classes, D mask channels, T frames of a window, h x w the mask features, H x W the output.
"""

import zlib
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from m2f_mm.structures import Track

from .panoptic import MapIds, PanopticRules, Segment, ids_in_map
from .tiles import Sizes


class PanopticVideo:
    """The panoptic map of a video, window after window; a single window gives what ``clip_panoptic`` gives.

    Of a frame the winner of every pixel is stored, packed. Winners are among the tracks that are confident in
    their window; which tracks are segments follows from their mean logits over those windows.

    Args:
        rules: how tracks become segments.
    """

    def __init__(self, rules: PanopticRules):
        self.rules = rules
        # Sums over the frames in which a track is confident: pixels, int64 (3, Q), see ``PanopticRules.assign_pixels``;
        # logits (Q, C + 1) or (Q, C); number of these frames, int64 (Q,).
        self.totals: tuple[Tensor, ...] | None = None
        self.packed: list[bytes] = []  # of each frame 1 + the track of every pixel, int16
        self.size = (0, 0)

    def add(self, class_logits: Tensor, mask_embeds: Tensor, mask_features: Tensor, sizes: Sizes) -> None:
        """The frames of the next window: logits (Q, C + 1) or (Q, C), embeddings (Q, D), features (T, D, h, w), of
        tracks in the same order every time."""
        self.size = sizes.output
        scores, _, confident = self.rules.confident(class_logits)
        tracks = confident.nonzero()[:, 0]
        numbers = torch.cat((tracks.new_zeros(1), tracks + 1)).to(torch.int16)
        pixels = torch.zeros(3, len(scores), dtype=torch.long, device=scores.device)
        for frame in mask_features.split(1):
            winners, counts = self.rules.assign_pixels(scores[tracks], mask_embeds[tracks], frame, sizes)
            pixels[:, tracks] += counts
            self.packed.append(zlib.compress(numbers[winners].cpu().numpy().tobytes(), 1))
        frames = confident * len(mask_features)
        sums = pixels, class_logits.float() * frames[:, None], frames
        self.totals = sums if self.totals is None else tuple(map(torch.add, self.totals, sums))

    def finish(self, map_ids: MapIds | None = None) -> tuple[Iterator[Tensor], list[Segment]]:
        """Maps int32 (H, W), frame after frame, and the segments.

        Args:
            map_ids: what a map has for void and for each segment; by default 0 and the ids.
        """
        if self.totals is None:
            return iter(()), []
        pixels, logits, frames = self.totals
        scores, labels, confident = self.rules.confident(logits / frames.clamp(min=1)[:, None])
        tracks = (confident & (frames > 0)).nonzero()[:, 0]
        segment_ids, segments = self.rules.merge_segments(pixels[:, tracks], labels[tracks], scores[tracks])
        void, *ids = ids_in_map(segment_ids, segments, map_ids)
        lookup = np.full(len(scores) + 1, void, np.int32)
        lookup[tracks.cpu().numpy() + 1] = ids
        return (
            torch.from_numpy(lookup[np.frombuffer(zlib.decompress(packed), np.int16)].reshape(self.size))
            for packed in self.packed
        ), segments

    def segment_tracks(self) -> tuple[list[Segment], list[Track]]:
        """The segments, and the masks of each, frame after frame, which do not overlap."""
        from pycocotools import mask as coco_masks

        maps, segments = self.finish()
        masks: Sequence[list[dict | None]] = [[] for _ in segments]
        for frame in maps:
            pixels = np.asfortranarray(frame.numpy())
            for segment, rles in zip(segments, masks):
                mask = pixels == segment.id
                rles.append(coco_masks.encode(mask.view(np.uint8)) if mask.any() else None)
        return segments, [Track(segment.label, rles, segment.score) for segment, rles in zip(segments, masks)]
