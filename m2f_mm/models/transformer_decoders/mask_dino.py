"""The transformer decoder of Mask DINO (section 3.1 there; DINO's): queries that carry boxes, and refine them.

Shapes: B images, Q queries (those of denoising first), E channels, V tokens of all levels, L levels. Boxes are
(cx, cy, w, h) of the padded image, in 0..1 or, as "logits", before a sigmoid.
"""

import math
from collections.abc import Callable

import torch
from mmengine.model import BaseModule, ModuleList
from torch import Tensor, nn

from m2f_mm.deprecation import renamed_arguments
from m2f_mm.registry import MODELS

from ..layers import (
    Attention,
    FeedForward,
    Levels,
    MSDeformAttn,
    ResidualLayer,
    Shapes,
    check_activation_checkpointing,
    layer_norms,
    levels_of,
    recompute,
    xavier_matrices,
)
from ..recorder import Recorder


class MaskDINODecoderLayer(ResidualLayer):
    """Self-attention, deformable cross-attention, feed-forward: in this order, each with a residual and a norm after
    it, in float32 also inside autocast, as the official code insists."""

    def __init__(
        self, embed_dims: int, num_heads: int, num_levels: int, num_points: int, feedforward_channels: int, backend: str
    ):
        super().__init__()
        self.self_attn = Attention(embed_dims, num_heads)
        self.cross_attn = MSDeformAttn(embed_dims, num_heads, num_levels, num_points, backend)
        self.ffn = FeedForward(embed_dims, feedforward_channels)
        self.norms = layer_norms(embed_dims, 3)

    def forward(
        self, query: Tensor, query_pos: Tensor, reference: Tensor, tokens: Tensor, levels: Levels, mask: Tensor | None
    ) -> Tensor:
        """
        Args:
            query: contents (B, Q, E).
            query_pos: their position encodings (B, Q, E).
            reference: boxes (B, Q, 4) in 0..1.
            tokens: (B, V, E), the levels one after the other.
            levels: sizes of the levels.
            mask: bool (1, 1, Q, Q), true where a query may see another; None for everywhere.

        Returns:
            (B, Q, E).
        """
        boxes = reference[:, :, None].expand(-1, -1, len(levels.shapes), -1)
        query = self.residual(0, query, lambda x: self.self_attn(x + query_pos, x + query_pos, x, mask))
        query = self.residual(1, query, lambda x: self.cross_attn(x + query_pos, tokens, boxes, levels))
        return self.residual(2, query, self.ffn)


@MODELS.register_module()
class MaskDINOTransformerDecoder(BaseModule):
    """The stack of layers, between which every query's box is refined, and the norm in front of every prediction.

    Args:
        num_layers: layers; 9 in the published models.
        embed_dims: channels E.
        num_heads: attention heads.
        num_levels: levels that the cross-attention samples.
        num_points: points per level and head.
        feedforward_channels: hidden channels of the feed-forward networks.
        deform_attn_backend: implementation of deformable attention, see ``choose_backend``.
        activation_checkpointing: 'none', or 'full' to recompute everything inside of the layers in the backward pass;
            'norms' and 'ffn' have nothing to save here.
    """

    single_memory = False

    @renamed_arguments(checkpointing='activation_checkpointing')
    def __init__(
        self,
        num_layers: int = 9,
        embed_dims: int = 256,
        num_heads: int = 8,
        num_levels: int = 4,
        num_points: int = 4,
        feedforward_channels: int = 2048,
        deform_attn_backend: str = 'auto',
        activation_checkpointing: str = 'none',
    ):
        super().__init__()
        self.activation_checkpointing = check_activation_checkpointing(activation_checkpointing)
        self.num_layers = num_layers
        self.embed_dims = embed_dims
        self.layers = ModuleList(
            MaskDINODecoderLayer(
                embed_dims, num_heads, num_levels, num_points, feedforward_channels, deform_attn_backend
            )
            for _ in range(num_layers)
        )
        self.ref_point_head = nn.Sequential(
            nn.Linear(2 * embed_dims, embed_dims), nn.ReLU(), nn.Linear(embed_dims, embed_dims)
        )
        self.post_norm = nn.LayerNorm(embed_dims)

    def forward(
        self,
        query: Tensor,
        reference_logits: Tensor,
        tokens: Tensor,
        shapes: Shapes,
        refine: Callable[[Tensor], Tensor],
        recorder: Recorder,
        mask: Tensor | None = None,
    ) -> None:
        """
        Args:
            query: contents (B, Q, E).
            reference_logits: boxes (B, Q, 4) before the sigmoid.
            tokens: see the layer.
            shapes: (height, width) of each level.
            mask: see the layer.
            refine: queries (B, Q, E) to what is added to the logits of their boxes, (B, Q, 4).
            recorder: gets queries and boxes after every layer, or after the last one if only that is supervised.
        """
        dtype = self.post_norm.weight.dtype  # float32 also inside autocast; in a model of half precision only boxes are
        tokens, query = tokens.to(dtype), query.to(dtype)
        reference = reference_logits.to(torch.promote_types(dtype, torch.float32)).sigmoid()
        levels = levels_of(shapes, tokens.device)
        refined = reference  # with its graph: where the first is learned, the first layer teaches it
        for i, layer in enumerate(self.layers):
            last = i + 1 == len(self.layers)
            with torch.autocast(query.device.type, enabled=False):
                query_pos = self.ref_point_head(sine_boxes(reference, self.embed_dims // 2).to(dtype))
                query = recompute(
                    self.activation_checkpointing == 'full', layer, query, query_pos, reference, tokens, levels, mask
                )
            if last or recorder.supervised:
                normalised = self.post_norm(query)
                boxes = (refine(normalised) + inverse_sigmoid(refined)).sigmoid()  # "look forward twice"
                recorder.record(self.post_norm(normalised), boxes)  # the official code normalises twice
            if not last:
                with torch.autocast(query.device.type, enabled=False):
                    refined = (refine(query) + inverse_sigmoid(reference)).sigmoid()
                reference = refined.detach()

    def init_weights(self) -> None:
        """The official initialisation: Xavier uniform for every matrix but those of deformable attention."""
        super().init_weights()
        xavier_matrices(self)
        for layer in self.layers:
            layer.cross_attn.init_weights()


def sine_boxes(boxes: Tensor, num_feats: int) -> Tensor:
    """Sine encoding of boxes (..., 4) in 0..1: (..., 4 * num_feats) for cy, cx, w, h (DAB-DETR, section 4.2)."""
    channel = torch.arange(num_feats, dtype=boxes.dtype, device=boxes.device)
    frequency = 10000 ** (2 * torch.div(channel, 2, rounding_mode='floor') / num_feats)
    angle = boxes[..., [1, 0, 2, 3], None] * (2 * math.pi) / frequency  # (..., 4, num_feats)
    return torch.stack((angle[..., 0::2].sin(), angle[..., 1::2].cos()), -1).flatten(-3)


def inverse_sigmoid(x: Tensor, eps: float = 1e-5) -> Tensor:
    """Numbers in 0..1 before the sigmoid, neither side nearer to its end than ``eps``."""
    x = x.clamp(0, 1)
    return (x.clamp(min=eps) / (1 - x).clamp(min=eps)).log()
