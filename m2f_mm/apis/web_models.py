"""What the web page asks of models: one image with thresholds, many images, a video. Knows no web framework.

File names of uploads are only ever names: of results, and of entries of archives, without folders.
"""

import hashlib
import itertools
import json
import os
import re
import threading
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from m2f_mm.datasets.io import encode_png, write_file

from .network_outputs import NetworkOutput, network_output
from .prediction_files import PredictionFiles
from .result_formats import coco_dataset
from .results import Result
from .segmenter import Segmenter
from .sources import BadImage, SourceImage, read_image
from .truth import KnownImages, truth_of_file
from .video import as_video, drawn_frames, load_video_model, predict_video, tracks_as_json
from .video_files import IMAGES, Video, open_video, write_video

KEPT_BYTES = 512 * 2**20  # of network outputs that are kept for one model
MAX_IMAGES = 500  # of a folder
MAX_FRAMES = 300  # of a video
WINDOW, OVERLAP = 20, 5  # frames, of models that predict clips
DEFAULT_SCORE = 0.3  # below, instances and boxes are not shown
# Thresholds of each task, which are options of ``test_cfg``.
THRESHOLDS = dict(panoptic=('object_mask_thr', 'iou_thr'), instance=('score_thr',), boxes=('score_thr',), semantic=())
DOWNLOADS = ('PNG', 'COCO JSON', 'labelme')
NO_MODELS = (
    'name the models that the page offers, such as the folder of a training: m2f serve work_dirs/mine; m2f models '
    'lists the shipped ones'
)

Progress = Callable[[float, str], Any]  # share that is done, and what is being done


def safe_name(name: str, default: str = 'image') -> str:
    """The last part of a name, of which only letters, digits and ``.-_`` are left; at most 100 of them."""
    stem, suffix = os.path.splitext(re.split(r'[/\\]', name)[-1])
    stem, suffix = (re.sub(r'[^\w.-]+', '_', part, flags=re.ASCII) for part in (stem, suffix))
    return f'{stem.lstrip("._-")[:100] or default}{suffix[:10]}'


