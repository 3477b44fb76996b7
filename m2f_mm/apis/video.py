"""Videos of any length, from files or folders of frames: tracks as JSON, and the video with the tracks drawn over it.

Models of videos, and Mask2Formers of images, whose frames are joined as MinVIS does.

A video is read as it is needed, a window of frames at a time, and a second time for drawing. What grows with its length
are the run-length codes of the likeliest tracks, some kilobytes for each frame.
"""
import os
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.config import Config, ConfigDict
from mmengine.utils import ProgressBar
from torch import nn

from m2f_mm.datasets.io import write_file
from m2f_mm.postprocess import PanopticVideo, Segment
from m2f_mm.structures import Track

IMAGES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')


@dataclass
class Video:
    """Frames of a file or of a folder, BGR uint8 (H, W, 3); reads them anew each time it is iterated.

    Args:
        path: a file that OpenCV reads, or a folder of pictures, which are taken in the order of their names.
        frames: the pictures of a folder, None for a file.
        fps: frames per second.
        length: frames, as far as a file knows; None where it does not say.

    Raises (when it is iterated):
        ValueError: a frame cannot be read, or has another size than the first; names both.
    """
    path: str
    frames: Sequence[str] | None
    fps: float
    length: int | None

    def __iter__(self) -> Iterator[np.ndarray]:
        first = None
        for name, frame in self._read() if self.frames is None else self._pictures():
            first = first or (name, frame.shape)
            if frame.shape != first[1]:
                raise ValueError(f'the frames of {self.path} have different sizes: {first[0]} {first[1][:2]}, {name} '
                                 f'{frame.shape[:2]} (H, W). Bring them to one size, or split the video')
            yield frame

    def _pictures(self) -> Iterator[tuple[str, np.ndarray]]:
        for name in self.frames:
            data = np.fromfile(os.path.join(self.path, name), np.uint8)
            frame = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
            if frame is None:
                raise ValueError(f'frame {name} of {self.path} is not a readable picture; is it complete? Replace it, '
                                 'or take it out of the folder')
            yield name, frame

    def _read(self) -> Iterator[tuple[str, np.ndarray]]:
        capture = cv2.VideoCapture(self.path)
        try:
            count = 0
            while True:
                read, frame = capture.read()
                if not read:
                    break
                yield f'frame {count}', frame
                count += 1
            missing = (self.length or 0) - count  # some containers announce a few frames too many
            if not count or missing > max(1, (self.length or 0) // 20) or (missing > 0 and capture.grab()):
                raise ValueError(f'frame {count} of {self.path} cannot be decoded, of {self.length} that the file '
                                 'announces; is it complete? Convert it anew, or cut it before that frame')
            if missing > 1:
                warnings.warn(f'{self.path} announces {self.length} frames and has {count}', stacklevel=2)
        finally:
            capture.release()


def open_video(path: str | Path, fps: float = 25.0) -> Video:
    """A video file or a folder of frames.

    Args:
        path: of the file or folder.
        fps: frames per second, where the source does not say.

    Raises:
        FileNotFoundError: there is nothing of that name, or no picture in the folder.
        ValueError: the file is no video that OpenCV can open, or ``fps`` is not above 0.
    """
    path = str(path)
    if fps <= 0:
        raise ValueError(f'fps must be above 0, got {fps}')
    if os.path.isdir(path):
        names = sorted(name for name in os.listdir(path) if name.lower().endswith(IMAGES))
        if not names:
            raise FileNotFoundError(f'{path} holds no pictures ({", ".join(IMAGES)})')
        return Video(path, names, fps, len(names))
    if not os.path.isfile(path):
        raise FileNotFoundError(f'there is no video or folder of frames {path!r}')
    capture = cv2.VideoCapture(path)
    try:
        if not capture.isOpened():
            raise ValueError(f'{path} is no video that OpenCV can open; convert it, or extract its frames into a '
                             'folder')
        length = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        return Video(path, None, capture.get(cv2.CAP_PROP_FPS) or fps, length if length > 0 else None)
    finally:
        capture.release()


def load_video_model(cfg: Config, checkpoint: str, device: str = 'cpu') -> nn.Module:
    """A video detector with its weights, ready to predict.

    Args:
        cfg: of the model, of videos or of images (see ``as_video``); the test pipeline prepares frames, the classes are
            those of the test data set.
        checkpoint: a file or address of any source.
        device: where to compute.

    Raises:
        ValueError: the config is of another model, or checkpoint and model have different numbers of classes.
    """
    from mmengine.registry import DATASETS, MODELS, DefaultScope
    from mmengine.runner import load_checkpoint
    cfg = as_video(cfg)
    cfg.load_from = None
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmdet')):
        model = MODELS.build(cfg.model)
        loaded = load_checkpoint(model, checkpoint, map_location='cpu')
        dataset = cfg.test_dataloader.dataset
        known = dict(getattr(DATASETS.get(dataset.type), 'METAINFO', {}), **dataset.get('metainfo', {}))
    meta = {**known, **(loaded.get('meta', {}).get('dataset_meta') or {})}
    if meta.get('classes') is None:
        raise ValueError('neither the config nor the checkpoint names the classes: give test_dataloader.dataset a '
                         'metainfo=dict(classes=(...))')
    if len(meta['classes']) != model.track_head.num_classes:
        raise ValueError(f'the model has {model.track_head.num_classes} classes, but '
                         f'{"the checkpoint" if "dataset_meta" in loaded.get("meta", {}) else "the data set"} names '
                         f'{len(meta["classes"])}: they do not belong together')
    model.cfg, model.dataset_meta = cfg, meta
    return model.to(device).eval()


def as_video(cfg: Config) -> Config:
    """A config of our video model, out of that of a Mask2Former for images, ours or MMDetection's, which predicts every
    frame on its own, and what it finds is joined as MinVIS does; or out of MMDetection's for videos. Ours stays as it
    is.

    Raises:
        ValueError: the config is of another model.
    """
    from mmengine.registry import MODELS, DefaultScope
    cfg = cfg.copy()
    model = cfg.model
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmdet')):
        kind = MODELS.get(model.type) if isinstance(model.type, str) else model.type
    if hasattr(kind, 'features_of'):
        return cfg
    if _name(model) == 'Mask2FormerVideo' and _name(model.track_head) == 'Mask2FormerTrackHead':
        model.type, model.track_head.type = 'm2f_mm.Mask2FormerVideo', 'm2f_mm.Mask2FormerTrackHead'
    elif _name(model) == 'Mask2Former' and _name(model.panoptic_head) == 'Mask2FormerHead':
        kept = {key: model[key] for key in ('backbone', 'neck', 'train_cfg') if key in model}
        image = {key: value for key, value in model.data_preprocessor.items() if key in (
            'mean', 'std', 'bgr_to_rgb', 'rgb_to_bgr', 'pad_size_divisor', 'pad_value')}
        cfg.model = ConfigDict(
            type='m2f_mm.Mask2FormerVideo', **kept, data_preprocessor=dict(type='TrackDataPreprocessor', **image),
            track_head=dict(model.panoptic_head, type='m2f_mm.Mask2FormerTrackHead'),
            test_cfg=dict(association='frames') | model.get('test_cfg', {}))
    else:
        raise ValueError(f'{_name(model)} is no model of videos and no Mask2Former for images: take a config of one '
                         'of these')
    return cfg


def _name(part: dict) -> str:
    """Of the class that a part of a config asks for, without its scope."""
    return (part['type'] if isinstance(part['type'], str) else part['type'].__name__).split('.')[-1]


def frame_transforms(cfg: Config) -> Any:
    """What the test pipeline does to each frame once it is loaded."""
    from mmengine.dataset import Compose
    from mmengine.registry import DefaultScope
    steps = cfg.test_dataloader.dataset.pipeline
    steps = next((step.transforms for step in steps if _name(step) == 'TransformBroadcaster'), steps)
    steps = [step for step in steps if not _name(step).startswith(('Load', 'InferencerLoad', 'Pack'))]
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmdet')):
        return Compose(steps)


@torch.no_grad()
def predict_video(model: nn.Module, video: Iterable[np.ndarray],
                  progress: ProgressBar | None = None) -> tuple[list[Track], PanopticVideo | None]:
    """Windows as the head's ``test_cfg`` has them.

    Args:
        model: from ``load_video_model``.
        video: frames, BGR uint8 (H, W, 3).
        progress: told of every frame.

    Returns:
        The tracks, those of a higher score first; and the panoptic maps, where ``test_cfg`` has ``panoptic_on``.
    """
    from m2f_mm.integrations.mmdet_samples import sample_sizes
    prepare, head = frame_transforms(model.cfg), model.track_head
    tracks = head.new_tracks()
    for frames, window in head.cut(video):
        inputs, clip = _window(model, [prepare(dict(img=frame, img_shape=frame.shape[:2], ori_shape=frame.shape[:2]))
                                       for frame in frames])
        sizes = sample_sizes(clip[0], clip[0].batch_input_shape, rescale=True)
        head.add_window(tracks, model.features_of(inputs), sizes, window)
        if progress is not None:
            progress.update(len(frames) - window.known)
    return tracks.finish(), tracks.panoptic


def _window(model: nn.Module, frames: Sequence[dict]) -> tuple[torch.Tensor, Any]:
    """Prepared frames as the network's input (T, 3, H, W) and their data sample."""
    from mmdet.structures import DetDataSample, TrackDataSample
    clip = TrackDataSample()
    clip.video_data_samples = [DetDataSample(metainfo=dict(img_shape=frame['img_shape'], ori_shape=frame['ori_shape']))
                               for frame in frames]
    pixels = torch.from_numpy(np.stack([frame['img'].transpose(2, 0, 1) for frame in frames]))
    data = model.data_preprocessor(dict(inputs=[pixels], data_samples=[clip]), False)
    return data['inputs'][0], data['data_samples'][0]


def tracks_as_json(video: Video, tracks: Sequence[Track], classes: Sequence[str], segments: Sequence[Segment] = (),
                   covered: Sequence[Track] = ()) -> dict:
    """Tracks for ``json``: of each ``id``, ``label``, ``category``, ``score``, and ``segmentations``, a COCO run-length
    code for each frame, null where the object is not seen. The same of panoptic segments, if there are any, with
    ``isthing``.

    Args:
        video: what was predicted.
        tracks: its objects.
        classes: their names.
        segments, covered: of ``PanopticVideo.segment_tracks``.
    """
    def record(number: int, track: Track) -> dict:
        return dict(id=number, label=track.label, category=classes[track.label], score=track.score, segmentations=[
            None if code is None else dict(size=list(code['size']), counts=code['counts'].decode())
            for code in track.masks])

    known = [*tracks, *covered]
    content = dict(
        video=dict(path=video.path, fps=video.fps, length=len(known[0].masks) if known else video.length,
                   file_names=video.frames),
        classes=list(classes), tracks=[record(*numbered) for numbered in enumerate(tracks)])
    if segments:
        content['segments'] = [dict(record(segment.id, track), isthing=segment.is_thing)
                               for segment, track in zip(segments, covered)]
    return content


def drawn_frames(video: Iterable[np.ndarray], tracks: Sequence[Track], classes: Sequence[str],
                 score_thr: float = 0.3, alpha: float = 0.5) -> Iterator[np.ndarray]:
    """The frames, BGR, with the tracks over them, each in a colour of its own through the whole video.

    Args:
        video: frames, BGR uint8 (H, W, 3).
        tracks: of the video.
        classes: their names.
        score_thr: tracks with a lower score are left out.
        alpha: opacity of the colours.
    """
    from pycocotools import mask as coco_masks

    from m2f_mm.datasets.categories import distinct_colours
    from m2f_mm.visualization.drawing import Segments, draw_segments
    shown = [track for track in tracks if track.score >= score_thr]
    colours = np.array(distinct_colours(len(shown)))
    for t, frame in enumerate(video):
        seen = [(number, track) for number, track in enumerate(shown) if track.masks[t] is not None]
        if not seen:
            yield frame
            continue
        masks = coco_masks.decode([track.masks[t] for _, track in seen]).transpose(2, 0, 1).astype(bool)
        segments = Segments(masks, np.array([track.label for _, track in seen]),
                            np.array([track.score for _, track in seen]),
                            colours=colours[[number for number, _ in seen]])
        yield draw_segments(frame[..., ::-1], segments, classes, (), alpha)[..., ::-1]


def write_video(path: str | Path, frames: Iterable[np.ndarray], fps: float) -> None:
    """Write frames, BGR uint8 (H, W, 3), as a video; the file appears when it is complete.

    Raises:
        ValueError: OpenCV cannot write such a file, or not all of it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix='.') as unfinished:
        part, writer, count = Path(unfinished) / path.name, None, 0
        try:
            for frame in frames:
                count += 1
                if writer is None:
                    writer = cv2.VideoWriter(str(part), cv2.VideoWriter_fourcc(*'mp4v'), fps, frame.shape[1::-1])
                    if not writer.isOpened():
                        raise ValueError(f'OpenCV cannot write {path}; take a name that ends with .mp4')
                writer.write(np.ascontiguousarray(frame))
        finally:
            if writer is not None:
                writer.release()
        if writer is None:
            return
        written = open_video(part).length
        if written != count:
            raise ValueError(f'{path}: only {written} of {count} frames could be written; is the disk full?')
        part.replace(path)


def write_frames(folder: str | Path, frames: Iterable[np.ndarray], names: Sequence[str] | None = None) -> None:
    """Write frames, BGR uint8 (H, W, 3), as PNG pictures into a folder, which appears when it is complete.

    Args:
        folder: a new or empty one.
        frames: of the video.
        names: of the files, whose suffix becomes .png; by default they are numbered.

    Raises:
        FileExistsError: there is something in the folder.
    """
    folder = free_folder(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix='.') as unfinished:
        part = Path(unfinished) / folder.name
        part.mkdir()
        for t, frame in enumerate(frames):
            name = f'{t:06d}' if names is None else Path(names[t]).stem
            write_file(str(part / f'{name}.png'), cv2.imencode('.png', frame)[1].tobytes())
        part.replace(folder)


def free_folder(folder: str | Path) -> Path:
    """The path of a folder that may be written.

    Raises:
        FileExistsError: there is a file of that name, or something in the folder.
    """
    folder = Path(folder)
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise FileExistsError(f'{folder} is there already; choose another place for the frames, or remove it')
    return folder
