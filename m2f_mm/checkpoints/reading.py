"""Files of weights to state dicts, without running anything that a file may bring along.

A pickle is a program; here only tensors, arrays and plain containers are made of one, and anything else is refused.
"""
import pickle
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

WRAPPERS = ('state_dict', 'model')  # under which a file keeps its weights; OpenMMLab's name, detectron2's
# What detectron2's pickles consist of beside numbers, strings and containers. NumPy 2 moved its part.
PLAIN = {('collections', 'OrderedDict'): OrderedDict, ('numpy', 'ndarray'): np.ndarray, ('numpy', 'dtype'): np.dtype}
_CORE = np._core if hasattr(np, '_core') else np.core
for _module in ('numpy.core.multiarray', 'numpy._core.multiarray'):
    PLAIN[_module, '_reconstruct'] = _CORE.multiarray._reconstruct
    PLAIN[_module, 'scalar'] = _CORE.multiarray.scalar


def _bytes_of(text: str, encoding: str) -> bytes:
    """What ``_codecs.encode`` is for in a pickle of protocol 2: bytes, written as text."""
    if encoding != 'latin1':
        raise pickle.UnpicklingError(f'it asks for the codec {encoding!r}')
    return text.encode(encoding)


PLAIN['_codecs', 'encode'] = _bytes_of


class PlainUnpickler(pickle.Unpickler):
    """Makes arrays and plain containers only."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in PLAIN:
            raise pickle.UnpicklingError(f'it asks for {module}.{name}')
        return PLAIN[module, name]


def read_state_dict(path: str | Path, map_location: str | None = 'cpu') -> dict[str, Tensor]:
    """Weights by name from a ``.pkl`` of detectron2, a ``.safetensors``, or a file of ``torch.save``.

    Args:
        path: the file.
        map_location: as for ``torch.load``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds something else than weights, is broken, or is a pickle with more in it than numbers.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'the weights {path} do not exist')
    content = _content(path, map_location)
    for wrapper in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping):
        raise ValueError(f'{path} holds {type(content).__name__}, not weights by name')
    state, other = {}, []
    for name, value in content.items():
        if isinstance(value, np.ndarray) and value.dtype.kind in 'fiub':
            state[name] = torch.from_numpy(np.ascontiguousarray(value)).to(map_location or 'cpu')
        elif isinstance(value, Tensor):
            state[name] = value
        else:
            other.append(f'{name} ({type(value).__name__})')
    if other or not state:
        raise ValueError(f'{path} holds no weights by name, but {", ".join(map(str, other[:5])) or "nothing"}')
    return state


def _content(path: Path, map_location: str | None) -> Any:
    if path.suffix == '.safetensors':
        from safetensors import SafetensorError
        from safetensors.torch import load_file
        try:
            return load_file(str(path), device=map_location or 'cpu')
        except SafetensorError as error:
            raise ValueError(f'{path} is not a complete safetensors file ({error})') from error
    with path.open('rb') as stream:
        start = stream.read(2)
    if start == b'PK' or path.suffix not in ('.pkl', '.pickle'):  # torch.save writes a zip archive, once its own pickle
        try:
            return torch.load(path, map_location=map_location, weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
            raise ValueError(f'{path} is not a file of weights that can be read safely: '
                             f'{str(error).splitlines()[0] if str(error) else type(error).__name__}') from error
    with path.open('rb') as stream:
        try:
            return PlainUnpickler(stream, encoding='latin1').load()
        except (pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            raise ValueError(f'{path} is refused: a pickle of weights holds arrays and plain containers, but {error}. '
                             'Nothing of it was run') from error
