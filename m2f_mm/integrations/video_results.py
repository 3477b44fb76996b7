"""Results of videos in MMDetection's forms.

Shapes: T frames of a clip or video, H x W the output.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from mmdet.structures import TrackDataSample
from mmengine.structures import InstanceData, PixelData
from pycocotools import mask as coco_masks
from torch import Tensor, nn

from m2f_mm.postprocess import (
    PanopticRules,
    PanopticVideo,
    Sizes,
    TrackSession,
    Window,
    clip_panoptic,
    clip_segmentation,
    sliding_windows,
)
from m2f_mm.structures import MaskPredictions, Track

from .inference_options import VIDEO_OPTIONS, read_test_cfg
from .mmdet_samples import RLEMasks, encode_segments, instance_result, sample_sizes

Frame = TypeVar('Frame')


class VideoFusion(nn.Module):
    """How a video is predicted, in windows or as one clip, and which results are made of its predictions. A module
    without weights, so that ``things`` is on the device of the predictions.

    Args:
        is_thing: for each class.
        test_cfg: see ``inference_options.VIDEO_OPTIONS``, or ``docs/options.md``.

    Raises:
        ValueError: an option is unknown or impossible, or windows share all of their frames.
    """

    things: Tensor

    def __init__(self, is_thing: Sequence[bool], test_cfg: Mapping[str, Any] | None = None):
        super().__init__()
        self.test_cfg = dict(test_cfg or {})
        self.options = options = read_test_cfg(test_cfg, VIDEO_OPTIONS)
        self.per_frame = options.association == 'frames'
        size, overlap = options.window_size, options.window_overlap
        if self.per_frame:  # windows bound memory alone
            size, overlap = size or 20, 0
        if size and overlap >= size:
            raise ValueError(f'test_cfg: windows of window_size={size} frames cannot share {overlap} (window_overlap)')
        self.window_size, self.window_overlap = size, overlap
        self.rules = PanopticRules(is_thing, options.object_mask_thr, options.iou_thr, options.filter_low_score)
        self.encode_segments = partial(encode_segments, num_classes=len(is_thing))
        self.register_buffer('things', torch.tensor(is_thing), persistent=False)

    def windows(self, frames: Iterable[Frame]) -> Iterator[tuple[list[Frame], Window]]:
        """The windows of a video, see ``sliding_windows``."""
        return sliding_windows(frames, self.window_size, self.window_overlap)

    def new_session(self) -> TrackSession:
        """For a video that is predicted in windows."""
        panoptic = PanopticVideo(self.rules) if self.options.panoptic_on else None
        return TrackSession(
            self.options.max_per_video, self.things, panoptic=panoptic, score_threshold=self.options.score_thr
        )

    def instances(self, predictions: MaskPredictions, index: int, sizes: Sizes) -> Iterator[InstanceData]:
        """Instances of clip ``index`` of a batch, frame after frame, with ``instances_id`` that hold for the clip."""
        options = self.options
        for frame in clip_segmentation(
            *_of_clip(predictions, index), sizes, options.max_per_video, self.things, options.instance_masks
        ):
            result = instance_result(frame, sizes, options.score_thr)
            result.instances_id = torch.arange(len(result), device=result.labels.device)
            yield result

    def panoptic_maps(self, predictions: MaskPredictions, index: int, sizes: Sizes) -> Iterator[Tensor]:
        """Maps (H, W) of clip ``index`` of a batch, frame after frame; none without ``panoptic_on``."""
        if self.options.panoptic_on:
            yield from clip_panoptic(*_of_clip(predictions, index), sizes, self.rules, self.encode_segments)[0]

    def add_clip(self, clip: TrackDataSample, predictions: MaskPredictions, index: int, rescale: bool) -> None:
        """Give the frames of clip ``index`` of a batch their results, at the size of the files with ``rescale``."""
        sizes = clip_sizes(clip, rescale)
        add_results(clip, self.instances(predictions, index, sizes), self.panoptic_maps(predictions, index, sizes))

    def add_session(self, clip: TrackDataSample, session: TrackSession, sizes: Sizes) -> None:
        """Give the frames of a video their results."""
        maps = () if session.panoptic is None else session.panoptic.finish(self.encode_segments)[0]
        add_results(clip, track_instances(session.finish(), sizes, len(clip)), maps)


def _of_clip(predictions: MaskPredictions, index: int) -> tuple[Tensor, Tensor, Tensor]:
    """Class logits, mask embeddings and mask features."""
    last = predictions[-1]
    return last.class_logits[index].float(), last.mask_embeds[index], last.mask_features[index]


def clip_sizes(clip: TrackDataSample, rescale: bool) -> Sizes:
    """Those of the first frame, see ``sample_sizes``; all frames have the same."""
    return sample_sizes(clip[0], clip[0].batch_input_shape, rescale)


def add_results(clip: TrackDataSample, instances: Iterable[InstanceData], maps: Iterable[Tensor]) -> None:
    """Give each frame of a clip its instances and, unless there are none, its panoptic map (H, W)."""
    for frame, result in zip(clip.video_data_samples, instances):
        frame.pred_track_instances = result
    for frame, panoptic_map in zip(clip.video_data_samples, maps):
        frame.pred_panoptic_seg = PixelData(sem_seg=panoptic_map[None])


def track_instances(tracks: Sequence[Track], sizes: Sizes, length: int) -> Iterator[InstanceData]:
    """Instances of each frame, as ``VideoFusion.instances`` gives them, with RLE for masks."""
    empty = coco_masks.encode(np.zeros(sizes.output, np.uint8, order='F'))
    scores = torch.tensor([track.score for track in tracks])
    labels = torch.tensor([track.label for track in tracks], dtype=torch.long)
    for t in range(length):
        rles = [track.masks[t] or empty for track in tracks]
        boxes = torch.tensor(np.array([coco_masks.toBbox(rle) for rle in rles]).reshape(-1, 4), dtype=torch.float32)
        boxes[:, 2:] += boxes[:, :2]
        yield InstanceData(
            bboxes=boxes,
            labels=labels,
            scores=scores,
            masks=RLEMasks(rles, sizes.output),
            instances_id=torch.arange(len(rles)),
        )
