"""Lazy masks: a mask logit is the dot product of a mask embedding and the mask features of a pixel.

``mask[q, y, x] = mask_embed[q] . mask_features[:, y, x]``, plus a constant of the query where the embedding has one
channel more than the features. Resizing and sampling are linear in the features, so the (Q, h, w) masks of all queries
are never needed.

Shapes: B images (or clips), T frames (1 for images), Q queries, n of them, D channels of a mask embedding, h x w the
size of the mask features.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def dot(embeds: Tensor, features: Tensor, covered: Tensor | float = 1.0) -> Tensor:
    """The inner product that makes masks.

    Args:
        embeds: (..., n, D), or (..., n, D + 1) with a constant for each row.
        features: (..., D, m).
        covered: factor of the constants, broadcast to (..., n, m).

    Returns:
        (..., n, m)
    """
    channels = features.shape[-2]
    logits = embeds[..., :channels] @ features
    return logits if embeds.shape[-1] == channels else logits.add_(embeds[..., channels:] * covered)


def fold_projection(embeds: Tensor, projection: nn.Conv2d) -> Tensor:
    """Embeddings for the input of a 1x1 convolution instead of its output, which then need not be made:
    ``e . (W x + b) = (e W) . x + e . b``.

    Args:
        embeds: (B, Q, D).
        projection: from E to D channels.

    Returns:
        (B, Q, E + 1), at least float32, also inside autocast; the constant is last.
    """
    with torch.autocast(embeds.device.type, enabled=False):
        weight, bias = projection.weight, projection.bias
        assert bias is not None
        weight = torch.cat((weight.flatten(1), bias[:, None]), 1)  # (D, E + 1)
        return embeds.to(torch.promote_types(embeds.dtype, weight.dtype)) @ weight


def mask_logits_from(embeds: Tensor, features: Tensor) -> Tensor:
    """Masks: embeds (n, D or D + 1) and features (T, D, h, w) give logits (n, T, h, w).

    Computed in the wider type of the two, at least float32, also inside autocast.
    """
    dtype = torch.promote_types(torch.promote_types(embeds.dtype, features.dtype), torch.float32)
    with torch.autocast(features.device.type, enabled=False):
        masks = dot(embeds.to(dtype), features.to(dtype).flatten(2))  # (T, n, h * w)
    return masks.transpose(0, 1).unflatten(-1, features.shape[-2:])


def attention_mask(embeds: Tensor, features: Tensor) -> Tensor:
    """Where each query may attend to in the next cross-attention (Mask2Former, equation 2).

    A pixel is blocked where the sigmoid of its resized mask logit is below 0.5. A query that would be blocked
    everywhere attends to every pixel. Resizing the features once per level gives the same logits as resizing the mask
    of every query.

    Args:
        embeds: mask embeddings (B, Q, D or D + 1) of the previous prediction.
        features: mask features resized to the size of the level, (B, T, D, h', w').

    Returns:
        bool (B, 1, Q, T * h' * w'), true where attention is allowed; the axis of 1 stands for all heads.
    """
    logits = dot(embeds[:, None].to(features.dtype), features.flatten(3))  # (B, T, Q, h' * w')
    blocked = (logits.sigmoid() < 0.5).transpose(1, 2).flatten(2)
    allowed = ~blocked | blocked.all(-1, keepdim=True)
    return allowed[:, None]


def resize_features(features: Tensor, size: tuple[int, int]) -> Tensor:
    """Mask features (B, T, D, h, w) resized bilinearly to ``size``, without gradient."""
    with torch.no_grad():
        wide = features.flatten(0, 1).to(torch.promote_types(features.dtype, torch.float32))
        if wide.is_contiguous():  # every channel as an image of its own: for many, torch would change the layout first
            wide = wide.flatten(0, 1)[:, None]
        resized = F.interpolate(wide, size, mode='bilinear', align_corners=False)
    return resized.view(*features.shape[:3], *size)
