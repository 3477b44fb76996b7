"""Multi-scale deformable attention over mmcv's operator (Deformable DETR, equation 3).

Shapes: B images, N queries, V value tokens of all levels, E channels, M heads, L levels, K points.
"""
from collections.abc import Sequence
from functools import cache, lru_cache

import torch
from mmcv.ops import MultiScaleDeformableAttention, get_compiling_cuda_version
from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttnFunction, multi_scale_deformable_attn_pytorch
from torch import Tensor

from m2f_mm.registry import MODELS


@MODELS.register_module()
class MSDeformAttn(MultiScaleDeformableAttention):
    """mmcv's module (its parameters, names and initialisation) with another forward pass.

    Three things differ from mmcv's: shapes are Python integers, so nothing waits for the device; sampling coordinates
    and weights stay float32 under AMP, where fp16 would move samples by up to a pixel and the operator has no bf16
    at all; and the residual connection is left to the caller.
    """

    def __init__(self, embed_dims: int = 256, num_heads: int = 8, num_levels: int = 3, num_points: int = 4):
        super().__init__(embed_dims, num_heads, num_levels, num_points, dropout=0., batch_first=True)

    def forward(self, query: Tensor, value: Tensor, reference_points: Tensor,
                spatial_shapes: Sequence[tuple[int, int]]) -> Tensor:
        """
        Args:
            query: (B, N, E), position encoding included.
            value: (B, V, E), the levels one after the other, each row-major.
            reference_points: (B or 1, N, L, 2) as x, y, or (B or 1, N, L, 4) as cx, cy, w, h, all in 0..1.
            spatial_shapes: (height, width) of each level; the products add up to V.

        Returns:
            (B, N, E), before any residual.
        """
        batch, num_queries, _ = query.shape
        heads = (self.num_heads, self.num_levels, self.num_points)
        value = self.value_proj(value).unflatten(-1, (self.num_heads, -1))  # (B, V, M, E / M)
        weights = self.attention_weights(query).view(batch, num_queries, self.num_heads, -1)
        offsets = self.sampling_offsets(query).view(batch, num_queries, *heads, 2)
        with torch.autocast(query.device.type, enabled=False):
            wide = torch.promote_types(value.dtype, torch.float32)
            weights = weights.to(wide).softmax(-1).view(batch, num_queries, *heads)
            locations = self._locations(reference_points.to(wide), offsets.to(wide), spatial_shapes)
            sampled = sample_levels(value.to(wide), spatial_shapes, locations, weights, self.im2col_step)
        return self.output_proj(sampled.to(value.dtype))

    def _locations(self, reference: Tensor, offsets: Tensor, spatial_shapes: Sequence[tuple[int, int]]) -> Tensor:
        """Where to sample: (B, N, M, L, K, 2) as x, y in 0..1 of each level."""
        reference = reference[:, :, None, :, None]
        if reference.shape[-1] == 4:  # offsets in half-sizes of the box
            return reference[..., :2] + offsets / self.num_points * reference[..., 2:] * 0.5
        sizes, _, _ = level_tensors(tuple(spatial_shapes), offsets.device)
        return reference + offsets / sizes.to(offsets.dtype)[:, None]


def sample_levels(value: Tensor, spatial_shapes: Sequence[tuple[int, int]], locations: Tensor, weights: Tensor,
                  im2col_step: int) -> Tensor:
    """The weighted sum of bilinear samples: mmcv's CUDA operator where there is one, its PyTorch function elsewhere."""
    if not (value.is_cuda and has_cuda_operator()):
        return multi_scale_deformable_attn_pytorch(value, spatial_shapes, locations, weights)
    _, shapes, starts = level_tensors(tuple(spatial_shapes), value.device)
    batch = value.shape[0]
    step = next(step for step in range(min(batch, im2col_step), 0, -1) if batch % step == 0)  # the kernel's demand
    return MultiScaleDeformableAttnFunction.apply(value.contiguous(), shapes, starts, locations.contiguous(),
                                                  weights.contiguous(), step)


@cache
def has_cuda_operator() -> bool:
    """Whether mmcv was compiled with CUDA; without nvcc it has its CPU operators only."""
    return get_compiling_cuda_version() != 'not available'


@lru_cache(maxsize=64)
def level_tensors(spatial_shapes: tuple[tuple[int, int], ...], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """What the device has to know of the levels, copied to it once per set of sizes.

    Returns:
        Width and height of each level, float32 (L, 2); height and width, int64 (L, 2); first token, int64 (L,).
    """
    with torch.inference_mode(False):  # kept for later calls, which may train
        shapes = torch.tensor(spatial_shapes, dtype=torch.long)
        starts = torch.cat((shapes.new_zeros(1), shapes.prod(1).cumsum(0)[:-1]))
        return shapes.flip(1).float().to(device), shapes.to(device), starts.to(device)
