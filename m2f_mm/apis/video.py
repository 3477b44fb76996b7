"""Videos of any length: a model finds their tracks, which are drawn over the frames and written as JSON.

Models of videos, and Mask2Formers of images, whose frames are joined as MinVIS does. A video is read as it is needed, a
window of frames at a time, and a second time for drawing. What grows with its length are the RLE of the
top tracks and, with ``panoptic_on``, the packed panoptic maps: some kilobytes for each frame.
"""

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

import numpy as np
import torch
from mmengine.config import Config, ConfigDict
from mmengine.utils import ProgressBar
from torch import nn

from m2f_mm.datasets.pipelines import type_name
from m2f_mm.heads import HEAD_NAMES
from m2f_mm.postprocess import PanopticVideo, Segment, Sizes
from m2f_mm.structures import Track

from .models import image_transforms, load_model, tested_data
from .video_files import Video


def load_video_model(cfg: Config, checkpoint: str, device: str = 'cpu') -> nn.Module:
    """A video detector with its weights, ready to predict.

    Args:
        cfg: of the model, of videos or of images (see ``as_video``); the test pipeline prepares frames, the classes are
            those of the checkpoint or, if it does not say, of the test data set.
        checkpoint: a file or address of any source.
        device: where to compute.

    Raises:
        FileNotFoundError: there is no such checkpoint.
        ValueError: the config is of another model or has no test data, or the checkpoint cannot be read or does not
            fill all parameters and buffers of the model.
    """
    cfg = as_video(cfg)
    cfg.load_from = None
    tested_data(cfg)  # whose pipeline prepares frames
    return load_model(cfg, checkpoint, device)


VIDEO, IMAGE = ('Mask2FormerVideo', 'Mask2FormerTrackHead'), ('Mask2Former', 'Mask2FormerHead')


def as_video(cfg: Config) -> Config:
    """A config of our video model. What was given stays as it is.

    The names of model and head decide, whatever their scope: ``VIDEO`` is taken, ours or MMDetection's; ``IMAGE`` gets
    a track head, which predicts every frame on its own, and the frames are joined as MinVIS does. Classes that inherit
    from our ``Mask2FormerVideo`` are taken, too. ``test_cfg`` is in the model afterwards.

    Raises:
        ValueError: the config is of another model.
    """
    from mmengine.registry import MODELS, DefaultScope

    from m2f_mm.integrations.mmdet_video import Mask2FormerVideo

    cfg = copy.deepcopy(cfg)
    model = cfg.model
    model.setdefault('data_preprocessor', cfg.get('data_preprocessor') or {})  # as the runner does
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmdet')):
        kind = MODELS.get(model.type) if isinstance(model.type, str) else model.type
    names = tuple(type_name(part) for part in (model, *(model.get(slot) for slot in HEAD_NAMES)) if part)
    ours = isinstance(kind, type) and issubclass(kind, Mask2FormerVideo)
    if ours or names == VIDEO:
        head = model.track_head
        if not ours:
            model.type, head.type = (f'm2f_mm.{name}' for name in VIDEO)
        model.test_cfg = (head.pop('test_cfg', None) or {}) | (model.get('test_cfg') or {})
    elif names == IMAGE:
        cfg.model = _of_images(model)
    else:
        raise ValueError(
            f'{" with ".join(names)} cannot track: take a config of Mask2Former for videos, or one of '
            "MMDetection's Mask2Former for images, panoptic or instances"
        )
    return cfg


def _of_images(model: ConfigDict) -> ConfigDict:
    """The video model of an image model."""
    shared = {key: model[key] for key in ('backbone', 'neck', 'train_cfg') if key in model}
    image = {
        key: value
        for key, value in model.data_preprocessor.items()
        if key in ('mean', 'std', 'bgr_to_rgb', 'rgb_to_bgr', 'pad_size_divisor', 'pad_value')
    }
    from m2f_mm.integrations.inference_options import DETECTOR_OPTIONS, VIDEO_OPTIONS

    defaults = dict(association='frames', panoptic_on=True, filter_low_score=False)  # the last two as image models
    of_image = {
        key: value
        for key, value in (model.get('test_cfg') or {}).items()
        if key in VIDEO_OPTIONS or key not in DETECTOR_OPTIONS
    }
    return ConfigDict(
        type='m2f_mm.Mask2FormerVideo',
        **shared,
        data_preprocessor=dict(type='TrackDataPreprocessor', **image),
        track_head=dict(model.panoptic_head, type='m2f_mm.Mask2FormerTrackHead'),
        test_cfg=defaults | of_image,
    )


