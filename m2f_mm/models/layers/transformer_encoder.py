"""The plain transformer encoder of DETR (supplement A.3), over the tokens of one map.

Shapes: B images, K tokens, E channels.
"""

from mmengine.model import BaseModule, ModuleList
from torch import Tensor, nn

from .attention import Attention
from .feed_forward import FeedForward
from .position_encoding import Position
from .recompute import check_activation_checkpointing, recompute
from .residual import ResidualLayer, layer_norms


class TransformerEncoderLayer(ResidualLayer):
    """Self-attention with positions in queries and keys, and a feed-forward network."""

    def __init__(self, embed_dims: int, num_heads: int, feedforward_channels: int, dropout: float, pre_norm: bool):
        super().__init__(pre_norm)
        self.self_attn = Attention(embed_dims, num_heads, dropout)
        self.ffn = FeedForward(embed_dims, feedforward_channels, dropout)
        self.norms = layer_norms(embed_dims, 2)

    def forward(self, x: Tensor, position: Position) -> Tensor:
        """x: (B, K, E); position: of the tokens. Returns (B, K, E)."""
        x = self.residual(0, x, lambda x: self.self_attn(x, x, x, query_position=position, key_position=position))
        return self.residual(1, x, self.ffn)


class TransformerEncoder(BaseModule):
    """A stack of such layers; with ``pre_norm`` there is a norm behind the last, even where there is no layer.

    Args:
        num_layers: layers.
        embed_dims, num_heads, feedforward_channels, dropout, pre_norm: of each.
        activation_checkpointing: 'full' recomputes everything inside of the layers in the backward pass; the other
            values keep it.
    """

    def __init__(
        self,
        num_layers: int,
        embed_dims: int = 256,
        num_heads: int = 8,
        feedforward_channels: int = 2048,
        dropout: float = 0.1,
        pre_norm: bool = False,
        activation_checkpointing: str = 'none',
    ):
        super().__init__()
        self.activation_checkpointing = check_activation_checkpointing(activation_checkpointing)
        self.layers = ModuleList(
            TransformerEncoderLayer(embed_dims, num_heads, feedforward_channels, dropout, pre_norm)
            for _ in range(num_layers)
        )
        self.post_norm = nn.LayerNorm(embed_dims) if pre_norm else nn.Identity()

    def forward(self, x: Tensor, position: Position) -> Tensor:
        """x: (B, K, E); position: of the tokens. Returns (B, K, E)."""
        for layer in self.layers:
            x = recompute(self.activation_checkpointing == 'full', layer, x, position, random=True)
        return self.post_norm(x)
