"""The transformer decoder of MaskFormer (section 3.3), which is DETR's, over one map.

Shapes: B images, Q queries, E channels, K memory tokens.
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
    TransformerEncoder,
    check_activation_checkpointing,
    layer_norms,
    recompute,
    xavier_matrices,
)
from ..recorder import Recorder
from .interface import Memory


class MaskFormerDecoderLayer(ResidualLayer):
    """Self-attention, cross-attention, feed-forward: in this order, each with dropout and a residual.

    Args:
        embed_dims: channels E.
        num_heads: attention heads.
        feedforward_channels: hidden channels of the feed-forward network.
        dropout: of attention weights, outputs and the hidden layer.
        pre_norm: normalise before each part instead of after its residual.
    """

    def __init__(self, embed_dims: int, num_heads: int, feedforward_channels: int, dropout: float, pre_norm: bool):
        super().__init__(pre_norm)
        self.self_attn = Attention(embed_dims, num_heads, dropout)
        self.cross_attn = Attention(embed_dims, num_heads, dropout)
        self.ffn = FeedForward(embed_dims, feedforward_channels, dropout)
        self.norms = layer_norms(embed_dims, 3)

    def forward(self, query: Tensor, query_pos: Tensor, memory: Memory) -> Tensor:
        """query: (B, Q, E); query_pos: (Q, E) or (B, Q, E); memory: what they attend to. Returns (B, Q, E)."""
        query = self.residual(0, query, lambda x: self.self_attn(x + query_pos, x + query_pos, x))
        query = self.residual(
            1,
            query,
            lambda x: self.cross_attn(x + query_pos, memory.tokens, memory.tokens, key_position=memory.position),
        )
        return self.residual(2, query, self.ffn)


@MODELS.register_module()
class MaskFormerTransformerDecoder(BaseModule):
    """The stack of decoder layers and the norm in front of every prediction.

    Queries start at zero: what is learned of them is their position alone. There is a prediction after every layer
    and none before the first.

    Args:
        num_layers: decoder layers.
        num_encoder_layers: encoder layers over the memory in front of them; none in the published models.
        embed_dims: channels E.
        num_heads: attention heads.
        feedforward_channels: hidden channels of the feed-forward networks.
        dropout: of attention weights, outputs and hidden layers.
        pre_norm: see the layer; the encoder then has a norm at its end.
        activation_checkpointing: 'none', or 'full' to recompute everything inside of the layers in the backward pass;
            'norms' and 'ffn' have nothing to save here.
    """

    learned_content, level_embeddings = False, False
    single_memory = True

    @renamed_arguments(checkpointing='activation_checkpointing')
    def __init__(
        self,
        num_layers: int = 6,
        num_encoder_layers: int = 0,
        embed_dims: int = 256,
        num_heads: int = 8,
        feedforward_channels: int = 2048,
        dropout: float = 0.1,
        pre_norm: bool = False,
        activation_checkpointing: str = 'none',
    ):
        super().__init__()
        self.activation_checkpointing = check_activation_checkpointing(activation_checkpointing)
        self.num_layers = num_layers
        self.embed_dims = embed_dims
        layer = (embed_dims, num_heads, feedforward_channels, dropout, pre_norm)
        self.encoder = TransformerEncoder(num_encoder_layers, *layer, activation_checkpointing)
        self.layers = ModuleList(MaskFormerDecoderLayer(*layer) for _ in range(num_layers))
        self.post_norm = nn.LayerNorm(embed_dims)

    def forward(self, query: Tensor, query_pos: Tensor, memories: Sequence[Memory], recorder: Recorder) -> None:
        """
        Args:
            query: (B, Q, E), zeros.
            query_pos: (Q, E), the learned positions.
            memories: one level.
            recorder: gets the normalised queries after every layer, or after the last one if only that is supervised.
        """
        [memory] = memories
        memory = memory._replace(tokens=self.encoder(memory.tokens, memory.position))
        for i, layer in enumerate(self.layers):
            query = recompute(self.activation_checkpointing == 'full', layer, query, query_pos, memory, random=True)
            if recorder.supervised or i + 1 == len(self.layers):
                recorder.record(self.post_norm(query))

    def init_weights(self) -> None:
        """Xavier uniform for every matrix, as the official decoder."""
        super().init_weights()
        xavier_matrices(self)