@torch.no_grad()
def predict_video(
    model: nn.Module, video: Iterable[np.ndarray], progress: ProgressBar | None = None
) -> tuple[list[Track], PanopticVideo | None]:
    """Windows as the head's ``test_cfg`` has them.

    Args:
        model: from ``load_video_model``.
        video: frames, BGR uint8 (H, W, 3).
        progress: told of every frame.

    Returns:
        The tracks, those of a higher score first; and the panoptic maps, where ``test_cfg`` has ``panoptic_on``.
    """
    session = model.track(video, partial(_to_inputs, model, image_transforms(model.cfg, pack=False)), progress)
    return session.finish(), session.panoptic


def _to_inputs(
    model: nn.Module, transforms: Callable[[dict], dict], images: Sequence[np.ndarray]
) -> tuple[torch.Tensor, Sizes]:
    """The network's input (T, 3, H, W) of frames (H, W, 3), and their sizes."""
    from mmdet.structures import DetDataSample, TrackDataSample

    from m2f_mm.integrations.video_results import clip_sizes

    frames = [transforms(dict(img=image, img_shape=image.shape[:2], ori_shape=image.shape[:2])) for image in images]
    clip = TrackDataSample()
    clip.video_data_samples = [
        DetDataSample(metainfo=dict(img_shape=frame['img_shape'], ori_shape=frame['ori_shape'])) for frame in frames
    ]
    pixels = torch.from_numpy(np.stack([frame['img'].transpose(2, 0, 1) for frame in frames]))
    data = model.data_preprocessor(dict(inputs=[pixels], data_samples=[clip]), False)
    return data['inputs'][0], clip_sizes(data['data_samples'][0], rescale=True)


def tracks_as_json(
    video: Video,
    tracks: Sequence[Track],
    classes: Sequence[str],
    segments: Sequence[Segment] | None = None,
    covered: Sequence[Track] = (),
) -> dict:
    """Tracks for ``json``: of each ``id``, ``label``, ``category``, ``score``, and ``segmentations``, a COCO RLE
    for each frame, null where the object is not seen. The same of the segments of panoptic videos, with
    ``isthing``.

    Args:
        video: what was predicted.
        tracks: its objects.
        classes: their names.
        segments: of ``PanopticVideo.segment_tracks``; None for other videos.
        covered: their masks, from the same.
    """

    def record(number: int, track: Track) -> dict:
        return dict(
            id=number,
            label=track.label,
            category=classes[track.label],
            score=track.score,
            segmentations=[
                None if code is None else dict(size=list(code['size']), counts=code['counts'].decode())
                for code in track.masks
            ],
        )

    known = [*tracks, *covered]
    content = dict(
        video=dict(
            path=video.path,
            fps=video.fps,
            length=len(known[0].masks) if known else video.length,
            file_names=video.frames,
        ),
        classes=list(classes),
        tracks=[record(*numbered) for numbered in enumerate(tracks)],
    )
    if segments is not None:
        content['segments'] = [
            dict(record(segment.id, track), isthing=segment.is_thing) for segment, track in zip(segments, covered)
        ]
    return content


def drawn_frames(
    video: Iterable[np.ndarray],
    tracks: Sequence[Track],
    classes: Sequence[str],
    score_thr: float = 0.3,
    alpha: float = 0.5,
) -> Iterator[np.ndarray]:
    """The frames, BGR, with the tracks over them, each in a color of its own through the whole video.

    Args:
        video: frames, BGR uint8 (H, W, 3).
        tracks: of the video.
        classes: their names.
        score_thr: tracks with a lower score are left out.
        alpha: opacity of the colors.
    """
    from m2f_mm.datasets.categories import distinct_colors
    from m2f_mm.visualization.drawing import Segments, draw_segments
    from m2f_mm.visualization.masks import RLEs

    colors = np.array(distinct_colors(len(tracks)))
    shown = [number for number, track in enumerate(tracks) if track.score >= score_thr]
    for t, frame in enumerate(video):
        visible = [number for number in shown if tracks[number].masks[t] is not None]
        if not visible:
            yield frame
            continue
        segments = Segments(
            RLEs([tracks[number].masks[t] for number in visible], frame.shape[:2]),
            np.array([tracks[number].label for number in visible]),
            np.array([tracks[number].score for number in visible]),
            colors=colors[visible],
        )
        yield draw_segments(frame[..., ::-1], segments, classes, (), alpha)[..., ::-1]
