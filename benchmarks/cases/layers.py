"""Deformable attention on a CPU: the weighted sum of samples alone, as the pixel decoder calls it.

Peer: mmcv's PyTorch function, which MMDetection uses without a GPU. Three levels (1/8, 1/16, 1/32 of the image),
8 heads of 32 channels, 4 points, a query per token. Equal: the result, and the gradients of values, locations and
weights. No target of its own: it is what the other cases rest on.
"""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from benchmarks.harness import Row, Scale, compare, relative_difference

HEADS, CHANNELS, POINTS = 8, 32, 4


def rows(scale: Scale) -> Iterator[Row]:
    for size in scale.sizes(512, 1024):
        shapes, tensors = inputs(size, scale.device)
        for part, run in (('forward', forward), ('forward and backward', forward_and_backward)):
            yield from compare(
                'layers',
                f'deformable attention, {part}, {size} x {size}',
                "mmcv's PyTorch function",
                partial(run, our_function(), shapes, tensors),
                partial(run, their_function(), shapes, tensors),
                equal,
                metrics=scale.metrics,
                repeats=scale.repeats,
            )


def our_function() -> Callable:
    from m2f_mm.models.layers.ms_deform_attn import sample_levels

    return sample_levels


def their_function() -> Callable:
    from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch

    return multi_scale_deformable_attn_pytorch


def inputs(size: int, device: str) -> tuple[list[tuple[int, int]], list[Tensor]]:
    """Sizes of the levels; values (1, V, M, D), locations (1, V, M, L, K, 2) near each token, weights
    (1, V, M, L, K)."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(size // stride, size // stride) for stride in (32, 16, 8)]
    centres = torch.cat(
        [torch.cartesian_prod(*(torch.arange(side).add(0.5) / side for side in shape)).flip(1) for shape in shapes]
    )
    tokens, levels = len(centres), len(shapes)
    spread = torch.randn(1, tokens, HEADS, levels, POINTS, 2, generator=generator) * 0.05
    values = torch.randn(1, tokens, HEADS, CHANNELS, generator=generator)
    weights = torch.randn(1, tokens, HEADS, levels * POINTS, generator=generator).softmax(-1)
    tensors = [values, centres[None, :, None, None, None] + spread, weights.unflatten(-1, (levels, POINTS))]
    return shapes, [tensor.to(device).requires_grad_() for tensor in tensors]


@torch.no_grad()
def forward(function: Callable, shapes: list[tuple[int, int]], tensors: list[Tensor]) -> list[Tensor]:
    values, locations, weights = tensors
    return [function(values, shapes, locations, weights)]


def forward_and_backward(function: Callable, shapes: list[tuple[int, int]], tensors: list[Tensor]) -> list[Tensor]:
    """The result and the three gradients."""
    values, locations, weights = tensors
    result = function(values, shapes, locations, weights)
    return [result.detach(), *torch.autograd.grad(result.square().mean(), tensors)]


def equal(ours: list[Tensor], theirs: list[Tensor]) -> str:
    worst = max(relative_difference(a, b) for a, b in zip(ours, theirs, strict=True))
    assert worst <= 1e-3, f'results or gradients differ by {worst:.1e} of the largest value'
    return f'result and gradients within {worst:.0e}' if len(ours) > 1 else f'result within {worst:.0e}'
