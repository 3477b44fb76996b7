"""One object for a model: prediction of images from anywhere, training, evaluation."""

import copy
import itertools
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from mmengine.config import ConfigDict
from torch import nn

from m2f_mm.engine.class_counts import fill_classes
from m2f_mm.heads import head_name, unwrapped

from .models import find_model, image_transforms, load_model, nearest_names, things_of
from .results import Result, result_of_sample
from .sources import BadImage, SourceImage, count_images, iter_images
from .tiling import image_tiles, merge_tiles

if TYPE_CHECKING:
    from .network_outputs import NetworkOutput

TASKS = ('panoptic', 'instance', 'semantic', 'boxes')
SWITCHES = dict(panoptic='panoptic_on', instance='instance_on', semantic='semantic_on')
LOOKAHEAD = 4  # batches that are read before they are predicted, so that images of one size come together


class Segmenter:
    """A model with its weights.

    >>> from m2f_mm import Segmenter
    >>> segmenter = Segmenter('mask2former_r50_8xb2-lsj-50e_coco-panoptic')  # doctest: +SKIP
    >>> for result in segmenter.predict('photos/'):  # doctest: +SKIP
    ...     result.save('drawn/')

    Args:
        name_or_config: the name of a shipped config, the path of a config, the folder of a training, a checkpoint that
            holds its config, or a ``Config``; see ``models.find_model``.
        weights: file or address; by default the released ones of the name, or those of the training.
        device: 'auto' (a GPU if there is one), 'cpu', 'cuda:0', ...

    Attributes:
        model: the built model, in evaluation mode.
        cfg: its config.
        classes: names, by label.
        is_thing: for each class; None where the model does not say.

    Raises:
        FileNotFoundError: there is no such config or checkpoint; names the nearest.
        ValueError: there are no weights, or they do not fit; names the missing ones.
    """

    def __init__(self, name_or_config: Any, weights: str | None = None, device: str = 'auto'):
        self.name, self.cfg, weights = find_model(name_or_config, weights)
        if weights is None:
            raise ValueError(
                f'{self.name} has no released weights: give weights=FILE, or train it (m2f train, tools/train.py)'
            )
        self.weights = weights
        self.model = load_model(self.cfg, weights, device)
        self.classes = self.model.dataset_meta['classes']
        self.palette = self.model.dataset_meta.get('palette')
        self.is_thing = things_of(self.model)
        self._transforms = image_transforms(self.cfg)
        self._given = _test_options(self.model)

    def __repr__(self) -> str:
        return f'{type(self).__name__}({self.name!r}, {len(self.classes)} classes, {"/".join(self.tasks)})'

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    @property
    def tasks(self) -> tuple[str, ...]:
        """What the model can predict; the first is what it predicts if nothing is asked for."""
        if head_name(self.model) == 'decode_head':
            return ('semantic',)
        head = unwrapped(self.model).panoptic_head
        if not getattr(head, 'predicts_masks', True):
            return ('boxes',)
        able = ('panoptic', 'instance', 'semantic') + ('boxes',) * getattr(head, 'predicts_boxes', False)
        if not any(self.is_thing or ()):
            able = ('semantic',)
        elif all(self.is_thing or ()):
            able = tuple(task for task in able if task != 'panoptic' or self._given.get('panoptic_on'))
        switched = [task for task in able if self._given.get(SWITCHES.get(task, ''))]
        return tuple(dict.fromkeys([*switched, *able]))

    def __call__(self, image: Any, task: str | None = None, **options: Any) -> Result:
        """The result of one image; arguments as for ``predict``.

        Raises:
            ValueError: the image cannot be read, or the source has none or several.
        """
        results = list(itertools.islice(self.predict(image, task, progress=False, on_error='raise', **options), 2))
        if len(results) != 1:
            raise ValueError(f'{image!r} is not one image: use predict for several')
        return results[0]

    def predict(
        self,
        source: Any,
        task: str | None = None,
        *,
        batch_size: int = 1,
        order: str = 'rgb',
        tile: int | tuple[int, int] | None = None,
        overlap: float = 0.2,
        on_error: str = 'collect',
        progress: bool = True,
        skip: Callable[[str], bool] | None = None,
        **options: Any,
    ) -> 'Predictions':
        """Predict images, which are read one after the other: memory does not grow with their number.

        Args:
            source: a path, folder, pattern, address, array, PIL image, video, ``camera:0``, or a list or generator of
                these; see ``sources.iter_images``.
            task: 'panoptic', 'instance', 'semantic' or 'boxes'; by default the first of ``tasks``.
            batch_size: images that are predicted together, those of one size in the network.
            order: of the channels of arrays, 'rgb' or 'bgr'.
            tile: height and width in pixels, or one number for both, of the tiles in which larger images are predicted;
                objects are joined across tiles. None for whole images, which the model's pipeline resizes.
            overlap: share of a tile that its neighbour has, too.
            on_error: 'collect' puts images that cannot be read into ``bad`` of what is returned and names them at the
                end; 'raise' ends with the first.
            progress: show a bar with the time that is left, on a terminal.
            skip: says for the name of an image whether it is left out, such as one that an earlier run has predicted.
            **options: of ``test_cfg``, such as ``score_thr=0.3`` or ``object_mask_thr=0.8``; see docs/options.md.

        Returns:
            An iterator of ``Result``, in the order of the images.

        Raises:
            FileNotFoundError: the source is empty or not there.
            ValueError: an option or the task does not exist or does not fit the model.
        """
        task = self.check_task(task)
        test_cfg = self.test_options(task, options)
        if on_error not in ('collect', 'raise'):
            raise ValueError(f"on_error={on_error!r}: take 'collect' or 'raise'")
        if batch_size < 1:
            raise ValueError(f'batch_size={batch_size}: take 1 or more')
        tiles = None if tile is None else image_tiles(tile, overlap)
        images = iter_images(source, order)
        first = list(itertools.islice(images, 1))  # so that a source that is not there is an error here
        number = count_images(source)
        images = itertools.chain(first, images)
        if skip is not None:
            images = itertools.filterfalse(lambda image: skip(image.name), images)
        return Predictions(self, images, number, task, test_cfg, batch_size, tiles, on_error, progress)

    def network_output(self, image: Any, order: str = 'rgb') -> 'NetworkOutput':
        """What the network says of one image, before thresholds and tasks; ``result_of`` makes results of it.

        >>> output = segmenter.network_output('dog.jpg')  # doctest: +SKIP
        >>> strict = segmenter.result_of(output, 'panoptic', object_mask_thr=0.9)  # doctest: +SKIP

        Args:
            image: a path, address, array or PIL image.
            order: of the channels of an array, 'rgb' or 'bgr'.

        Raises:
            FileNotFoundError: there is no such image.
            ValueError: it cannot be read, or the source has several.
        """
        from .network_outputs import network_output

        images = list(itertools.islice(iter_images(image, order), 2))
        if len(images) != 1:
            raise ValueError(f'{image!r} is not one image: use predict for several')
        return network_output(self, images[0])

    def result_of(self, output: 'NetworkOutput', task: str | None = None, **options: Any) -> Result:
        """The result that ``predict`` gives with this task and these options, without running the network again.

        Args:
            output: of ``network_output`` of this object.
            task: as for ``predict``.
            **options: as for ``predict``.

        Raises:
            ValueError: an option or the task does not exist or does not fit the model.
        """
        from .network_outputs import result_of

        task = self.check_task(task)
        return result_of(self, output, task, self.test_options(task, options))

    def options_of(self, task: str | None = None) -> dict[str, Any]:
        """Values of all options that ``predict`` has for a task if none are given; empty for segmentors.

        Raises:
            ValueError: the model does not have the task.
        """
        test_cfg = self.test_options(self.check_task(task), {})
        if test_cfg is None:
            return {}
        from m2f_mm.integrations.inference_options import DETECTOR_OPTIONS, read_test_cfg

        return dict(read_test_cfg(test_cfg, DETECTOR_OPTIONS))

    def check_task(self, task: str | None) -> str:
        """``task``, or the first of ``tasks`` for None.

        Raises:
            ValueError: the model does not predict it; names the nearest.
        """
        tasks = self.tasks
        if task is None:
            return tasks[0]
        if task not in TASKS:
            near = nearest_names(str(task), list(TASKS), 1)
            raise ValueError(
                f'task={task!r} is none of {", ".join(TASKS)}' + (f'; did you mean {near[0]!r}?' if near else '')
            )
        if task not in tasks:
            raise ValueError(f'task={task!r}: {self.name} predicts {", ".join(tasks)}')
        return task

    def test_options(self, task: str, options: dict) -> ConfigDict | None:
        """``test_cfg`` of the fusion head for a task; None for segmentors, which have one result and no thresholds.

        Args:
            task: of ``tasks``.
            options: that go before those of the config.

        Raises:
            ValueError: an option does not exist, or cannot have its value.
        """
        if head_name(self.model) == 'decode_head':
            if options:
                raise ValueError(f'{self.name} predicts label maps, which have no option {", ".join(sorted(options))}')
            return None
        from m2f_mm.integrations.inference_options import DETECTOR_OPTIONS, read_test_cfg

        switches = {switch: each == ('instance' if task == 'boxes' else task) for each, switch in SWITCHES.items()}
        form = dict(instance_masks=None if task == 'boxes' else 'rle')
        test_cfg = ConfigDict({**self._given, **form, **options, **switches})
        read_test_cfg(test_cfg, DETECTOR_OPTIONS)  # raises for a wrong one
        return test_cfg

    def train(
        self,
        data: str,
        work_dir: str | None = None,
        task: str | None = None,
        resume: bool = False,
        **options: Any,
    ) -> 'Segmenter':
        """Train this model further on a folder of annotated images, whatever their format.

        Size, batch, learning rate and length follow from the data and the machine, unless they are given. The config is
        written to ``work_dir``; ``m2f train`` says why each number is what it is.

        Args:
            data: the folder, see ``m2f_mm.datasets.formats.recognise``.
            work_dir: for the config, checkpoints and logs; by default ``work_dirs/FOLDER_TASK``.
            task: 'panoptic', 'instance', 'semantic' or 'boxes'; by default what the data are for.
            resume: go on from the newest checkpoint.
            **options: fields of ``own_data.TrainingPlan``, such as ``max_iters=1000``, and arguments of
                ``own_data.prepare_training``.

        Returns:
            The trained model, with its best weights.

        Raises:
            FileNotFoundError: there is no such folder.
            ValueError: the folder is not recognised or broken, or an option does not exist.
        """
        from .own_data import prepare_training, train_prepared

        if not os.path.isfile(self.cfg.filename or ''):
            raise ValueError(f'{self.name} was made of a Config without a file: give its path, or a name')
        options.setdefault('load_from', self.weights)
        prepared = prepare_training(data, work_dir, task, model=self.cfg.filename, device=str(self.device), **options)
        return Segmenter(train_prepared(prepared, resume=resume), device=str(self.device))

    def evaluate(
        self,
        work_dir: str | None = None,
        out: str | None = None,
        show_dir: str | None = None,
        cfg_options: dict[str, Any] | None = None,
    ) -> dict[str, float]:
        """Evaluate the weights on the test data of the config, as ``tools/test.py`` does.

        Args:
            work_dir: folder for the log; by default ``work_dirs/NAME``.
            out: a .pkl file for all predictions of a detector, a folder for the label maps of a segmentor.
            show_dir: folder for an image of every prediction.
            cfg_options: changes of the config, such as ``{'test_dataloader.batch_size': 2}``.

        Returns:
            The metrics by name.

        Raises:
            FileNotFoundError: files of the data set are missing.
            ValueError: there is no test data, or model and data disagree on the classes.
        """
        from .evaluation import check_evaluation, draw_into, draw_predictions, evaluate, keep_predictions

        cfg = copy.deepcopy(self.cfg)
        cfg.merge_from_dict(cfg_options or {})
        cfg.load_from, cfg.resume, cfg.launcher = self.weights, False, 'none'
        cfg.work_dir = work_dir or os.path.join('work_dirs', self.name)
        fill_classes(cfg)
        warnings = check_evaluation(cfg)
        if show_dir:
            draw_predictions(cfg, show_dir=show_dir)
            draw_into(cfg, show_dir)
        if out is not None:
            keep_predictions(cfg, out)
        return dict(evaluate(cfg, warnings))

    def prepare(self, image: np.ndarray, name: str = '', path: str | None = None) -> dict:
        """What the test pipeline makes of an image RGB uint8 (H, W, 3): a dict with ``inputs`` and ``data_samples``."""
        bgr = np.ascontiguousarray(image[..., ::-1])
        return self._transforms(
            dict(img=bgr, img_path=path or name, img_id=0, ori_shape=image.shape[:2], img_shape=image.shape[:2])
        )

    @torch.no_grad()
    def predict_prepared(self, prepared: Sequence[dict], test_cfg: ConfigDict | None) -> list[Any]:
        """Data samples with predictions.

        Args:
            prepared: of ``prepare``, of one size.
            test_cfg: of the fusion head.
        """
        if test_cfg is not None:
            unwrapped(self.model).panoptic_fusion_head.test_cfg = test_cfg
        data = {key: [each[key] for each in prepared] for key in ('inputs', 'data_samples')}
        return self.model.test_step(data)


