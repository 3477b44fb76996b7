"""What MMEngine and mmcv have to be told once, when ``m2f_mm`` is imported: MMEngine, to work with current torch; mmcv,
to resize images of any number of channels, depth and shape.

A file of weights is a pickle, and NumPy's own parts of one are not safe to hand out: with ``numpy.ndarray`` and
``numpy.dtype`` a file can make an array of objects out of plain bytes, which is memory that the file's author chose.
The classes here take their places: arrays of numbers and texts are made, nothing else.
"""

import pickle
import re
from typing import Any

import numpy as np
import torch
from mmcv.transforms import Resize
from mmengine.logging import HistoryBuffer
from mmengine.runner import checkpoint

NUMPY_MODULES = ('numpy.core.multiarray', 'numpy._core.multiarray')  # NumPy 2 moved them; a file may be of either


class PickledType:
    """Stands for ``numpy.dtype`` while a pickle is read: numbers, truth values and texts only."""

    def __init__(self, code: str, *_):
        if not re.fullmatch(r'[<>|=]?([fiub][1248]|[SU]\d{1,6})', str(code)):
            raise pickle.UnpicklingError(f'it asks for arrays of {code!r}')
        self.code = str(code)

    def __setstate__(self, state: tuple) -> None:
        order = state[1]
        self.code = f'{order if order in ("<", ">") else ""}{self.code.lstrip("<>|=")}'


class PickledArray(np.ndarray):
    """Stands for ``numpy.ndarray`` while a pickle is read. An array like any other, that is pickled as a plain one."""

    def __new__(cls, *_):
        """Refuse what the constructor of ``numpy.ndarray`` would allow."""
        raise pickle.UnpicklingError('it asks for numpy.ndarray(...), which takes memory as it is')

    def __setstate__(self, state: tuple) -> None:
        """
        Raises:
            ValueError: shape, type and bytes do not fit together.
        """
        try:
            _, shape, kind, fortran, content = state
            array = _from_bytes(kind, content).reshape(shape, order='F' if fortran else 'C')
        except (TypeError, AttributeError) as error:
            raise ValueError(f'an array is incomplete ({error})') from error
        # Its own __setstate__ copies the bytes; it is given what was checked
        super().__setstate__((1, array.shape, array.dtype, bool(fortran), array.tobytes('F' if fortran else 'C')))

    def __reduce_ex__(self, protocol: int) -> Any:
        return self.view(np.ndarray).__reduce_ex__(protocol)


def reconstruct(*_) -> PickledArray:
    """Stands for NumPy's function that makes an empty array, which gets its content afterwards."""
    return np.ndarray.__new__(PickledArray, 0, np.uint8)


def scalar(kind: PickledType, content: bytes | str) -> np.generic:
    """Stands for NumPy's function of that name.

    Raises:
        ValueError: type and bytes do not fit together.
    """
    try:
        return _from_bytes(kind, content).reshape(())[()]
    except (TypeError, AttributeError) as error:
        raise ValueError(f'a number is incomplete ({error})') from error


def _from_bytes(kind: PickledType | np.dtype, content: bytes | str) -> np.ndarray:
    """1-D array over the bytes."""
    # A caller may have allowed NumPy's own dtype. Of one only the name is taken.
    code = kind.code if isinstance(kind, PickledType) else PickledType(kind.str).code
    content = content.encode('latin1') if isinstance(content, str) else content  # written by Python 2
    return np.frombuffer(content, code)


def no_bytes() -> bytes:
    """How protocol 2 writes empty bytes."""
    return b''


# What stands for NumPy's parts of a pickle, by module and name
NUMPY_PARTS: dict[tuple[str, str], Any] = {('numpy', 'ndarray'): PickledArray, ('numpy', 'dtype'): PickledType}
for _module in NUMPY_MODULES:
    NUMPY_PARTS[_module, '_reconstruct'] = reconstruct
    NUMPY_PARTS[_module, 'scalar'] = scalar


def checks_are_complete() -> bool:
    """Whether this torch can be told what a file may hold: 2.6 and later. In earlier ones ``weights_only=True`` itself
    can be made to run code (CVE-2025-32434)."""
    return hasattr(torch.serialization, 'get_unsafe_globals_in_checkpoint')


def allow_checkpoint_types() -> None:
    """Let ``torch.load(weights_only=True)`` read what MMEngine writes into a checkpoint beside tensors.

    These are the logs (``HistoryBuffer``: two NumPy arrays and the names of its statistics), and arrays and numbers of
    NumPy, such as the best score. Since torch 2.6 loading refuses unknown types, and MMEngine 0.10.7 can no longer
    resume. The check stays on: nothing listed here runs code of the file's choosing.
    """
    if not checks_are_complete():  # earlier ones do not check by default, and cannot be told names
        return
    allowed: list[Any] = [HistoryBuffer, (history_buffer_method, 'builtins.getattr'), (no_bytes, 'builtins.bytes')]
    allowed += [(part, f'{module}.{name}') for (module, name), part in NUMPY_PARTS.items()]
    # All types that can come up are known, by names that no file can have: a name ends with its line.
    types = [PickledArray, PickledType, *{type(np.dtype(code)) for code in '?bBhHiIlLqQefdSU'}]
    allowed += [(kind, f'only as a value\n{kind.__name__}') for kind in types]
    torch.serialization.add_safe_globals(allowed)
    # MMEngine's newer releases give the same names to NumPy's own parts for the time of a load. Which of two entries of
    # one name counts would be chance, and NumPy's parts do not work with the stand-ins: these alone are left.
    if hasattr(checkpoint, 'get_torch_safe_globals'):
        checkpoint.get_torch_safe_globals = _beside_ours


def _beside_ours() -> list[Any]:
    """What MMEngine allows and is not among the stand-ins."""
    return [slice]


def history_buffer_method(owner: Any, name: str) -> Any:
    """Stand-in for ``getattr`` while a checkpoint is read: it hands out HistoryBuffer's statistics and no more.

    A pickled HistoryBuffer refers to its methods as ``getattr(HistoryBuffer, 'mean')``. The real ``getattr`` would
    let a file reach any object from there.
    """
    known = {'min', 'max', 'current', 'mean'} | set(HistoryBuffer._statistics_methods)
    if owner is not HistoryBuffer or name not in known:
        raise ValueError(
            f"the checkpoint asks for {name!r} of {owner!r}; only the statistics of MMEngine's "
            'HistoryBuffer may be read. Do not trust this file'
        )
    return getattr(HistoryBuffer, name, None) or HistoryBuffer._statistics_methods[name]


def resize_any_image() -> None:
    """Let the transforms named ``Resize``, of mmcv, MMDetection and MMSegmentation, do what ``m2f_mm.Resize`` does.
    What the latter two add, masks and fields of label maps, follows where they are imported, see
    ``integrations.mmdet_datasets`` and ``integrations.mmseg_datasets``.

    With ``backend='pillow'``, as all configs here have it, mmcv's takes a fourth channel for transparency and makes
    the others black where it is 0, and it fails at more than 8 bits. The name has to stay: inferencers (SAHI's) look
    for it in a pipeline. Images of uint8 with three channels are resized to the same bits as ever.
    """
    Resize._resize_img, Resize._resize_seg = _resize_img, _resize_seg


def _resize_img(self: Resize, results: dict) -> None:
    from .datasets.transforms.resizing import resize_results

    resize_results(self, results)


def _resize_seg(self: Resize, results: dict) -> None:
    from .datasets.transforms.resizing import resize_maps

    resize_maps(self, results)
