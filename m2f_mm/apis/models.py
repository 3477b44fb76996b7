"""A model with its weights, from whatever names it: a config, the folder of a training, a checkpoint."""

import copy
import difflib
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from torch import nn

from m2f_mm.checkpoints import safe_loading
from m2f_mm.checkpoints.released import Released, released_models
from m2f_mm.datasets.head_classes import class_counts
from m2f_mm.datasets.pipelines import split_pipeline
from m2f_mm.datasets.wrappers import iter_datasets
from m2f_mm.engine.class_counts import configured_data, fill_classes
from m2f_mm.heads import head_of

from .command_line import config_file
from .tool_runner import import_framework
from .weights import load_weights

CHECKPOINTS = ('.pth', '.pt', '.pkl', '.bin', '.safetensors')


class NamedModel(NamedTuple):
    """A config and the weights that belong to it.

    Args:
        name: what it was named by, without folder and suffix.
        cfg: the config.
        weights: file or address; None where nothing says which.
    """

    name: str
    cfg: Config
    weights: str | None


def find_model(name_or_config: Any, weights: str | None = None) -> NamedModel:
    """Config and weights.

    Args:
        name_or_config: the name of a shipped config, whose released weights are taken; the path of a config; the folder
            of a training, whose best checkpoint is taken, or else its last; a checkpoint that holds its config, as
            trainings write them; or a ``Config``.
        weights: file or address, ``m2f_mm://NAME``; goes before those above.

    Raises:
        FileNotFoundError: there is no such config, folder or checkpoint; names the nearest.
        ValueError: the checkpoint holds no config, or the folder has no checkpoint.
    """
    if isinstance(name_or_config, Config):
        return NamedModel(Path(name_or_config.filename or 'model').stem, copy.deepcopy(name_or_config), weights)
    text = os.fspath(name_or_config)
    if os.path.isdir(text):
        return _of_folder(Path(text), weights)
    if text.endswith(CHECKPOINTS):
        return _of_checkpoint(text, weights)
    released = {model.name: model for model in released_models()}
    path = config_file(released[text].config if text in released else text)
    if weights is None:
        weights = _released_weights(path)
    return NamedModel(Path(path).stem, Config.fromfile(path), weights)


def _released_weights(path: str) -> str | None:
    """Address of the released weights of a shipped config; None for other configs."""
    for model in released_models():
        if Path(path).as_posix().endswith(f'configs/{model.config}'):
            return f'm2f_mm://{model.name}'
    return None


def _of_folder(folder: Path, weights: str | None) -> NamedModel:
    """Of a training: the config that MMEngine has written there, and the best checkpoint or the last."""
    configs = sorted(folder.glob('*.py'), key=lambda path: path.stat().st_mtime)
    if not configs:
        raise FileNotFoundError(f'{folder} holds no config (*.py): give the folder of a training, or a config')
    if weights is None:
        best = sorted(folder.glob('best_*.pth'), key=lambda path: path.stat().st_mtime)
        last = folder / 'last_checkpoint'
        if best:
            weights = str(best[-1])
        elif last.is_file():
            named = Path(last.read_text().strip())
            weights = str(named if named.is_file() else folder / named.name)  # the folder may have been moved
        else:
            raise ValueError(f'{folder} holds no checkpoint (best_*.pth, or one named by last_checkpoint)')
    return NamedModel(folder.name, Config.fromfile(configs[-1]), weights)


def _of_checkpoint(path: str, weights: str | None) -> NamedModel:
    """Of a checkpoint that was written by a training."""
    from mmengine.runner.checkpoint import _load_checkpoint

    if '://' not in path and not os.path.isfile(path):
        raise FileNotFoundError(f'there is no checkpoint {path!r} (looked in {os.getcwd()})')
    with safe_loading():
        meta = _load_checkpoint(path, map_location='cpu', logger='silent').get('meta') or {}
    text = meta.get('cfg')
    if not isinstance(text, str):
        raise ValueError(
            f'{path} does not hold the config of its model, as checkpoints of other sources do not: give the config, '
            'and this file as weights'
        )
    return NamedModel(Path(path).stem, Config.fromstring(text, '.py'), weights or path)


def released_named(name: str) -> Released | None:
    """The released model of a name; None where there is none."""
    return next((model for model in released_models() if model.name == name), None)


def nearest_names(name: str, names: list[str], count: int = 3) -> list[str]:
    """The names that are most like ``name``."""
    return difflib.get_close_matches(name, names, count, 0.5)


def choose_device(device: str = 'auto') -> str:
    """A device of torch: what was given or, for 'auto', the first GPU if there is one.

    Raises:
        ValueError: torch does not know or does not see the device.
    """
    if device == 'auto':
        return 'cuda:0' if torch.cuda.is_available() else 'cpu'
    if re.fullmatch(r'\d+', device):
        device = f'cuda:{device}'
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise ValueError(f"device={device!r} is none of torch; take 'cpu', 'cuda:0' or 'auto'") from None
    if chosen.type == 'cuda' and (chosen.index or 0) >= torch.cuda.device_count():
        raise ValueError(f'device={device!r}: torch sees {torch.cuda.device_count()} GPUs; take "cpu" or "auto"')
    return device


