"""Files of weights to state dicts, without running anything that a file may bring along.

A pickle is a program; here only tensors, arrays and plain containers are made of one, and anything else is refused.
What a file is says its content, not its name.
"""

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from m2f_mm.compatibility import NUMPY_PARTS, allow_checkpoint_types, no_bytes

WRAPPERS = ('state_dict', 'model')  # under which a file keeps its weights; OpenMMLab's name, detectron2's
TORCH, SAFETENSORS, PICKLE = 'torch', 'safetensors', 'pickle'
# How files of torch.save begin: zip archives, and, from before torch 1.6, a pickle of this number in any protocol
_ZIP, _NUMBER = b'PK\x03\x04', b'\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.'
_CURE = (
    'Nothing of it was run. If you trust where it comes from, keep its weights alone: '
    'torch.save(dict(state_dict=...), ...) in a process of your own'
)


def _bytes_of(text: str, encoding: str) -> bytes:
    """What ``_codecs.encode`` is for in a pickle of protocol 2: bytes, written as text."""
    if encoding != 'latin1':
        raise pickle.UnpicklingError(f'it asks for the codec {encoding!r}')
    return text.encode(encoding)


# What detectron2's pickles consist of beside numbers, strings and containers
PLAIN = {
    **NUMPY_PARTS,
    ('collections', 'OrderedDict'): OrderedDict,
    ('_codecs', 'encode'): _bytes_of,
    ('__builtin__', 'bytes'): no_bytes,
}


class PlainUnpickler(pickle.Unpickler):
    """Makes arrays and plain containers only."""

    def find_class(self, module: str, name: str) -> Any:
        """The class or function that a pickle asks for; all but those of ``PLAIN`` are refused."""
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
    return state_dict_of(read_checkpoint(path, map_location), path, map_location)


def state_dict_of(content: Any, path: str | Path, map_location: str | None = 'cpu') -> dict[str, Tensor]:
    """The weights in the content of a file; arrays become tensors.

    Raises:
        ValueError: there are none, or other things among them.
    """
    content = _weights(content)
    if not isinstance(content, Mapping):
        raise ValueError(f'{path} holds {type(content).__name__}, not weights by name')
    state, other = {}, []
    for name, value in content.items():
        if isinstance(value, np.ndarray) and value.dtype.kind in 'fiub':
            array = value.view(np.ndarray).astype(value.dtype.newbyteorder('='))
            state[name] = torch.from_numpy(array).to(map_location or 'cpu')
        elif isinstance(value, np.generic) and value.dtype.kind in 'fiub':
            state[name] = torch.tensor(value).to(map_location or 'cpu')
        elif isinstance(value, Tensor):
            state[name] = value
        else:
            other.append(f'{name} ({type(value).__name__})')
    if other or not state:
        raise ValueError(f'{path} holds no weights by name, but {", ".join(map(str, other[:5])) or "nothing"}')
    return state


def _weights(content: Any) -> Any:
    """What a file's content keeps as its weights."""
    for wrapper in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    return content


def kind_of(path: str | Path) -> str:
    """Which of the three formats a file has, by its first bytes; what begins as none of them is no pickle, either."""
    path = Path(path)
    with path.open('rb') as stream:
        start = stream.read(32)
    if start.startswith(_ZIP) or start.startswith(b'\x80') and _NUMBER in start:
        return TORCH
    length = int.from_bytes(start[:8], 'little')  # of the header of a safetensors file, which is JSON
    if path.suffix.lower() == '.safetensors' or start[8:9] == b'{' and length <= path.stat().st_size:
        return SAFETENSORS
    return PICKLE


def read_checkpoint(path: str | Path, map_location: Any = 'cpu') -> Any:
    """All that a file of weights holds, as its program saved it; NumPy's arrays in the place of tensors in a pickle of
    detectron2. Whatever the name of the file is, nothing in it is run.

    Args:
        path: the file.
        map_location: as for ``torch.load``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is broken, or asks for more than numbers, texts and containers.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'the weights {path} do not exist')
    kind = kind_of(path)
    if kind == SAFETENSORS:
        return _read_safetensors(path, map_location)
    return _read_torch(path, map_location) if kind == TORCH else _read_pickle(path)


def _read_safetensors(path: Path, map_location: Any) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(str(path), device=str(map_location or 'cpu'))
    except (SafetensorError, OSError, ValueError, KeyError, RuntimeError, MemoryError) as error:
        raise ValueError(f'{path} is not a complete safetensors file ({error}). Nothing of it was run') from error


def _read_torch(path: Path, map_location: Any) -> Any:
    _reject_compressed(path)
    allow_checkpoint_types()  # once more: some versions of MMEngine disallow them again after loading a file
    try:
        with path.open('rb') as stream:  # a name would tell some versions of torch that it is a safetensors file
            content = torch.load(stream, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f'{path} is not a file of weights that can be read safely: {_reason(error)}. {_CURE}'
        ) from error
    except Exception as error:  # a damaged file can make torch raise anything
        raise ValueError(
            f'{path} is damaged, or not a file of weights that can be read safely: {_reason(error)}. '
            'Nothing of it was run'
        ) from error
    size = path.stat().st_size
    for name, tensor in _tensors(content):
        if tensor.layout == torch.strided and tensor.device.type != 'meta' and tensor.nbytes > size:
            raise ValueError(
                f'{path} is refused: its {name} claims {tensor.nbytes} bytes, but all of the file has {size}'
            )
    return content


def _reason(error: Exception) -> str:
    """torch's message without its advice, which is to switch the check off."""
    lines = [
        line.strip()
        for line in str(error).partition('WeightsUnpickler error: ')[2].splitlines() or str(error).splitlines()
    ]
    advice = ('Weights only load failed', '(1)', '(2)', 'Please file an issue', 'Check the documentation')
    line = next((line for line in lines if line and not line.startswith(advice)), type(error).__name__)
    return line.partition(' Please use')[0].rstrip('. ')


def _reject_compressed(path: Path) -> None:
    """torch.save compresses nothing. What is compressed may be a thousand times as large in memory as in the file."""
    if not zipfile.is_zipfile(path):
        return  # of before torch 1.6, or cut off; torch says so
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as error:
        raise ValueError(f'{path} is damaged: {error}') from error
    compressed = [entry.filename for entry in entries if entry.compress_type != zipfile.ZIP_STORED]
    total = sum(entry.file_size for entry in entries)
    if compressed or total > path.stat().st_size:
        fault = f'{compressed[0]} in it is compressed' if compressed else 'its parts overlap'
        raise ValueError(
            f'{path} is refused: {fault}, and all would take {total} bytes; torch.save writes no such '
            'files. Save the weights anew'
        )


def _tensors(content: Any) -> Iterator[tuple[str, Tensor]]:
    """All tensors of nested containers, with a name for messages."""
    waiting, visited = [('content', content)], set()
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, Tensor):
            yield name, value
        elif (
            isinstance(value, (Mapping, Sequence)) and not isinstance(value, (str, bytes)) and id(value) not in visited
        ):
            visited.add(id(value))
            waiting += [
                (str(key), part) for key, part in (value.items() if isinstance(value, Mapping) else enumerate(value))
            ]


def _read_pickle(path: Path) -> Any:
    with path.open('rb') as stream:
        try:
            return PlainUnpickler(stream, encoding='latin1').load()
        except Exception as error:  # a pickle that is made for it can raise anything
            raise ValueError(
                f'{path} is refused: a pickle of weights holds arrays and plain containers, but '
                f'{error or type(error).__name__}. Nothing of it was run'
            ) from error
