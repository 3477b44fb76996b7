"""A stand-in for deformable attention's CUDA operator, for what can be counted without one.

It keeps for the backward pass what mmcv's operator keeps, and asks the host for nothing. What it computes is no
attention, but the same on both sides.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import torch
from torch import Tensor


class CountedOperator(torch.autograd.Function):
    """Keeps for backward what the CUDA operator of deformable attention keeps; the encoder's shapes only."""

    @staticmethod
    def forward(ctx, value: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(value, locations, weights)
        return value.flatten(2).clone()  # as many queries as values

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        value, locations, weights = ctx.saved_tensors
        return grad.view_as(value), torch.zeros_like(locations), torch.zeros_like(weights)


def counted_operator(value: Tensor, shapes, locations: Tensor, weights: Tensor, *args, **kwargs) -> Tensor:
    return CountedOperator.apply(value.contiguous(), locations.contiguous(), weights.contiguous())


@contextmanager
def operator_counted() -> Iterator[None]:
    """Deformable attention of both sides keeps what the CUDA operator would."""
    from m2f_mm.models.layers import ms_deform_attn

    with (
        patch.object(ms_deform_attn, 'sample_levels', counted_operator),
        patch('mmcv.ops.multi_scale_deform_attn.multi_scale_deformable_attn_pytorch', counted_operator),
    ):
        yield
