"""Files of weights to state dicts, without running anything that a file may bring along.

A pickle is a program; here only tensors, arrays and plain containers are made of one, and anything else is refused.
"""
import pickle
import re
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from m2f_mm.compatibility import allow_checkpoint_types

WRAPPERS = ('state_dict', 'model')  # under which a file keeps its weights; OpenMMLab's name, detectron2's


class PickledType:
    """Stands for NumPy's dtype while a pickle is read: plain numbers only, so that no bytes can pass for objects."""

    def __init__(self, code: str, *_):
        if not re.fullmatch(r'[<>|=]?[fiub][1248]', str(code)):
            raise pickle.UnpicklingError(f'it asks for arrays of {code!r}')
        self.code = str(code)

    def __setstate__(self, state: tuple) -> None:
        order = state[1]
        self.code = f'{order if order in ("<", ">") else ""}{self.code[-2:]}'


class PickledArray:
    """Stands for a NumPy array while a pickle is read; the array is made when all of the file is known to be plain."""

    def __init__(self, *_):
        self.state: tuple = ()

    def __setstate__(self, state: tuple) -> None:
        self.state = state

    def array(self) -> np.ndarray:
        """
        Raises:
            ValueError: shape, type and bytes do not fit together.
        """
        try:
            _, shape, kind, fortran, content = self.state
            content = content.encode('latin1') if isinstance(content, str) else content  # written by Python 2
            return np.frombuffer(content, kind.code).reshape(shape, order='F' if fortran else 'C').copy(order='C')
        except (TypeError, AttributeError) as error:
            raise ValueError(f'an array is incomplete ({error})') from error


def _scalar(kind: PickledType, content: bytes | str) -> PickledArray:
    made = PickledArray()
    made.state = (1, (), kind, False, content)
    return made


def _bytes_of(text: str, encoding: str) -> bytes:
    """What ``_codecs.encode`` is for in a pickle of protocol 2: bytes, written as text."""
    if encoding != 'latin1':
        raise pickle.UnpicklingError(f'it asks for the codec {encoding!r}')
    return text.encode(encoding)


def _no_bytes() -> bytes:
    """How protocol 2 writes empty bytes."""
    return b''


# What detectron2's pickles consist of beside numbers, strings and containers. NumPy 2 moved its part. Nothing of
# NumPy's own is handed out: with it, a file could make arrays of objects from bytes.
PLAIN = {
    ('collections', 'OrderedDict'): OrderedDict,
    ('numpy', 'ndarray'): 'numpy.ndarray',  # an argument of _reconstruct, never called
    ('numpy', 'dtype'): PickledType,
    ('_codecs', 'encode'): _bytes_of,
    ('__builtin__', 'bytes'): _no_bytes
}
for _module in ('numpy.core.multiarray', 'numpy._core.multiarray'):
    PLAIN[_module, '_reconstruct'] = PickledArray
    PLAIN[_module, 'scalar'] = _scalar


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
        if isinstance(value, PickledArray):
            array = value.array()
            state[name] = torch.from_numpy(array.astype(array.dtype.newbyteorder('='))).to(map_location or 'cpu')
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
        allow_checkpoint_types()  # once more: some versions of MMEngine disallow them again after loading a file
        try:
            return torch.load(path, map_location=map_location, weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
            raise ValueError(f'{path} is not a file of weights that can be read safely: '
                             f'{str(error).splitlines()[0] if str(error) else type(error).__name__}') from error
    with path.open('rb') as stream:
        try:
            return PlainUnpickler(stream, encoding='latin1').load()
        except (pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError,
                OverflowError, MemoryError) as error:
            raise ValueError(f'{path} is refused: a pickle of weights holds arrays and plain containers, but {error}. '
                             'Nothing of it was run') from error
