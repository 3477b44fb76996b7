"""Time for memory: activations that are recomputed in the backward pass instead of kept for it."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple
from weakref import ReferenceType, ref

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import checkpoint
from torch.utils.hooks import RemovableHandle

ACTIVATION_CHECKPOINTING = ('none', 'norms', 'ffn', 'full')


def check_activation_checkpointing(value: str) -> str:
    """One of ``ACTIVATION_CHECKPOINTING``: keep everything; recompute what costs next to nothing; the hidden layer of
    feed-forward networks, too; all but the inputs of layers.

    Raises:
        ValueError: for anything else.
    """
    if value not in ACTIVATION_CHECKPOINTING:
        raise ValueError(f'activation_checkpointing must be one of {ACTIVATION_CHECKPOINTING}, got {value!r}')
    return value


def recompute(enabled: bool, function: Callable[..., Tensor], *inputs, random: bool = False) -> Tensor:
    """``function(*inputs)``; if enabled, its activations are recomputed in the backward pass instead of kept.

    ``random`` says that the function draws random numbers, as dropout does: they are then drawn alike again.
    """
    if not (enabled and torch.is_grad_enabled()) or torch.jit.is_tracing():
        return function(*inputs)
    return checkpoint(function, *inputs, use_reentrant=False, preserve_rng_state=random)


def recompute_outputs(modules: Iterable[nn.Module], enabled: bool = True) -> AbstractContextManager:
    """A context in which autograd keeps the inputs of these modules in the place of their outputs.

    A linear layer keeps its input for the gradient of its weights. Where that is the output of a norm, the norm keeps
    an input of the same size: in this context only the latter stays, and the former is recomputed when the gradient is
    due. For modules that cost next to nothing beside the layer behind them, whose inputs are kept anyway, and which
    change nothing and draw no random numbers. A compiler makes this choice itself, and a trace has no backward pass.
    """
    if enabled and torch.is_grad_enabled() and not (torch.compiler.is_compiling() or torch.jit.is_tracing()):
        return OutputRecomputation(modules)
    return nullcontext()


class Recomputation(NamedTuple):
    """How a tensor is recomputed; the inputs are tensors or recomputed themselves."""

    function: Callable[..., Tensor]
    inputs: 'tuple[Tensor | RecomputedTensor, ...]'


class RecomputedTensor(NamedTuple):
    """What autograd holds instead of an output of one of the modules, or of a view of it."""

    recomputation: Recomputation
    size: Sequence[int]
    stride: Sequence[int]
    offset: int


class OutputRecomputation:
    """See ``recompute_outputs``: forward hooks on the modules note how each output is made, and autograd's hooks for
    saved tensors hold that instead of the output."""

    def __init__(self, modules: Iterable[nn.Module]):
        self.modules = list(modules)
        self.outputs: dict[int, tuple[ReferenceType[Tensor], Recomputation]] = {}  # by address
        self.handles: list[RemovableHandle] = []
        self.saved_tensors: saved_tensors_hooks | None = None

    def __enter__(self) -> 'OutputRecomputation':
        self.handles = [module.register_forward_hook(self._note) for module in self.modules]
        self.saved_tensors = saved_tensors_hooks(self._pack, unpack)
        self.saved_tensors.__enter__()
        return self

    def __exit__(self, *error) -> None:
        if self.saved_tensors is not None:
            self.saved_tensors.__exit__(*error)
            self.saved_tensors = None  # it refers to this object
        for handle in self.handles:
            handle.remove()
        self.handles.clear()
        self.outputs.clear()

    def _note(self, module: nn.Module, inputs: tuple, output: Tensor) -> None:
        if len(module._forward_hooks) > 1:  # another hook may have replaced the output
            return
        recomputation = Recomputation(module.forward, tuple(self._pack(x) for x in inputs))
        self.outputs[address(output)] = ref(output), recomputation

    def _pack(self, tensor: Tensor) -> Tensor | RecomputedTensor:
        noted = self.outputs.get(address(tensor))
        if noted is None or noted[0]() is None:  # without the output, its address may be another tensor's
            return tensor.detach()  # an operator's output would hold its own graph for ever
        return RecomputedTensor(noted[1], tensor.size(), tensor.stride(), int(tensor.storage_offset()))


def unpack(saved: Tensor | RecomputedTensor) -> Tensor:
    """The tensor that autograd has saved, recomputed without a graph of its own."""
    if isinstance(saved, Tensor):
        return saved
    function, inputs = saved.recomputation
    with torch.no_grad():
        result = function(*map(unpack, inputs))
    return result.as_strided(saved.size, saved.stride, saved.offset)


def address(tensor: Tensor) -> int:
    """Where the numbers of a tensor, or of what it is a view of, begin in memory."""
    return tensor.untyped_storage().data_ptr()
