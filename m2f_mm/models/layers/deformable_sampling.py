"""The weighted sum of bilinear samples at the heart of deformable attention (Deformable DETR, equation 3), and the one
place that chooses how it is computed.

Shapes: B images, N queries, V value tokens of all levels, M heads, D channels of a head, L levels, K points.
"""

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from typing import NamedTuple

import torch
from mmcv.ops import get_compiling_cuda_version
from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttnFunction, multi_scale_deformable_attn_pytorch
from torch import Tensor

from .sparse_sampling import SparseSampling
from .tracing import is_exported

Shapes = Sequence[tuple[int, int]]
BACKENDS = ('auto', 'mmcv', 'deformops', 'sparse', 'pytorch')


def sample_levels(
    value: Tensor,
    spatial_shapes: 'Shapes | Levels',
    locations: Tensor,
    weights: Tensor,
    im2col_step: int = 64,
    backend: str = 'auto',
) -> Tensor:
    """Sum over levels and points of weight times bilinear sample, zero outside of a level.

    Args:
        value: (B, V, M, D), the levels one after the other, each row-major.
        spatial_shapes: (height, width) of each level, or ``levels_of`` them; the products add up to V.
        locations: (B, N, M, L, K, 2) as x, y in 0..1 of each level; 0 is the left edge of the first pixel.
        weights: (B, N, M, L, K).
        im2col_step: images that mmcv's operator takes at once.
        backend: see ``choose_backend``.

    Returns:
        (B, N, M * D).
    """
    levels = levels_of(spatial_shapes, value.device)
    backend = choose_backend(backend, value.device.type)
    if backend == 'sparse' and (is_exported() or torch.compiler.is_compiling() and torch.is_grad_enabled()):
        backend = 'pytorch'  # SciPy, in the other's backward pass, is nothing that a compiler can look into
    if backend == 'sparse':
        return SparseSampling.apply(value, locations, weights, levels.shapes)
    if backend == 'pytorch':
        return multi_scale_deformable_attn_pytorch(value, levels.shapes, locations, weights)
    if backend == 'deformops':
        from deformops.registry import msda

        return msda(value, levels.shape_tensor, levels.starts, locations, weights.flatten(3))
    batch = value.shape[0]
    step = next(step for step in range(min(batch, im2col_step), 0, -1) if batch % step == 0)  # the kernel's demand
    return MultiScaleDeformableAttnFunction.apply(
        value.contiguous(), levels.shape_tensor, levels.starts, locations.contiguous(), weights.contiguous(), step
    )


@cache
def choose_backend(backend: str, device: str) -> str:
    """Which of the implementations runs.

    - ``'mmcv'``: mmcv's CUDA operator, the default on a GPU;
    - ``'deformops'``: the kernels of the package of that name (Python >= 3.12, torch >= 2.11), second choice on a GPU;
    - ``'sparse'``: ``SparseSampling``, the default on a CPU, except where training is compiled;
    - ``'pytorch'``: mmcv's PyTorch function, everywhere else.

    Raises:
        ValueError: it is unknown, or cannot run on ``device``.
    """
    usable = dict(
        mmcv=device == 'cuda' and get_compiling_cuda_version() != 'not available',
        deformops=find_spec('deformops') is not None,
        sparse=device == 'cpu',
        pytorch=True,
    )
    if backend == 'auto':
        candidates = ('sparse', 'pytorch') if device != 'cuda' else ('mmcv', 'deformops', 'pytorch')
        return next(name for name in candidates if usable[name])
    if backend not in usable:
        raise ValueError(f'deformable attention: backend must be one of {BACKENDS}, got {backend!r}')
    if not usable[backend]:
        cure = dict(
            mmcv='it needs a GPU and an mmcv compiled with CUDA (python tools/doctor.py tells)',
            deformops='pip install deformops (Python >= 3.12, torch >= 2.11)',
            sparse='it is for CPUs only',
        )
        raise ValueError(
            f'deformable attention: backend {backend!r} does not run on {device!r}: {cure[backend]}. '
            "backend='auto' takes the best that there is"
        )
    return backend


class Levels(NamedTuple):
    """Sizes of the levels, for the host and on the device.

    Args:
        shapes: (height, width) of each level.
        sizes: width and height, float32 (L, 2).
        shape_tensor: height and width, int64 (L, 2).
        starts: first token, int64 (L,).
    """

    shapes: tuple[tuple[int, int], ...]
    sizes: Tensor
    shape_tensor: Tensor
    starts: Tensor


def levels_of(shapes: Shapes | Levels, device: torch.device) -> Levels:
    """Levels of these (height, width); made once for all layers of a forward pass.

    Filled on the device, number by number: nothing waits for it, and sizes may be symbols of an export. They are not
    kept from call to call, where tensors of a trace or an export would outlive it.
    """
    if isinstance(shapes, Levels):
        return shapes
    lengths = [length for shape in shapes for length in shape]
    tensor = torch.stack([_scalar(length, device) for length in lengths]).view(-1, 2)
    starts = torch.cat((tensor.new_zeros(1), tensor.prod(1).cumsum(0)[:-1]))
    return Levels(tuple(shapes), tensor.flip(1).float(), tensor, starts)


def _scalar(value: int | Tensor, device: torch.device) -> Tensor:
    """int64 (); sizes are tensors while ``torch.jit.trace`` runs."""
    if isinstance(value, Tensor):
        return value.to(device)
    return torch.full((), value, dtype=torch.long, device=device)
