"""Multi-scale deformable attention over mmcv's operator (Deformable DETR, equation 3).

Shapes: B images, N queries, V value tokens of all levels, E channels, M heads, L levels, K points.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmcv.ops import MultiScaleDeformableAttention
from torch import Tensor

from m2f_mm.registry import MODELS

from .deformable_sampling import Levels, Shapes, levels_of, sample_levels
from .position_encoding import Position
from .tracing import is_prediction


@MODELS.register_module()
class MSDeformAttn(MultiScaleDeformableAttention):
    """mmcv's module (its parameters, names and initialisation) with another forward pass.

    Three things differ from mmcv's: shapes are Python integers, so nothing waits for the device; sampling coordinates
    and weights stay float32 under AMP, where fp16 would move samples by up to a pixel and the operator has no bf16
    at all; and the residual connection is left to the caller.

    Args:
        embed_dims: channels E.
        num_heads, num_levels, num_points: M, L, K.
        backend: implementation of the sampling, see ``choose_backend``.
    """

    def __init__(
        self, embed_dims: int = 256, num_heads: int = 8, num_levels: int = 3, num_points: int = 4, backend: str = 'auto'
    ):
        super().__init__(embed_dims, num_heads, num_levels, num_points, dropout=0.0, batch_first=True)
        self.backend = backend

    def forward(
        self,
        query: Tensor,
        value: Tensor,
        reference_points: Tensor,
        spatial_shapes: Shapes | Levels,
        positions: Sequence[Position] = (),
    ) -> Tensor:
        """
        Args:
            query: (B, N, E).
            value: (B, V, E), the levels one after the other, each row-major.
            reference_points: (B or 1, N, L, 2) as x, y, or (B or 1, N, L, 4) as cx, cy, w, h, all in 0..1.
            spatial_shapes: (height, width) of each level, or ``levels_of`` them; the products add up to V.
            positions: of the queries, where they are not added yet; one after the other they make up N.

        Returns:
            (B, N, E), before any residual.
        """
        levels = levels_of(spatial_shapes, query.device)
        value = self.value_proj(value).unflatten(-1, (self.num_heads, -1))  # (B, V, M, E / M)
        offsets, weights = self._offsets_and_weights(query, positions)
        with torch.autocast(query.device.type, enabled=False):
            wide = torch.promote_types(value.dtype, torch.float32)
            weights = weights.to(wide).flatten(-2).softmax(-1).view(weights.shape)
            locations = self._locations(reference_points.to(wide), offsets.to(wide), levels)
            del offsets  # part of a larger tensor that nothing needs any more
            sampled = sample_levels(value.to(wide), levels, locations, weights, self.im2col_step, self.backend)
        return self.output_proj(sampled.to(value.dtype))

    def _offsets_and_weights(self, query: Tensor, positions: Sequence[Position]) -> tuple[Tensor, Tensor]:
        """Offsets (B, N, M, L, K, 2) and weights before the softmax (B, N, M, L, K), in one product."""
        layers = (self.sampling_offsets, self.attention_weights)
        weight = torch.cat([layer.weight for layer in layers])
        projected = F.linear(query, weight, torch.cat([layer.bias for layer in layers]))
        if positions and not is_prediction():
            projected = projected + torch.cat([position.project(weight) for position in positions])
        else:  # nothing but the result and one level's part of the sum at a time
            first = 0
            for position in positions:
                part = position.project(weight)
                projected[:, first : first + len(part)] += part
                first += len(part)
        offsets, weights = projected.split([layer.out_features for layer in layers], -1)
        heads = (self.num_heads, self.num_levels, self.num_points)
        return offsets.unflatten(-1, (*heads, 2)), weights.unflatten(-1, heads)

    def _locations(self, reference: Tensor, offsets: Tensor, levels: Levels) -> Tensor:
        """Where to sample: (B, N, M, L, K, 2) as x, y in 0..1 of each level."""
        reference = reference[:, :, None, :, None]
        if reference.shape[-1] == 4:  # offsets in half-sizes of the box
            return reference[..., :2] + offsets / self.num_points * reference[..., 2:] * 0.5
        # As large as the offsets of one head: torch is slow where it repeats something in runs of two.
        sizes = levels.sizes.to(offsets.dtype)[:, None].expand(offsets.shape[-3:]).contiguous()
        return reference + offsets / sizes