def build_model(cfg: Config) -> nn.Module:
    """The model of a config, without weights.

    Args:
        cfg: its ``default_scope`` says which framework its parts are of; ``data_preprocessor`` may stand beside the
            model, as the runner allows.
    """
    from mmengine.registry import MODELS, DefaultScope

    scope = cfg.get('default_scope') or 'mmdet'
    import_framework(scope)
    cfg = copy.deepcopy(cfg)
    fill_classes(cfg)
    model = cfg.model
    if cfg.get('data_preprocessor') and model.get('data_preprocessor') is None:
        model.data_preprocessor = cfg.data_preprocessor
    with DefaultScope.overwrite_default_scope(scope):
        return MODELS.build(model)


def load_model(cfg: Config, weights: str, device: str = 'auto') -> nn.Module:
    """A model with its weights, ready to predict.

    Args:
        cfg: of the model.
        weights: a file or address of any source.
        device: where to compute, see ``choose_device``.

    Returns:
        The model in evaluation mode. ``model.cfg`` is the config, ``model.dataset_meta`` has ``classes`` and, if it is
        known, ``palette``: those of the checkpoint or, if it does not say, of the test data set.

    Raises:
        FileNotFoundError: there is no such checkpoint.
        ValueError: the classes are unknown or do not fit, or the checkpoint cannot be read or does not fill all
            parameters and buffers of the model.
    """
    device = choose_device(device)
    model = build_model(cfg)
    report = load_weights(model, weights)
    model.dataset_meta = class_metainfo(cfg, model, report.meta.get('dataset_meta'))
    report.require_all()
    model.cfg = cfg
    return model.to(device).eval()


def class_metainfo(cfg: Config, model: nn.Module, saved: dict | None) -> dict:
    """Names and colors of the classes.

    Args:
        cfg: of the model.
        model: whose head has the number of classes.
        saved: what the checkpoint says, if it does.

    Raises:
        ValueError: nothing says the names, or they are not as many as the head has classes.
    """
    meta = {str(key).lower(): value for key, value in (saved or {}).items()}
    source = 'the checkpoint'
    if meta.get('classes') is None:
        meta, source = _configured_metainfo(cfg), 'the test data set of the config'
    head = head_of(model)
    if meta.get('classes') is None and getattr(head, 'class_names', None):
        meta, source = dict(classes=head.class_names), 'the head'
    classes = meta.get('classes')
    if classes is None:
        raise ValueError(
            'neither the config nor the checkpoint names the classes: give the head, or test_dataloader.dataset, a '
            'metainfo=dict(classes=(...))'
        )
    number = head.num_classes
    if len(classes) != number:
        raise ValueError(
            f'the model has {number} classes, but {source} names {len(classes)}: they do not belong together'
        )
    palette = meta.get('palette')
    usable = isinstance(palette, list | tuple) and len(palette) >= number  # it may be a word such as 'random'
    return dict(classes=tuple(map(str, classes))) | (dict(palette=palette) if usable else {})


def _configured_metainfo(cfg: Config) -> dict:
    """Of the test data set, without building it; empty where there is none or it does not say."""
    if not cfg.get('test_dataloader'):
        return {}
    from mmengine.registry import DATASETS, DefaultScope

    scope = cfg.get('default_scope') or 'mmdet'
    import_framework(scope)
    dataset = tested_data(cfg)
    data, *_ = configured_data(dataset, 'the data set', scope)
    with DefaultScope.overwrite_default_scope(scope):
        kind = DATASETS.get(dataset['type']) if isinstance(dataset['type'], str) else dataset['type']
    own = {**(getattr(kind, 'METAINFO', None) or {}), **(dataset.get('metainfo') or {})}
    return dict(classes=data.classes, palette={key.lower(): value for key, value in own.items()}.get('palette'))


def tested_data(cfg: Config) -> dict:
    """The config of the test data set; of wrapped ones the first.

    Raises:
        ValueError: there is none.
    """
    if not cfg.get('test_dataloader'):
        raise ValueError(
            'the config has no test_dataloader, whose pipeline prepares images: give it one, with the resizing of the '
            'training'
        )
    return next(iter_datasets(cfg.test_dataloader['dataset']))[0]


def image_transforms(cfg: Config, pack: bool = True) -> Any:
    """What the test pipeline does to an image once it is loaded.

    Args:
        cfg: of the model.
        pack: the last step, too, which gives ``inputs`` and ``data_samples``.
    """
    from mmengine.dataset import Compose
    from mmengine.registry import DefaultScope

    pipeline = split_pipeline(tested_data(cfg)['pipeline'])
    steps = [*pipeline.transform, *(pipeline.pack if pack else ())]
    scope = cfg.get('default_scope') or 'mmdet'
    import_framework(scope)
    with DefaultScope.overwrite_default_scope(scope):
        return Compose(steps)


def things_of(model: nn.Module) -> list[bool] | None:
    """For each class whether it is a thing; None where the model does not say."""
    head = head_of(model)
    is_thing = getattr(head, 'is_thing', None)
    if is_thing is None and hasattr(head, 'num_things_classes'):
        is_thing = class_counts('the head', None, head.num_things_classes, head.num_stuff_classes).is_thing
    return None if is_thing is None else list(map(bool, is_thing))
