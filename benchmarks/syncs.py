"""Where a program would make host and device wait for each other, counted without a device.

On a CPU every tensor is on the host already, so ``.cpu()`` or ``.to(device)`` leave no trace in what is computed. The
counter therefore keeps book of the tensors that a GPU run would have on the host: what ``from_numpy``, a factory
without ``device``, ``.cpu()`` and anything computed from these alone give. All others count as the device's.
"""

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode, resolve_name
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

# Operators whose result or its size has to reach the host.
WAITING = {
    '_local_scalar_dense',
    'nonzero',
    '_unique',
    '_unique2',
    'unique_dim',
    'unique_consecutive',
    'masked_select',
    'repeat_interleave.Tensor',
    'bincount',
    'equal',
    'allclose',
}
TO_HOST = {'cpu', 'numpy', 'tolist', '__array__'}
MADE_ON_HOST = {
    'tensor',
    'as_tensor',
    'zeros',
    'ones',
    'empty',
    'full',
    'arange',
    'linspace',
    'eye',
    'rand',
    'randn',
    'randint',
    'randperm',
    'scalar_tensor',
}
MADE_ON_DEVICE = {'new_tensor'}


@dataclass
class Syncs:
    """What was counted.

    Args:
        where: how often, by operation and the line of code that asked for it.
    """

    where: Counter = field(default_factory=Counter)

    @property
    def total(self) -> int:
        return sum(self.where.values())

    def __str__(self) -> str:
        return '\n'.join(f'{count:5d}  {name}' for name, count in self.where.most_common())


def count_syncs(run: Callable[[], object]) -> Syncs:
    """Everything in ``run`` that would wait for a device, if the tensors that exist before were on one."""
    syncs = Syncs()
    calls = Calls(syncs)
    from_numpy = torch.from_numpy  # the one factory that function modes do not see

    def marked(array: np.ndarray) -> Tensor:
        return calls.mark(from_numpy(array), True)

    with patch.object(torch, 'from_numpy', marked), calls, Operators(syncs, calls):
        run()
    return syncs


class Calls(TorchFunctionMode):
    """Calls from Python: copies between host and device, which leave no operator behind on a CPU."""

    def __init__(self, syncs: Syncs):
        super().__init__()
        self.syncs = syncs
        self.host = WeakTensorKeyDictionary()
        self.depth_on_host = 0  # the operators inside of a call on host tensors do not wait for the device

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = getattr(func, '__name__', str(func))
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        device = kwargs.get('device')
        if name in MADE_ON_HOST and not tensors:
            if device is not None and name in ('tensor', 'as_tensor'):
                self.copy(name)
            return self.mark(func(*args, **kwargs), device is None)
        if name in MADE_ON_DEVICE:
            self.copy(name)
            return func(*args, **kwargs)
        on_host = bool(tensors) and all(tensor in self.host for tensor in tensors)
        to_host = False
        if name in TO_HOST and not on_host:
            to_host = True
            self.copy(name)
        elif name in ('to', 'cuda') or name in MADE_ON_HOST:
            target = destination(name, args[1:], kwargs)
            if target is not None and on_host:
                self.copy(f'{name}(device)')
                return another(func(*args, **kwargs), args[0])
            to_host = target == 'cpu' and not on_host
            if to_host:
                self.copy(f'{name}(cpu)')
        elif name in ('__getitem__', '__setitem__') and not on_host:
            for index in tree_leaves(args[1], is_leaf=lambda x: isinstance(x, list)):
                if isinstance(index, list | np.ndarray) or (
                    isinstance(index, Tensor) and index.dim() and index in self.host
                ):
                    self.copy(f'{name}(index from the host)')
        elif name == 'copy_' and not on_host and args[1] in self.host and args[1].dim():
            self.copy(name)
        self.depth_on_host += on_host or to_host
        try:
            result = func(*args, **kwargs)
        finally:
            self.depth_on_host -= on_host or to_host
        return self.mark(another(result, args[0]) if to_host else result, on_host or to_host)

    def mark(self, result, host: bool):
        if host:
            for leaf in tree_leaves(result):
                if isinstance(leaf, Tensor):
                    self.host[leaf] = True
        return result

    def copy(self, name: str) -> None:
        self.syncs.where[f'{name}  {caller()}'] += 1


def another(result, source: Tensor):
    """The copy, a tensor of its own even where a CPU gives back the same one."""
    return result.view_as(result) if result is source else result


def destination(name: str, args: tuple, kwargs: dict) -> str | None:
    """The device that ``.to`` names: 'cpu' where it is named so in words, 'device' for a variable, None for none."""
    if name == 'cuda':
        return 'device'
    for value in (*args, *kwargs.values()):
        if isinstance(value, str):
            return 'cpu' if value == 'cpu' else 'device'
        if isinstance(value, torch.device):
            return 'device'
    return None


class Operators(TorchDispatchMode):
    """Operators, also those of the backward pass and inside of other operators, that need a number on the host."""

    def __init__(self, syncs: Syncs, calls: Calls):
        super().__init__()
        self.syncs = syncs
        self.calls = calls

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = resolve_name(func) or str(func)
        name = name.removeprefix('aten::').removeprefix('aten.').removesuffix('.default')
        if not self.calls.depth_on_host:
            plain = name.partition('.')[0]
            if name in WAITING or plain in WAITING - {'repeat_interleave'}:
                if name != 'repeat_interleave.Tensor' or (kwargs or {}).get('output_size') is None:
                    self.syncs.where[f'{name}  {caller()}'] += 1
            elif plain in ('index', 'index_put', 'index_put_', '_index_put_impl_'):
                masks = [index for index in args[1] if index is not None and index.dtype in (torch.bool, torch.uint8)]
                if not (len(masks) == 1 and plain != 'index' and args[2].numel() == 1):  # that fills, without waiting
                    self.syncs.where.update([f'{plain}(mask)  {caller()}'] * len(masks))
        return func(*args, **kwargs or {})


def caller() -> str:
    """File and line of the nearest frame outside of PyTorch and of this file."""
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if '/torch/' not in name and name != __file__:
            return f'{"/".join(name.split("/")[-3:])}:{frame.f_lineno}'
        frame = frame.f_back
    return 'backward'
