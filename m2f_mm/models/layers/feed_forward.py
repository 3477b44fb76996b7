"""mmcv's feed-forward network as the layers here use it."""

import torch
from mmcv.cnn.bricks.transformer import FFN
from torch import Tensor

from .tracing import is_prediction

TOKENS = 2**13  # that have a hidden layer at once in prediction


class FeedForward(FFN):
    """Linear, ReLU, linear, each followed by dropout, without residual; (B, N, E) to (B, N, E).

    Without a backward pass the hidden layer exists for some tokens at a time.
    """

    def __init__(self, embed_dims: int, feedforward_channels: int, dropout: float = 0.0):
        super().__init__(
            embed_dims,
            feedforward_channels,
            ffn_drop=dropout,
            add_identity=False,
            act_cfg=dict(type='ReLU', inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, N, E) to the same shape; in prediction a part of them at a time."""
        # Two axes: with three, a linear layer's output is a view, and changing a view costs two copies in the backward
        # pass.
        tokens = x.flatten(0, 1)
        if not is_prediction() or len(tokens) <= TOKENS:
            return super().forward(tokens).view_as(x)
        return torch.cat([super(FeedForward, self).forward(part) for part in tokens.split(TOKENS)]).view_as(x)
