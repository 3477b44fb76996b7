"""Activation checkpointing: time for memory."""
from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

CHECKPOINTING = ('none', 'ffn', 'full')


def check_checkpointing(value: str) -> str:
    """One of ``CHECKPOINTING``: keep everything, forget the hidden layer of feed-forward networks, forget all but the
    inputs of layers.

    Raises:
        ValueError: for anything else.
    """
    if value not in CHECKPOINTING:
        raise ValueError(f'checkpointing must be one of {CHECKPOINTING}, got {value!r}')
    return value


def recompute(wanted: bool, function: Callable[..., Tensor], *inputs) -> Tensor:
    """``function(*inputs)``; if wanted, its activations are made again in the backward pass instead of kept.

    The function must not draw random numbers.
    """
    if not (wanted and torch.is_grad_enabled()):
        return function(*inputs)
    return checkpoint(function, *inputs, use_reentrant=False, preserve_rng_state=False)
