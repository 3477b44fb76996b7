"""``load_from`` and ``init_cfg`` accept the files of every source directly.

Two things make it so: MMEngine's loader hands names of this package and files that ``torch.load`` is not for to
``read_checkpoint``, and a model whose state dict is loaded translates names that are not its own. Files of
``torch.save`` stay MMEngine's own matter, except while ``safe_loading`` is in force, as in our tools: then nothing that
is loaded may run code.
"""

import difflib
import os
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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

from . import dino
from .backbones import SOURCES
from .downloads import FOLDER_VARIABLE, discard, fetched
from .reading import TORCH, WRAPPERS, kind_of, read_checkpoint, state_dict_of
from .sources import BACKBONE, DINO, OURS, source_of, to_ours

SCHEME = 'm2f_mm://'
WEB = ('http://', 'https://')
# MMEngine matches these as regular expressions, those that sort last first: the second must stand before its https://.
_SUFFIXES = r'\.(?i:pkl|pickle|safetensors|bin)$'
FILES = (rf'.*{_SUFFIXES}', rf'https?://.*{_SUFFIXES}')
FORCED = 'TORCH_FORCE_WEIGHTS_ONLY_LOAD'  # torch's own switch: every torch.load of the process checks what it makes


@CheckpointLoader.register_scheme(prefixes=FILES)
def load_file(name: str, map_location: str | None = None) -> dict:
    """Weights of a detectron2 pickle or a safetensors file, of a backbone under our names. A file of ``torch.save``,
    which may be of any library, is left to MMEngine.

    Args:
        name: a path, or an address, see ``fetched``.
        map_location: as for ``torch.load``.
    """
    path = local_file(name)
    if not path.is_file() or kind_of(path) != TORCH:
        return load_safely(name, map_location)
    with kept_if_good(name, path):
        return mmengine_checkpoint.load_from_local(str(path), map_location)


@CheckpointLoader.register_scheme(prefixes=SCHEME)
def load_named(name: str, map_location: str | None = None) -> dict:
    """Weights by name: of a backbone, or the released ones of a config.

    Args:
        name: ``m2f_mm://`` and a key of ``SOURCES`` or the name of a config in the model index.
        map_location: as for ``torch.load``.

    Raises:
        ValueError: for an unknown name; lists the nearest ones.
        FileNotFoundError: where the file is neither there nor to be had; says where to put it and which option takes
            a local path.
    """
    from m2f_mm.apis.model_index import released_models

    key = name[len(SCHEME) :].removesuffix('.py')
    urls = {known: source.url for known, source in SOURCES.items()}
    urls.update((model.name, model.weights) for model in released_models())
    if key not in urls:
        near = difflib.get_close_matches(key, urls, n=3, cutoff=0.4) or list(SOURCES)
        raise ValueError(
            f'{name} is unknown; near are {", ".join(SCHEME + known for known in near)}. '
            'A path to a file is accepted as well'
        )
    try:
        return _with_our_names(load_safely(urls[key], map_location), urls[key])
    except OSError as error:
        file = Path(urlparse(urls[key]).path).name
        advice = (
            (
                f'its path: --cfg-options model.backbone.init_cfg.checkpoint=/path/to/{file}. To train from scratch: '
                '--cfg-options model.backbone.init_cfg=None, and a norm that learns in place of FrozenBN, such as '
                'norm_cfg=dict(_delete_=True, type="GN", num_groups=32)'
            )
            if key in SOURCES
            else 'its path instead'
        )
        raise FileNotFoundError(
            f'The weights {file} ({SOURCES[key].origin if key in SOURCES else "official"}) cannot be fetched from '
            f'{urls[key]}: {error}. Get the file by other means and put it into a folder that the variable '
            f'{FOLDER_VARIABLE} names, or pass {advice}'
        ) from error


def local_file(name: str) -> Path:
    """The file behind a path, a ``file://`` address or one of the web, which is fetched."""
    if name.startswith(WEB):
        return fetched(name)
    return Path(unquote(urlparse(name).path)) if name.startswith('file://') else Path(name).expanduser()


@contextmanager
def kept_if_good(name: str, path: Path) -> Iterator[None]:
    """What was fetched and turns out to be no file of weights leaves the cache; the next attempt fetches it anew."""
    try:
        yield
    except ValueError:
        if name.startswith(WEB):
            discard(path)
        raise


def load_safely(name: str, map_location: Any = None) -> dict:
    """The content of a file of weights of any format; nothing in it is run.

    Files of ``torch.save`` keep all that they hold, as it is. Weights of other files are a state dict under
    ``state_dict``, of a backbone under our names; what such a file holds beside them stays, too.

    Args:
        name: a path, or an address.
        map_location: as for ``torch.load``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is broken, holds no weights, or asks for more than numbers, texts and containers.
    """
    path = local_file(name)
    with kept_if_good(name, path):
        content = read_checkpoint(path, map_location)
        if not isinstance(content, Mapping):
            raise ValueError(f'{path} holds {type(content).__name__}, not weights by name')
    if kind_of(path) != TORCH:
        content = _with_our_names(content, path)
    return content


def _with_our_names(content: Mapping, path: str | Path) -> dict:
    """A checkpoint whose weights, where they are of a backbone alone, have our names."""
    state = state_dict_of(content, path)
    wrapped = any(isinstance(content.get(wrapper), Mapping) for wrapper in WRAPPERS)
    beside = {key: value for key, value in content.items() if key not in WRAPPERS} if wrapped else {}
    return dict(beside, state_dict=to_ours(state) if source_of(state) == BACKBONE else state)


def load_from_file(filename: str, map_location: Any = None) -> dict:
    """In the place of MMEngine's loader of local files."""
    content = load_safely(filename, map_location)
    meta = content.get('meta')
    if isinstance(meta, dict) and 'config' in meta:  # MMEngine runs it, as Python, when it resumes
        del meta['config']
        print_log(f'{filename} brings a config along (meta.config), which is not run', 'current', 30)
    return content


def load_from_web(filename: str, map_location: Any = None, model_dir: str | None = None, progress: bool = True) -> dict:
    """In the place of MMEngine's loader of addresses: the first worker fetches."""
    if get_rank() == 0:
        fetched(filename)
    barrier()
    return load_from_file(filename, map_location)


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


def translate(state_dict: dict[str, Tensor], model: nn.Module, head: str) -> None:
    """Put our names in the place of official or Hugging Face ones; others stay. In place, as loading wants it.

    Args:
        state_dict: weights of a whole detector or segmentor.
        model: which is to load them.
        head: its attribute that holds the head; ``class_ids`` of the head say how its classes are ordered.

    Raises:
        ValueError: the model is none that can have weights of this source.
    """
    if isinstance(state_dict.get('model'), Mapping):  # a file of detectron2's trainer
        inner = dict(state_dict['model'])
        state_dict.clear()
        state_dict.update(inner)
    source = source_of(state_dict)
    if source == DINO:
        if not getattr(getattr(model, head), 'predicts_boxes', False):
            return  # nothing but the backbone is shared, whose names are the same
        dino.check(state_dict, getattr(model, head))
    if source in (None, OURS, BACKBONE):
        return
    translated = to_ours(state_dict, head, getattr(getattr(model, head), 'class_ids', None))
    state_dict.clear()
    state_dict.update(translated)