def _test_options(model: nn.Module) -> dict:
    """``test_cfg`` of the model's fusion head, as its config has it."""
    fusion_head = getattr(unwrapped(model), 'panoptic_fusion_head', None)
    return dict(getattr(fusion_head, 'test_cfg', None) or {})


class _Loaded(NamedTuple):
    """An image of the source, its pixels, and what the network gets: itself, or its tiles."""

    source: SourceImage
    image: np.ndarray
    windows: list  # of tiles; None for the whole image
    prepared: list[dict]


class Predictions:
    """Results of ``Segmenter.predict``, made while they are iterated.

    Attributes:
        bad: images that could not be read, so far.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        images: Iterator[SourceImage],
        number: int | None,
        task: str,
        test_cfg: ConfigDict | None,
        batch_size: int,
        tiles: Any,
        on_error: str,
        progress: bool,
    ):
        self.bad: list[BadImage] = []
        self.number = number
        self._segmenter = segmenter
        self._task, self._test_cfg = task, test_cfg
        self._batch_size, self._tiles = batch_size, tiles
        self._raises = on_error == 'raise'
        self._progress = progress
        self._results = self._run(images)

    def __iter__(self) -> 'Predictions':
        return self

    def __next__(self) -> Result:
        return next(self._results)

    def _run(self, images: Iterator[SourceImage]) -> Iterator[Result]:
        size = 1 if self._batch_size == 1 else self._batch_size * LOOKAHEAD
        with progress_bar(self.number, self._progress) as advance, ThreadPoolExecutor(1) as loader:
            ahead = loader.submit(self._load, images, size)
            while True:
                loaded, read = ahead.result()
                if not read:
                    break
                ahead = loader.submit(self._load, images, size)  # while the network predicts
                yield from self._predicted(loaded)
                advance(read)
        if self.bad:
            names = ', '.join(f'{bad.name} ({bad.error})' for bad in self.bad[:3])
            warnings.warn(
                f'{len(self.bad)} images could not be predicted: {names}{", ..." if len(self.bad) > 3 else ""}',
                stacklevel=3,
            )

    def _load(self, images: Iterator[SourceImage], size: int) -> tuple[list[_Loaded], int]:
        """The next images that can be read, and how many were tried."""
        loaded, tried = [], 0
        for source in itertools.islice(images, size):
            tried += 1
            try:
                loaded.append(self._read(source))
            except (ValueError, OSError) as error:
                if self._raises:
                    raise
                self.bad.append(BadImage(source.name, str(error)))
        return loaded, tried

    def _read(self, source: SourceImage) -> _Loaded:
        image = source.read()
        windows = [None] if self._tiles is None else self._tiles(*image.shape[:2]) or [None]
        parts = [image if window is None else image[window.rows, window.columns] for window in windows]
        prepared = [self._segmenter.prepare(part, source.name, source.path) for part in parts]
        return _Loaded(source, image, windows, prepared)

    def _predicted(self, loaded: Sequence[_Loaded]) -> Iterator[Result]:
        """Results of images, those that have one size in the network together."""
        places: dict[tuple, list[tuple[int, int]]] = {}
        for index, each in enumerate(loaded):
            for part, prepared in enumerate(each.prepared):
                places.setdefault(tuple(prepared['inputs'].shape), []).append((index, part))
        samples: dict[tuple[int, int], Any] = {}
        for group in places.values():
            for start in range(0, len(group), self._batch_size):
                batch = group[start : start + self._batch_size]
                prepared = [loaded[index].prepared[part] for index, part in batch]
                samples.update(zip(batch, self._segmenter.predict_prepared(prepared, self._test_cfg)))
        for index, each in enumerate(loaded):
            yield self._result(each, [samples[index, part] for part in range(len(each.prepared))])

    def _result(self, loaded: _Loaded, samples: Sequence[Any]) -> Result:
        segmenter, source = self._segmenter, loaded.source
        common = dict(
            classes=segmenter.classes,
            name=source.name,
            path=source.path,
            kind=self._task,
            is_thing=segmenter.is_thing,
            palette=segmenter.palette,
        )
        if loaded.windows == [None]:
            return result_of_sample(samples[0], loaded.image, **common)
        parts = [
            result_of_sample(sample, loaded.image[window.rows, window.columns], **common)
            for sample, window in zip(samples, loaded.windows)
        ]
        return merge_tiles(parts, loaded.windows, loaded.image)


class progress_bar:
    """A bar with the time that is left; its value is a function that takes the number of images that are done.

    Args:
        number: of images; None where it is unknown.
        shown: show it, if the output is a terminal.
    """

    def __init__(self, number: int | None, shown: bool = True):
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        columns = TextColumn('predicting'), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        self._bar = Progress(*columns, console=console, disable=not shown or not console.is_terminal)
        self._number = number

    def __enter__(self) -> Any:
        self._bar.start()
        task = self._bar.add_task('', total=self._number)
        return lambda count: self._bar.advance(task, count)

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
