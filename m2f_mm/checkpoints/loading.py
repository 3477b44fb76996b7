"""``load_from`` and ``init_cfg`` accept the files of every source directly.

Two things make it so: MMEngine's loader hands names of this package and files that ``torch.load`` is not for to
``read_state_dict``, and a model whose state dict is loaded translates names that are not its own.
"""
import difflib
import hashlib
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlparse

import torch
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor, nn

from . import dino
from .backbones import SOURCES
from .reading import read_state_dict
from .sources import BACKBONE, DINO, OURS, source_of, to_ours

SCHEME = 'm2f_mm://'
FOLDER_VARIABLE = 'M2F_MM_WEIGHTS'
# MMEngine matches these as regular expressions, those that sort last first: the second must stand before its https://.
FILES = (r'.*\.(pkl|safetensors|bin)$', r'https?://.*\.(pkl|safetensors|bin)$')


@CheckpointLoader.register_scheme(prefixes=FILES)
def load_file(name: str, map_location: str | None = None) -> dict:
    """Weights of a detectron2 pickle, a safetensors file or a ``.bin`` of Hugging Face; of a backbone under our names.

    Args:
        name: a path, or an address, see ``fetched``.
        map_location: as for ``torch.load``.
    """
    state = read_state_dict(fetched(name) if name.startswith(('http://', 'https://')) else name, map_location)
    return dict(state_dict=to_ours(state) if source_of(state) == BACKBONE else state)


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
    key = name[len(SCHEME):].removesuffix('.py')
    urls = {known: source.url for known, source in SOURCES.items()}
    urls.update((model.name, model.weights) for model in released_models())
    if key not in urls:
        near = difflib.get_close_matches(key, urls, n=3, cutoff=0.4) or list(SOURCES)
        raise ValueError(f'{name} is unknown; near are {", ".join(SCHEME + known for known in near)}. '
                         'A path to a file is accepted as well')
    try:
        return load_file(urls[key], map_location)
    except OSError as error:
        file = Path(urlparse(urls[key]).path).name
        advice = (f'its path: --cfg-options model.backbone.init_cfg.checkpoint=/path/to/{file}. To train from scratch: '
                  '--cfg-options model.backbone.init_cfg=None, and a norm that learns in place of FrozenBN, such as '
                  'norm_cfg=dict(_delete_=True, type="GN", num_groups=32)') if key in SOURCES else 'its path instead'
        raise FileNotFoundError(
            f'The weights {file} ({SOURCES[key].origin if key in SOURCES else "official"}) cannot be fetched from '
            f'{urls[key]}: {error}. Get the file by other means and put it into a folder that the variable '
            f'{FOLDER_VARIABLE} names, or pass {advice}') from error


def fetched(url: str) -> Path:
    """The file behind an address: from the folder that ``M2F_MM_WEIGHTS`` names, from torch's cache, or downloaded
    there, whole or not at all."""
    cache = Path(torch.hub.get_dir()) / 'checkpoints'
    file = Path(urlparse(url).path).name
    for folder in filter(None, (os.environ.get(FOLDER_VARIABLE), cache)):
        if (Path(folder) / file).is_file():
            return Path(folder) / file
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as unfinished:
        part = Path(unfinished) / file
        torch.hub.download_url_to_file(url, str(part))
        check_name(part)
        return part.replace(cache / file)


def check_name(path: Path) -> None:
    """Public files have the beginning of their checksum in their names: the official ones of their MD5,
    ``model_final_94dc52.pkl``, torchvision's of their SHA-256, ``resnet50-0676ba61.pth``.

    Raises:
        ValueError: the file has another.
    """
    for pattern, kind in ((r'model_final_([0-9a-f]{6})\.pkl', 'md5'), (r'.*-([0-9a-f]{8})\.pth', 'sha256')):
        wanted = re.fullmatch(pattern, path.name)
        if not wanted:
            continue
        found = hashlib.new(kind, path.read_bytes(), usedforsecurity=False).hexdigest()
        if not found.startswith(wanted[1]):
            raise ValueError(f'{path.name} has the {kind.upper()} {found}, which does not begin as its name says; it '
                             'is damaged or another file. Get it again')


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
