"""The masked-attention transformer decoder of Mask2Former (section 3.2), for images and clips.

Shapes: B images, Q queries, E channels, K memory tokens of one level (frame-major for a clip).
"""

from collections.abc import Sequence

from mmengine.model import BaseModule, ModuleList
from torch import Tensor, nn

from m2f_mm.deprecation import renamed_arguments
from m2f_mm.registry import MODELS

from ..layers import (
    Attention,
    FeedForward,
    ResidualLayer,
    check_activation_checkpointing,
    layer_norms,
    recompute,
    xavier_matrices,
)
from ..recorder import Recorder
from .interface import Memory


class Mask2FormerDecoderLayer(ResidualLayer):
    """Masked cross-attention, self-attention, feed-forward: in this order, each with a residual.

    Args:
        embed_dims: channels E.
        num_heads: attention heads.
        feedforward_channels: hidden channels of the feed-forward network.
        pre_norm: normalise before each part instead of after its residual.
    """

    def __init__(self, embed_dims: int, num_heads: int, feedforward_channels: int, pre_norm: bool = False):
        super().__init__(pre_norm)
        self.cross_attn = Attention(embed_dims, num_heads)
        self.self_attn = Attention(embed_dims, num_heads)
        self.ffn = FeedForward(embed_dims, feedforward_channels)
        self.norms = layer_norms(embed_dims, 3)

    def forward(
        self, query: Tensor, query_pos: Tensor, memory: Memory, mask: Tensor, self_mask: Tensor | None = None
    ) -> Tensor:
        """
        Args:
            query: content of the queries, (B, Q, E).
            query_pos: their positions, (Q, E) or (B, Q, E).
            memory: what they attend to.
            mask: bool (B, 1, Q, K), true where a query may attend to a token.
            self_mask: bool (B or 1, 1, Q, Q), true where a query may attend to another; None for everywhere.

        Returns:
            (B, Q, E).
        """
        query = self.residual(
            0,
            query,
            lambda x: self.cross_attn(x + query_pos, memory.tokens, memory.tokens, mask, memory.position, memory.level),
        )
        query = self.residual(1, query, lambda x: self.self_attn(x + query_pos, x + query_pos, x, self_mask))
        return self.residual(2, query, self.ffn)


@MODELS.register_module()
class Mask2FormerTransformerDecoder(BaseModule):
    """The stack of decoder layers and the norm in front of every prediction.

    Layer i attends to memory level i mod L, coarse to fine and again, inside the mask that was predicted before it.

    Args:
        num_layers: layers; the published models have 9 (their configs say 10, counting predictions).
        embed_dims: channels E.
        num_heads: attention heads.
        feedforward_channels: hidden channels of the feed-forward networks.
        pre_norm: see the layer.
        activation_checkpointing: 'none', or 'full' to recompute everything inside of the layers in the backward pass;
            'norms' and 'ffn' have nothing to save here.
    """

    learned_content, level_embeddings = True, True
    single_memory = False

    @renamed_arguments(checkpointing='activation_checkpointing')
    def __init__(
        self,
        num_layers: int = 9,
        embed_dims: int = 256,
        num_heads: int = 8,
        feedforward_channels: int = 2048,
        pre_norm: bool = False,
        activation_checkpointing: str = 'none',
    ):
        super().__init__()
        self.activation_checkpointing = check_activation_checkpointing(activation_checkpointing)
        self.num_layers = num_layers
        self.embed_dims = embed_dims
        self.layers = ModuleList(
            Mask2FormerDecoderLayer(embed_dims, num_heads, feedforward_channels, pre_norm) for _ in range(num_layers)
        )
        self.post_norm = nn.LayerNorm(embed_dims)

    def forward(
        self,
        query: Tensor,
        query_pos: Tensor,
        memories: Sequence[Memory],
        recorder: Recorder,
        self_mask: Tensor | None = None,
    ) -> None:
        """
        Args:
            query: (B, Q, E), the learned queries.
            query_pos: (Q, E), their learned positions.
            memories: the levels, coarse to fine.
            recorder: gets the normalised queries before every layer, if these are supervised, and after the last one;
                gives the attention masks.
            self_mask: see the layer.
        """
        for i, layer in enumerate(self.layers):
            level = i % len(memories)
            normalised = self.post_norm(query)
            if recorder.supervised:
                recorder.record(normalised)
            mask = recorder.attention_mask(normalised, level)
            query = recompute(
                self.activation_checkpointing == 'full', layer, query, query_pos, memories[level], mask, self_mask
            )
        recorder.record(self.post_norm(query))

    def init_weights(self) -> None:
        """Xavier uniform for every matrix, as the official decoder."""
        super().init_weights()
        xavier_matrices(self)