class ServedModel:
    """A model of the page.

    Args:
        name: on the page.
        segmenter: of the model.
    """

    def __init__(self, name: str, segmenter: Segmenter):
        self.name = name
        self.segmenter = segmenter
        self._lock = threading.RLock()  # the options of a prediction are set on the model
        self._outputs: OrderedDict[tuple, NetworkOutput] = OrderedDict()
        self._known = KnownImages(segmenter)

    def thresholds(self, task: str) -> dict[str, float]:
        """The thresholds that a task of the model has, with their values at the start."""
        options = self.segmenter.options_of(task)
        return {
            name: DEFAULT_SCORE if name == 'score_thr' else float(options[name])
            for name in THRESHOLDS[task]
            if name in options
        }

    def _output(self, path: str) -> NetworkOutput:
        """Of an image file, from those that are kept if it is among them."""
        content = Path(path).read_bytes()
        name = safe_name(path)
        key = hashlib.sha256(content).digest(), name
        if key in self._outputs:
            self._outputs.move_to_end(key)
            return self._outputs[key]
        output = network_output(self.segmenter, SourceImage(name, None, lambda: read_image(path)))
        self._outputs[key] = output
        while len(self._outputs) > 1 and sum(each.num_bytes for each in self._outputs.values()) > KEPT_BYTES:
            self._outputs.popitem(last=False)
        return output

    def result(self, path: str, task: str, thresholds: dict[str, float]) -> Result:
        """Of an image file; the network runs if it has not seen the image lately.

        Raises:
            ValueError: it is no image.
        """
        known = self.thresholds(task)
        options = {name: value for name, value in thresholds.items() if name in known}
        with self._lock:
            return self.segmenter.result_of(self._output(path), task, **options)

    def truth(self, result: Result, annotation: str | None) -> Result | None:
        """Of the image of a result: in a file, or in the validation data of the model's config, if they are here.

        Raises:
            ValueError: the file has no truth of the image.
        """
        if annotation is not None:
            return truth_of_file(annotation, result.image, result.name, self.segmenter)
        with self._lock:
            return self._known.truth(result.image, result.name)

    def files(
        self, paths: Sequence[str], task: str, thresholds: dict[str, float], folder: Path, progress: Progress
    ) -> tuple[str, list[str], list[BadImage]]:
        """Predict images.

        Args:
            paths: of the images; others are named.
            task: of the model.
            thresholds: of the task.
            folder: an empty one.
            progress: is told.

        Returns:
            The archive, with drawn images and a COCO JSON; the drawn images; what could not be read.

        Raises:
            ValueError: there are no images, or more than ``MAX_IMAGES``.
        """
        images = [path for path in paths if path.lower().endswith(IMAGES)]
        bad = [BadImage(safe_name(path), 'no image by its suffix') for path in paths if path not in images]
        if not images:
            raise ValueError(f'there is no image among the {len(paths)} files ({", ".join(IMAGES)})')
        if len(images) > MAX_IMAGES:
            raise ValueError(
                f'{len(images)} images are more than the {MAX_IMAGES} of this page: use the command m2f predict'
            )
        known = self.thresholds(task)
        options = {name: value for name, value in thresholds.items() if name in known}
        names = distinct_names(images)
        out = folder / 'predictions'
        files = PredictionFiles(out, ['drawn', 'coco'], dict(model=self.name, task=task, options=options))
        for done, (path, name) in enumerate(zip(images, names)):
            progress(done / len(images), name)
            source = SourceImage(name, None, lambda path=path: read_image(path))
            try:
                with self._lock:
                    result = self.segmenter.result_of(network_output(self.segmenter, source), task, **options)
            except (ValueError, OSError) as error:
                bad.append(BadImage(name, str(error).replace(path, 'it')))
                continue
            files.write(result)
        files.finish(self.segmenter.classes, self.segmenter.is_thing)
        drawn = sorted(str(path) for path in (out / 'drawn').rglob('*') if path.is_file())
        archive = folder / 'predictions.zip'
        with zipfile.ZipFile(archive, 'w', zipfile.ZIP_STORED) as target:
            for path in [*drawn, *map(str, out.glob('coco.json'))]:
                target.write(path, str(Path(path).relative_to(out)))
        return str(archive), drawn, bad

    @cached_property
    def tracks(self) -> bool:
        """Whether the model, or the one that ``as_video`` makes of it, finds tracks."""
        try:
            as_video(self.segmenter.cfg)
        except (ValueError, KeyError, ImportError):
            return False
        return True

    @cached_property
    def _video_model(self) -> Any:
        cfg = as_video(self.segmenter.cfg)
        test_cfg = cfg.model.test_cfg
        if test_cfg.setdefault('window_size', WINDOW) and test_cfg.get('association') != 'frames':
            test_cfg.setdefault('window_overlap', min(OVERLAP, test_cfg.window_size - 1))
        return load_video_model(cfg, self.segmenter.weights, str(self.segmenter.device))

    def video(
        self,
        path: str,
        join: bool,
        task: str,
        thresholds: dict[str, float],
        folder: Path,
        progress: Progress,
    ) -> tuple[str, str | None, str]:
        """Predict at most ``MAX_FRAMES`` frames of a video.

        Args:
            path: of the file.
            join: find tracks; otherwise every frame is predicted alone.
            task: of single frames.
            thresholds: of the task; tracks have the score.
            folder: an empty one.
            progress: is told.

        Returns:
            The drawn video; the tracks as JSON, where they were asked for; what was done.

        Raises:
            ValueError: the file is no video, or the model cannot track.
        """
        if join and not self.tracks:
            raise ValueError(f'{self.name} cannot track; predict the frames one by one')
        try:
            video = FirstFrames(open_video(path), MAX_FRAMES)
        except ValueError as error:
            raise ValueError(str(error).replace(path, safe_name(path))) from None
        stem = Path(safe_name(path, 'video')).stem
        drawn, tracks_file = str(folder / f'{stem}.mp4'), None
        total = min(MAX_FRAMES, video.video.length or MAX_FRAMES)
        if join:
            with self._lock:
                told = Told(lambda count: progress(0.8 * count / total, 'tracks'))
                tracks, panoptic = predict_video(self._video_model, video, told)
            segments, covered = (None, []) if panoptic is None else panoptic.segment_tracks()
            classes = self._video_model.dataset_meta['classes']
            record = tracks_as_json(replace(video.video, path=safe_name(path)), tracks, classes, segments, covered)
            tracks_file = str(folder / f'{stem}.json')
            write_file(tracks_file, json.dumps(record).encode())
            shown, score = (tracks, thresholds.get('score_thr', DEFAULT_SCORE)) if panoptic is None else (covered, 0.0)
            write_video(drawn, drawn_frames(video, shown, classes, score), video.video.fps)
            said = f'{sum(track.score >= score for track in shown)} tracks'
        else:
            known = self.thresholds(task)
            options = {name: value for name, value in thresholds.items() if name in known}
            write_video(
                drawn,
                self._drawn(video, task, options, lambda count: progress(count / total, 'frames')),
                video.video.fps,
            )
            said = 'every frame alone'
        longer = video.video.length is not None and video.video.length > video.count
        more = f', the first of {video.video.length}' if longer else ''
        return drawn, tracks_file, f'{video.count} frames{more}: {said}'

    def _drawn(
        self, video: 'FirstFrames', task: str, options: dict, told: Callable[[int], Any]
    ) -> Iterator[np.ndarray]:
        for count, frame in enumerate(video, 1):
            source = SourceImage(str(count), None, lambda frame=frame: np.ascontiguousarray(frame[..., ::-1]))
            with self._lock:
                result = self.segmenter.result_of(network_output(self.segmenter, source), task, **options)
            told(count)
            yield result.plot()[..., ::-1]


