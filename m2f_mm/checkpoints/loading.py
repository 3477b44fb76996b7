"""``load_from`` and ``init_cfg`` accept the files of every source directly.

Two things make it so: MMEngine's loader hands files that ``torch.load`` is not for to ``read_state_dict``, and a model
whose state dict is loaded translates names that are not its own.
"""
import tempfile
from pathlib import Path
from urllib.parse import urlparse

import torch
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor, nn

from .reading import read_state_dict
from .sources import BACKBONE, OURS, source_of, to_ours

# MMEngine matches these as regular expressions, those that sort last first: the second must stand before its https://.
SCHEMES = (r'.*\.(pkl|safetensors|bin)$', r'https?://.*\.(pkl|safetensors|bin)$')


@CheckpointLoader.register_scheme(prefixes=SCHEMES)
def load_file(name: str, map_location: str | None = None) -> dict:
    """Weights of a detectron2 pickle, a safetensors file or a ``.bin`` of Hugging Face; of a backbone under our names.

    Args:
        name: a path, or an address, whose file is then kept in torch's cache.
        map_location: as for ``torch.load``.
    """
    state = read_state_dict(fetched(name) if name.startswith(('http://', 'https://')) else name, map_location)
    return dict(state_dict=to_ours(state) if source_of(state) == BACKBONE else state)


def fetched(url: str) -> Path:
    """The file behind an address in torch's cache, whole or not at all."""
    folder = Path(torch.hub.get_dir()) / 'checkpoints'
    path = folder / Path(urlparse(url).path).name
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as unfinished:
            torch.hub.download_url_to_file(url, str(Path(unfinished) / path.name))
            (Path(unfinished) / path.name).replace(path)
    return path


def translate(state_dict: dict[str, Tensor], model: nn.Module, head: str) -> None:
    """Put our names in the place of official or Hugging Face ones; others stay. In place, as loading wants it.

    Args:
        state_dict: weights of a whole detector or segmentor.
        model: which is to load them.
        head: its attribute that holds the head; ``class_ids`` of the head say how its classes are ordered.
    """
    if source_of(state_dict) in (None, OURS, BACKBONE):
        return
    translated = to_ours(state_dict, head, getattr(getattr(model, head), 'class_ids', None))
    state_dict.clear()
    state_dict.update(translated)
