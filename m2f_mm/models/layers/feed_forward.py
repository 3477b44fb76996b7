"""mmcv's feed-forward network as the layers here use it."""
import torch
from mmcv.cnn.bricks.transformer import FFN
from torch import Tensor

TOKENS = 2**13  # that have a hidden layer at once in prediction


class FeedForward(FFN):
    """Linear, ReLU, linear, without dropout and residual; (B, N, E) to (B, N, E).

    The ReLU is not done in place: its input, a linear layer's output for three axes, is a view, and autograd pays for
    changing a view with two copies in the backward pass. What is kept is the same. Without a backward pass the hidden
    layer exists for some tokens at a time.
    """

    def __init__(self, embed_dims: int, feedforward_channels: int):
        super().__init__(embed_dims, feedforward_channels, ffn_drop=0., add_identity=False,
                         act_cfg=dict(type='ReLU', inplace=False))

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled() or x.shape[1] <= TOKENS:
            return super().forward(x)
        return torch.cat([super(FeedForward, self).forward(part) for part in x.split(TOKENS, 1)], 1)
