"""MMDetection's videos: a head for the stock video detector, and a detector that predicts several clips at once.

Shapes: B clips, T frames, Q queries, C classes, N objects of a clip, H x W the padded input.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from mmdet.models.vis import Mask2FormerVideo as StockMask2FormerVideo
from mmdet.structures import TrackDataSample
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData, PixelData
from pycocotools import mask as coco_masks
from torch import Tensor

from m2f_mm.models import MaskTransformer
from m2f_mm.postprocess import (
    PanopticRules,
    PanopticVideo,
    Segment,
    Sizes,
    VideoTracks,
    Window,
    clip_panoptic,
    clip_segmentation,
    sliding_windows,
)
from m2f_mm.registry import MODELS
from m2f_mm.structures import MaskPredictions, Track

from .checked_model import CheckedModel, as_weights, explained_channels, prepare
from .head_defaults import MASK2FORMER
from .head_options import Mask2FormerTrackHeadOptions, lists_options, read_options
from .inference_options import VIDEO_OPTIONS, joined_cfg, read_test_cfg
from .mmdet import DetectorAdapter, detector_parts
from .mmdet_samples import RLEMasks, clip_targets, instance_result, panoptic_ids, sample_sizes

Frame = TypeVar('Frame')


@MODELS.register_module()
@lists_options(Mask2FormerTrackHeadOptions)
class Mask2FormerTrackHead(DetectorAdapter, MaskTransformer):
    """Fills the ``track_head`` slot of MMDetection's ``Mask2FormerVideo``; its options, and shorter ones. A clip of one
    frame gives what ``Mask2FormerHead`` gives for the image.

    A whole video is a single clip unless it is longer than ``test_cfg.window_size``: then windows of that many frames
    are joined, see ``VideoTracks``, and masks are RLE.
    """

    stock_forward = dict(every_layer=True)

    def __init__(self, **options: Any):
        if options.get('num_classes') is not None:
            options.setdefault('num_things_classes', options['num_classes'])
        given = read_options(Mask2FormerTrackHeadOptions, options)
        check_windows(read_test_cfg(given.test_cfg, VIDEO_OPTIONS))
        parts = detector_parts(MASK2FORMER, given)
        super().__init__(**parts.network)
        parts.attach(self)
        self.last_frame_labels = given.last_frame_labels
        self.num_frames = given.num_frames
        self.test_cfg = given.test_cfg or {}
        self.register_buffer('things', torch.tensor(self.is_thing), persistent=False)

    @property
    def options(self) -> ConfigDict:
        """Those of ``test_cfg``, with defaults."""
        return read_test_cfg(self.test_cfg, VIDEO_OPTIONS)

    def forward(
        self, x: Sequence[Tensor], *data_samples: Sequence[TrackDataSample] | TrackDataSample, **options: Any
    ) -> MaskPredictions | tuple[list[Tensor], list[Tensor]]:
        """As ``DetectorHead.forward``; samples, of the clips or of a single one, say how many frames each has."""
        if data_samples and 'num_frames' not in options:
            samples = data_samples[0]
            options['num_frames'] = len(x[0]) // (len(samples) if isinstance(samples, list | tuple) else 1)
        return super().forward(x, *data_samples, **options)

    def loss(self, x: Sequence[Tensor], data_samples: Sequence[TrackDataSample]) -> dict[str, Tensor]:
        """Losses by name, see ``SetCriterion``.

        Args:
            x: features (B * T, c, h, w), fine to coarse, frames of a clip one after the other.
            data_samples: of the B clips.
        """
        num_frames = len(x[0]) // len(data_samples)
        if self.num_frames not in (None, num_frames):
            raise ValueError(
                f'track_head: num_frames={self.num_frames}, but the clips have {num_frames} frames: make '
                'it agree with the frame sampling in the pipeline, or leave it out'
            )
        targets = clip_targets(data_samples, x[0].device, self.last_frame_labels)
        return self.losses(x, targets, num_frames=num_frames)

    def predict(self, x: Sequence[Tensor], data_samples: TrackDataSample, rescale: bool = True) -> list[InstanceData]:
        """What the stock detector asks for: results of each frame of one clip."""
        predictions = self(x, num_frames=len(data_samples))
        return list(self.results(predictions, 0, data_samples, rescale))

    def new_tracks(self) -> VideoTracks:
        """For a video that is to be predicted in windows, see ``add_window``."""
        panoptic = PanopticVideo(self._panoptic_rules()) if self.panoptic_on else None
        options = self.options
        return VideoTracks(
            options.max_per_video,
            self.things,
            panoptic=panoptic,
            score_threshold=options.score_thr,
        )

    @property
    def panoptic_on(self) -> bool:
        """Whether there are panoptic maps in the results."""
        return self.options.panoptic_on

    def _panoptic_rules(self) -> PanopticRules:
        options = self.options
        return PanopticRules(self.is_thing, options.object_mask_thr, options.iou_thr, options.filter_low_score)

    def panoptic_ids(self, segments: Sequence[Segment]) -> list[int]:
        """MMDetection's encoding, see ``panoptic_ids``."""
        return panoptic_ids(segments, self.num_classes)

    def panoptic_maps(
        self, predictions: MaskPredictions, index: int, clip: TrackDataSample, rescale: bool = True
    ) -> list[Tensor]:
        """T maps (H, W) of clip ``index`` of a batch, in MMDetection's encoding; arguments as for ``results``."""
        sizes = sample_sizes(clip[0], clip[0].batch_input_shape, rescale)
        maps, _ = clip_panoptic(
            predictions.class_logits[-1][index].float(),
            predictions.mask_embeds[-1][index],
            predictions.mask_features[index],
            sizes,
            self._panoptic_rules(),
            self.panoptic_ids,
        )
        return maps

    def add_window(self, tracks: VideoTracks, x: Sequence[Tensor], sizes: Sizes, window: Window) -> None:
        """Predict a window of a video.

        Args:
            tracks: of the video.
            x: features of the window's frames, fine to coarse.
            sizes: of padded input, image and output.
            window: as ``sliding_windows`` gives it.
        """
        if self.per_frame:
            predictions, parts = self(x), range(len(x[0]))
        else:
            predictions, parts = self(x, num_frames=len(x[0])), range(1)
        for index in parts:
            tracks.add(
                predictions.class_logits[-1][index].float(),
                predictions.mask_embeds[-1][index],
                predictions.mask_features[index],
                predictions.queries[index],
                sizes,
                window.overlap_prev,
                window.overlap_next,
            )

    @property
    def per_frame(self) -> bool:
        """Whether every frame is predicted on its own."""
        return self.options.association == 'frames'

    @property
    def windowed(self) -> bool:
        """Whether videos are predicted in windows, if they are long enough."""
        return self.options.window_size is not None or self.per_frame

    def sliding_windows(self, frames: Iterable[Frame]) -> Iterator[tuple[list[Frame], Window]]:
        """The windows of a video; where frames are predicted on their own, these bound memory alone."""
        options = self.options
        if self.per_frame:
            return sliding_windows(frames, options.window_size or 20)
        return sliding_windows(frames, options.window_size, options.window_overlap)

    def results(
        self, predictions: MaskPredictions, index: int, clip: TrackDataSample, rescale: bool = True
    ) -> Iterator[InstanceData]:
        """Results of clip ``index`` of a batch, frame after frame, with ``instances_id`` that hold for the whole clip.

        Args:
            predictions: of the batch.
            index: of the clip in the batch.
            clip: the sizes are read.
            rescale: results at the size of the files instead of the network's input.
        """
        sizes = sample_sizes(clip[0], clip[0].batch_input_shape, rescale)
        options = self.options
        frames = clip_segmentation(
            predictions.class_logits[-1][index].float(),
            predictions.mask_embeds[-1][index],
            predictions.mask_features[index],
            sizes,
            options.max_per_video,
            self.things,
            options.instance_masks,
        )
        for frame in frames:
            result = instance_result(frame, sizes, options.score_thr)
            result.instances_id = torch.arange(len(result), device=result.labels.device)
            yield result


