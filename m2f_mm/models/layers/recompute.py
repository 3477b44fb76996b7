"""Time for memory: what is made again in the backward pass instead of kept for it."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple
from weakref import ReferenceType, ref

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import checkpoint

ACTIVATION_CHECKPOINTING = ('none', 'norms', 'ffn', 'full')


def check_activation_checkpointing(value: str) -> str:
    """One of ``ACTIVATION_CHECKPOINTING``: keep everything; make again what costs next to nothing; the hidden layer of
    feed-forward networks, too; all but the inputs of layers.

    Raises:
        ValueError: for anything else.
    """
    if value not in ACTIVATION_CHECKPOINTING:
        raise ValueError(f'activation_checkpointing must be one of {ACTIVATION_CHECKPOINTING}, got {value!r}')
    return value


def recompute(wanted: bool, function: Callable[..., Tensor], *inputs, random: bool = False) -> Tensor:
    """``function(*inputs)``; if wanted, its activations are made again in the backward pass instead of kept.

    ``random`` says that the function draws random numbers, as dropout does: they are then drawn alike again.
    """
    if not (wanted and torch.is_grad_enabled()) or torch.jit.is_tracing():
        return function(*inputs)
    return checkpoint(function, *inputs, use_reentrant=False, preserve_rng_state=random)


Remade = Callable[..., Tensor]  # calls its first argument with the others


def call(function: Callable[..., Tensor], *inputs) -> Tensor:
    return function(*inputs)


def remaking(wanted: bool) -> AbstractContextManager[Remade]:
    """A context that gives ``remade``: of the result of ``remade(function, *inputs)`` autograd then keeps the inputs.

    A linear layer keeps its input for the gradient of its weights. Where that is the output of a norm, the norm keeps
    an input of the same size: in this context only the latter stays, and the former is made again when the gradient is
    due. For functions that cost next to nothing beside the layer behind them, whose inputs are kept anyway, and which
    change nothing and draw no random numbers. A compiler makes this choice itself, and a trace has no backward pass.
    """
    if wanted and torch.is_grad_enabled() and not (torch.compiler.is_compiling() or torch.jit.is_tracing()):
        return Remaking()
    return nullcontext(call)


class Recipe(NamedTuple):
    """How a tensor is made; the inputs are tensors or made themselves."""

    function: Callable[..., Tensor]
    inputs: 'tuple[Tensor | SavedView, ...]'


class SavedView(NamedTuple):
    """What autograd holds instead of a view of such a tensor."""

    recipe: Recipe
    size: Sequence[int]
    stride: Sequence[int]
    offset: int


class Remaking:
    """See ``remaking``."""

    def __init__(self):
        self.recipes: dict[int, tuple[ReferenceType[Tensor], Recipe]] = {}  # by the address of the result
        self.hooks: saved_tensors_hooks | None = None

    def __enter__(self) -> Remade:
        self.hooks = saved_tensors_hooks(self._pack, unpack)
        self.hooks.__enter__()
        return self._remade

    def __exit__(self, *error) -> None:
        self.hooks.__exit__(*error)
        self.hooks = None  # it refers to this object
        self.recipes.clear()

    def _remade(self, function: Callable[..., Tensor], *inputs) -> Tensor:
        result = function(*inputs)
        if self.hooks is None:  # called again in the backward pass, by a checkpoint
            return result
        recipe = Recipe(function, tuple(self._pack(x) for x in inputs))
        self.recipes[address(result)] = ref(result), recipe
        return result

    def _pack(self, tensor: Tensor) -> Tensor | SavedView:
        result, recipe = self.recipes.get(address(tensor), (None, None))
        if recipe is None or result() is None:  # without the result, its address may be another tensor's
            return tensor.detach()  # an operator's output would hold its own graph for ever
        return SavedView(recipe, tensor.size(), tensor.stride(), tensor.storage_offset())


def unpack(saved: Tensor | SavedView) -> Tensor:
    if isinstance(saved, Tensor):
        return saved
    function, inputs = saved.recipe
    with torch.no_grad():
        result = function(*map(unpack, inputs))
    return result.as_strided(saved.size, saved.stride, saved.offset)


def address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
