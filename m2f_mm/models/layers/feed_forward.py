"""mmcv's feed-forward network as the layers here use it."""
from mmcv.cnn.bricks.transformer import FFN


def feed_forward(embed_dims: int, feedforward_channels: int) -> FFN:
    """Linear, ReLU, linear, without dropout and residual; (B, N, E) to (B, N, E).

    The ReLU is not done in place: a linear layer's output for three axes is a view, and autograd pays for changing a
    view with two copies in the backward pass. What is kept is the same.
    """
    return FFN(embed_dims, feedforward_channels, ffn_drop=0., add_identity=False,
               act_cfg=dict(type='ReLU', inplace=False))
