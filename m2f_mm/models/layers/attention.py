"""Multi-head attention with one mask shared by all heads."""

import torch.nn.functional as F
from torch import Tensor, nn

from .position_encoding import Position


class Attention(nn.Module):
    """``nn.MultiheadAttention``'s parameters, computed by PyTorch's scaled dot product attention.

    The softmax matrix (B, heads, Q, K) is neither kept for the backward pass nor averaged into weights that are not
    used, and a mask (B, 1, Q, K) is broadcast over the heads instead of copied for each.

    Args:
        embed_dims: channels, divisible by ``num_heads``.
        num_heads: parallel heads.
        dropout: probability with which a weight of the softmax, and a number of the output, is dropped in training.
    """

    def __init__(self, embed_dims: int, num_heads: int, dropout: float = 0.0):
        super().__init__()
        self.num_heads = num_heads
        self.dropout = dropout
        self.attn = nn.MultiheadAttention(embed_dims, num_heads, batch_first=True)  # holds the parameters

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Tensor | None = None,
        key_position: Position | None = None,
        value_position: Position | None = None,
        query_position: Position | None = None,
    ) -> Tensor:
        """
        Args:
            query: (B, Q, E).
            key: (B, K, E).
            value: (B, K, E).
            mask: bool (B, 1, Q, K), true where attention is allowed.
            key_position: of the K tokens, where it is not added to the keys yet.
            value_position: of the K tokens, where it is to be added to the values.
            query_position: of the Q tokens, where it is not added yet.

        Returns:
            (B, Q, E).
        """
        weights = self.attn.in_proj_weight.chunk(3)
        biases = self.attn.in_proj_bias.chunk(3)
        q, k, v = (
            project(x, weight, bias, position).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # (B, heads, n, d)
            for x, weight, bias, position in zip(
                (query, key, value), weights, biases, (query_position, key_position, value_position)
            )
        )
        dropout = self.dropout if self.training else 0.0
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
        out = self.attn.out_proj(attended.transpose(1, 2).flatten(2))
        return F.dropout(out, dropout) if dropout else out


def project(x: Tensor, weight: Tensor, bias: Tensor, position: Position | None) -> Tensor:
    """``F.linear(x + position, weight, bias)`` for tokens (B, K, E)."""
    projected = F.linear(x, weight, bias)
    return projected if position is None else projected + position.project(weight)