@dataclass
class FirstFrames:
    """The first frames of a video, BGR; ``count`` is how many there were."""

    video: Video
    limit: int
    count: int = 0

    def __iter__(self) -> Iterator[np.ndarray]:
        self.count = 0
        for frame in itertools.islice(self.video, self.limit):
            self.count += 1
            yield frame


class Told:
    """In the place of MMEngine's progress bar: tells a function how many steps are done."""

    def __init__(self, tell: Callable[[int], Any]):
        self.tell = tell
        self.completed = 0

    def update(self, num_tasks: int = 1) -> None:
        """So many more are done."""
        self.completed += num_tasks
        self.tell(self.completed)


def distinct_names(paths: Sequence[str]) -> list[str]:
    """Safe names of files; one that is there already gets a number."""
    names: list[str] = []
    for path in paths:
        name = safe_name(path)
        stem, suffix = Path(name).stem, Path(name).suffix
        numbered = (f'{stem}_{number}{suffix}' for number in itertools.count(2))
        while name in names:
            name = next(numbered)
        names.append(name)
    return names


def without_classes(result: Result, labels: Sequence[int]) -> Result:
    """The result without the segments of some classes."""
    return replace(result, segments=[segment for segment in result if segment.label not in labels])


def written(result: Result, kind: str, folder: Path) -> str:
    """The path of a result in one of the forms ``DOWNLOADS``, in an empty folder."""
    stem = Path(result.name).stem
    forms: dict[str, Callable[[], tuple[str, bytes]]] = {
        'PNG': lambda: (f'{stem}_drawn.png', encode_png(result.plot())),
        'COCO JSON': lambda: (f'{stem}_coco.json', json.dumps(coco_dataset([result])).encode()),
        'labelme': lambda: (f'{stem}.json', json.dumps(result.to_labelme()).encode()),
    }
    name, content = forms[kind]()
    write_file(str(folder / name), content)
    return str(folder / name)


class ServedModels:
    """The models that a page offers, and no others; all of them are loaded.

    Args:
        models: names or paths, see ``models.find_model``.
        weights: of each; empty for those that belong to the models.
        device: where to compute.

    Raises:
        ValueError: there is none, or there are other numbers of weights.
    """

    def __init__(self, models: Sequence[str], weights: Sequence[str] = (), device: str = 'auto'):
        if not models:
            raise ValueError(NO_MODELS)
        if weights and len(weights) != len(models):
            raise ValueError(f'--weights: give as many as models, {len(models)}, not {len(weights)}; or none')
        self._models: dict[str, ServedModel] = {}
        for name, model, file in zip(short_names(models), models, weights or [None] * len(models)):
            self._models[name] = ServedModel(name, Segmenter(model, file, device))

    @property
    def names(self) -> list[str]:
        """On the page."""
        return list(self._models)

    def __getitem__(self, name: str) -> ServedModel:
        if name not in self._models:
            raise ValueError(f'the page offers {", ".join(self._models)}, no other model')
        return self._models[name]


def short_names(models: Sequence[str]) -> list[str]:
    """The last parts of names or paths, as many as tell them apart: a page need not show where files lie.

    Raises:
        ValueError: a model is named twice.
    """
    parts = [Path(model).resolve().parts if Path(model).exists() else Path(model).parts for model in models]
    for length in range(1, max(map(len, parts)) + 1):
        names = ['/'.join(each[-length:]) for each in parts]
        if len(set(names)) == len(names):
            return names
    raise ValueError(f'a model is named twice: {", ".join(models)}')