def check_windows(options: ConfigDict) -> None:
    """Raise the error for windows that share all of their frames."""
    if options.association == 'clip' and options.window_size and options.window_overlap >= options.window_size:
        raise ValueError(
            f'test_cfg: windows of window_size={options.window_size} frames cannot share '
            f'{options.window_overlap} (window_overlap)'
        )


@MODELS.register_module()
class Mask2FormerVideo(CheckedModel, StockMask2FormerVideo):
    """MMDetection's video detector with a neck, several clips of one length at once in prediction, windows for long
    videos, and weights of every source: its own, official ones, and those of image models, whose head becomes the track
    head. The stock detector takes the same head, but predicts a whole video as one clip, whatever ``test_cfg`` says.

    Args:
        backbone, track_head, neck, data_preprocessor: as in a config of MMDetection.
        train_cfg: given to the head, which takes it directly, too.
        test_cfg: given to the head, see there; ``frames_at_once``: frames that go through the backbone together in
            prediction, None for all. Windows bound what the network takes; the loader and the preprocessor hold all
            frames of a video (``m2f_mm.apis.video.predict_video`` does not).
    """

    def __init__(
        self,
        backbone: dict,
        track_head: dict,
        neck: dict | None = None,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ):
        track_head = ConfigDict(track_head)
        for name, given in (('train_cfg', train_cfg), ('test_cfg', test_cfg)):
            track_head[name] = joined_cfg(name, dict(model=given, track_head=track_head.get(name)))
        super().__init__(
            backbone=backbone, track_head=track_head, data_preprocessor=data_preprocessor, init_cfg=init_cfg
        )
        prepare(self)
        if neck is not None:
            self.neck = MODELS.build(neck)
        self.test_cfg = track_head.test_cfg or {}

    def extract_feat(self, frames: Tensor) -> Sequence[Tensor]:
        """Features of frames (n, 3, H, W), fine to coarse."""
        with explained_channels(frames, self.backbone):
            features = self.backbone(as_weights(frames, self.backbone))
        return self.neck(features) if hasattr(self, 'neck') else features

    def features_of(self, frames: Tensor) -> list[Tensor]:
        """The same, ``frames_at_once``."""
        together = read_test_cfg(self.test_cfg, VIDEO_OPTIONS).frames_at_once or len(frames)
        parts = [self.extract_feat(part) for part in frames.split(together)]
        return [torch.cat(level) if len(level) > 1 else level[0] for level in zip(*parts)]

    def loss(self, inputs: Tensor, data_samples: Sequence[TrackDataSample]) -> dict[str, Tensor]:
        """Losses by name.

        Args:
            inputs: (B, T, 3, H, W), normalised.
            data_samples: of the B clips.
        """
        return self.track_head.loss(self.extract_feat(inputs.flatten(0, 1)), data_samples)

    def _forward(
        self, inputs: Tensor, data_samples: Sequence[TrackDataSample] | None = None
    ) -> tuple[list[Tensor], list[Tensor]]:
        """The stock head's class and mask logits of every layer, for clips (B, T, 3, H, W)."""
        return self.track_head.forward(
            self.extract_feat(inputs.flatten(0, 1)), data_samples, num_frames=inputs.shape[1]
        )

    def predict(
        self, inputs: Tensor, data_samples: Sequence[TrackDataSample], rescale: bool = True
    ) -> Sequence[TrackDataSample]:
        """The samples with ``pred_track_instances`` in each of their frames.

        Args:
            inputs: (B, T, 3, H, W), normalised.
            data_samples: of the B clips.
            rescale: results at the size of the files instead of the network's input.
        """
        if self.track_head.windowed:
            for frames, clip in zip(inputs, data_samples):
                self._predict_windows(frames, clip, rescale)
            return data_samples
        predictions = self.track_head(self.features_of(inputs.flatten(0, 1)), num_frames=inputs.shape[1])
        for index, clip in enumerate(data_samples):
            results = self.track_head.results(predictions, index, clip, rescale)
            for frame, result in zip(clip.video_data_samples, results):
                frame.pred_track_instances = result
            if self.track_head.panoptic_on:
                add_maps(clip, self.track_head.panoptic_maps(predictions, index, clip, rescale))
        return data_samples

    def _predict_windows(self, frames: Tensor, clip: TrackDataSample, rescale: bool) -> None:
        """Of one video, frames (T, 3, H, W)."""
        head, sizes = self.track_head, sample_sizes(clip[0], clip[0].batch_input_shape, rescale)
        tracks = head.new_tracks()
        for window_frames, window in head.sliding_windows(frames):
            head.add_window(tracks, self.features_of(torch.stack(window_frames)), sizes, window)
        for frame, result in zip(clip.video_data_samples, track_results(tracks.finish(), sizes, len(frames))):
            frame.pred_track_instances = result
        if tracks.panoptic is not None:
            add_maps(clip, tracks.panoptic.finish(head.panoptic_ids)[0])


def add_maps(clip: TrackDataSample, maps: Iterable[Tensor]) -> None:
    """Give each frame of a clip its panoptic map (H, W)."""
    for frame, panoptic_map in zip(clip.video_data_samples, maps):
        frame.pred_panoptic_seg = PixelData(sem_seg=panoptic_map[None])


def track_results(tracks: Sequence[Track], sizes: Sizes, length: int) -> Iterator[InstanceData]:
    """Results of each frame, as ``Mask2FormerTrackHead.results`` gives them, with RLE for masks."""
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
