"""MMDetection's videos: a head for the stock video detector, and a detector that predicts several clips at once.

Shapes: B clips, T frames, Q queries, C classes, N objects of a clip, H x W the padded input.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, TypeVar

import torch
from mmdet.models.vis import Mask2FormerVideo as StockMask2FormerVideo
from mmdet.structures import TrackDataSample
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from mmengine.utils import ProgressBar
from torch import Tensor

from m2f_mm.models import MaskTransformer
from m2f_mm.postprocess import Sizes, TrackSession, Window
from m2f_mm.registry import MODELS
from m2f_mm.structures import MaskPredictions

from .checked_model import CheckedModel, as_weights, explained, explained_channels, prepare
from .head_defaults import MASK2FORMER
from .head_options import Mask2FormerTrackHeadOptions, lists_options, read_options
from .inference_options import joined_cfg
from .mmdet import DetectorAdapter, detector_parts
from .mmdet_samples import clip_targets
from .video_results import VideoFusion, clip_sizes

Frame = TypeVar('Frame')


@MODELS.register_module()
@lists_options(Mask2FormerTrackHeadOptions)
class Mask2FormerTrackHead(DetectorAdapter, MaskTransformer):
    """Fills the ``track_head`` slot of MMDetection's ``Mask2FormerVideo``; its options, and shorter ones. A clip of one
    frame gives what ``Mask2FormerHead`` gives for the image.

    A whole video is a single clip unless it is longer than ``test_cfg.window_size``: then windows of that many frames
    are joined, see ``TrackSession``, and masks are RLE.
    """

    stock_forward = dict(every_layer=True)

    def __init__(self, **options: Any):
        if options.get('num_classes') is not None:
            options.setdefault('num_things_classes', options['num_classes'])
        given = read_options(Mask2FormerTrackHeadOptions, options)
        parts = detector_parts(MASK2FORMER, given)
        super().__init__(**parts.network)
        parts.attach(self)
        self.last_frame_labels = given.last_frame_labels
        self.num_frames = given.num_frames
        self.fusion = VideoFusion(self.is_thing, given.test_cfg)

    @property
    def test_cfg(self) -> Mapping[str, Any]:
        """As the config has it; to change it once the model is built, assign another one, which is checked."""
        return MappingProxyType(self.fusion.test_cfg)

    @test_cfg.setter
    def test_cfg(self, cfg: Mapping[str, Any] | None) -> None:
        self.fusion = VideoFusion(self.is_thing, cfg).to(self.fusion.things.device)

    def forward(  # type: ignore[override]  # see DetectorAdapter.forward
        self, x: Sequence[Tensor], *data_samples: Sequence[TrackDataSample] | TrackDataSample, **options: Any
    ) -> MaskPredictions | tuple[list[Tensor], list[Tensor]]:
        """As ``DetectorAdapter.forward``; samples, of the clips or of a single one, say how many frames each has."""
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

    def predict(  # type: ignore[override]  # a stock track head gives results, a panoptic head predictions
        self, x: Sequence[Tensor], data_samples: TrackDataSample, rescale: bool = True
    ) -> list[InstanceData]:
        """What the stock detector asks for: results of each frame of one clip."""
        predictions = self(x, num_frames=len(data_samples))
        return list(self.fusion.instances(predictions, 0, clip_sizes(data_samples, rescale)))


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

    @property
    def test_cfg(self) -> Mapping[str, Any]:
        """The head's, where it can be changed."""
        return self.track_head.test_cfg

    def extract_feat(self, frames: Tensor) -> Sequence[Tensor]:
        """Features of frames (n, 3, H, W), fine to coarse."""
        with explained_channels(frames, self.backbone):
            features = self.backbone(as_weights(frames, self.backbone))
        return self.neck(features) if hasattr(self, 'neck') else features

    def features_of(self, frames: Tensor) -> list[Tensor]:
        """The same, ``frames_at_once``."""
        together = self.track_head.fusion.options.frames_at_once or len(frames)
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
        fusion = self.track_head.fusion
        if fusion.window_size is not None:
            for frames, clip in zip(inputs, data_samples):
                sizes = clip_sizes(clip, rescale)
                session = self.track(frames, partial(stacked, sizes=sizes))
                fusion.add_session(clip, session, sizes)
            return data_samples
        predictions = self.track_head(self.features_of(inputs.flatten(0, 1)), num_frames=inputs.shape[1])
        for index, clip in enumerate(data_samples):
            fusion.add_clip(clip, predictions, index, rescale)
        return data_samples

    def track(
        self,
        video: Iterable[Frame],
        to_inputs: Callable[[list[Frame]], tuple[Tensor, Sizes]],
        progress: ProgressBar | None = None,
    ) -> TrackSession:
        """Predict a video window by window, as ``test_cfg`` has it.

        Args:
            video: frames, read as they are needed.
            to_inputs: gives the network's input (T, 3, H, W) of the T frames of a window, and their sizes.
            progress: told of every frame.
        """
        session = self.track_head.fusion.new_session()
        for frames, window in self.track_head.fusion.windows(video):
            inputs, sizes = to_inputs(frames)
            with explained(self, inputs):
                self._add_window(session, inputs, sizes, window)
            if progress is not None:
                progress.update(len(frames) - window.overlap_prev)
        return session

    def _add_window(self, session: TrackSession, inputs: Tensor, sizes: Sizes, window: Window) -> None:
        """Predictions of a window (T, 3, H, W); a method of its own, so that they end before the next window."""
        num_frames = 1 if self.track_head.fusion.per_frame else len(inputs)
        predictions = self.track_head(self.features_of(inputs), num_frames=num_frames)
        last = predictions[-1]
        for parts in zip(last.class_logits.float(), last.mask_embeds, last.mask_features, predictions.queries):
            session.add(*parts, sizes, window.overlap_prev, window.overlap_next)


def stacked(frames: list[Tensor], sizes: Sizes) -> tuple[Tensor, Sizes]:
    """Frames (3, H, W) of a window as one tensor, with their sizes."""
    return torch.stack(frames), sizes
