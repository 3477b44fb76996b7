"""How a forward pass is run: for a result at once, for a backward pass, or to be recorded."""

import torch


def is_exported() -> bool:
    """Whether the network is recorded to run elsewhere (``torch.jit.trace``, ``torch.export``): sizes may be symbols,
    and tensors that are made here belong to the recording."""
    return torch.jit.is_tracing() or getattr(torch.compiler, 'is_exporting', torch.compiler.is_compiling)()


def is_prediction() -> bool:
    """Whether nothing is kept for a backward pass, so that memory may be saved by working in place or in parts.

    Not where the network is recorded: ``torch.jit.trace`` checks itself by a second recording, without gradient, which
    must be the same, and sizes that are symbols say nothing about the number of parts.
    """
    return not torch.is_grad_enabled() and not is_exported()
