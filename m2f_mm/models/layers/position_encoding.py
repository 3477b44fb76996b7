"""Sine position encodings, 2-D for images and with a temporal part for clips.

Without padding masks an encoding depends on the sizes alone, so it is made once for the whole batch.
Source: DETR, supplement A.4; for clips "Mask2Former for Video Instance Segmentation", section 2.2.
"""
import math

import torch
from torch import Tensor

TEMPERATURE = 10000
EPS = 1e-6


def _phases(length: int, num_feats: int, normalize: bool, device: torch.device) -> Tensor:
    """Sine and cosine of the 1-based positions of one axis: (length, num_feats), sin on even channels, cos on odd."""
    position = torch.arange(1, length + 1, dtype=torch.float32, device=device)
    if normalize:
        position = position / (length + EPS) * (2 * math.pi)
    channel = torch.arange(num_feats, dtype=torch.float32, device=device)
    frequency = TEMPERATURE**(2 * torch.div(channel, 2, rounding_mode='floor') / num_feats)
    angle = position[:, None] / frequency
    return torch.stack((angle[:, 0::2].sin(), angle[:, 1::2].cos()), dim=2).flatten(1)


def sine_position_encoding(height: int,
                           width: int,
                           num_feats: int,
                           num_frames: int | None = None,
                           normalize: bool = True,
                           device: torch.device | None = None) -> Tensor:
    """The encoding of every pixel of a map, in float32.

    Args:
        height, width: size of the map in pixels.
        num_feats: channels per spatial axis; the first half of the result belongs to y, the second to x.
        num_frames: length of the clip. Given, a temporal encoding over all channels is added, even for one frame.
        normalize: scale positions to (0, 2 pi] of each axis.
        device: where to make it.

    Returns:
        (2 * num_feats, height, width), or (num_frames, 2 * num_feats, height, width).
    """
    y = _phases(height, num_feats, normalize, device)
    x = _phases(width, num_feats, normalize, device)
    image = torch.cat((y.T[:, :, None].expand(-1, -1, width), x.T[:, None, :].expand(-1, height, -1)))
    if num_frames is None:
        return image
    time = _phases(num_frames, 2 * num_feats, normalize, device)
    return image + time[:, :, None, None]
