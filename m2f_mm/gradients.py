"""Gradients for parameters that a step has no use for."""

from torch import Tensor


def with_zero_gradients(value: Tensor, *tensors: Tensor) -> Tensor:
    """The value, whose backward pass gives ``tensors``, and all that they depend on, a gradient of zero.

    Distributed training waits for a gradient of every parameter, also of those that do not contribute to the losses of
    a step.
    """
    return value + 0 * sum(tensor.sum() for tensor in tensors)
