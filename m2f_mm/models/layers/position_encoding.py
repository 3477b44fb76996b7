"""Sine position encodings, 2-D for images and with a temporal part for clips.

An encoding is a sum of small terms: one for y, one for x, and where there is more, one for the time and one for the
level. Projections are linear, so each term is projected on its own and the sum is made behind it: neither the encoding
of every token nor "token plus encoding" has to exist, let alone be kept for a backward pass.

Shapes: T frames, h x w a map, E channels.

Source: DETR, supplement A.4; for clips "Mask2Former for Video Instance Segmentation", section 2.2.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

TEMPERATURE = 10000
EPS = 1e-6


class Position:
    """The encoding of every pixel of a map or clip, as a sum.

    Args:
        terms: each broadcasts to (T, h, w, E); those with fewer numbers first.
    """

    def __init__(self, terms: Sequence[Tensor]):
        self.terms = list(terms)

    def at_level(self, level: Tensor) -> 'Position':
        """Plus the embedding (E,) of a level, the same for every pixel."""
        return Position([level.view(1, 1, 1, -1), *self.terms])

    def project(self, weight: Tensor) -> Tensor:
        """``tokens() @ weight.T``, (T * h * w, F) for a weight (F, E)."""
        return _total([F.linear(term.to(weight.dtype), weight) for term in self.terms])

    def tokens(self) -> Tensor:
        """The encoding itself, (T * h * w, E)."""
        return _total(self.terms)


def _total(terms: Sequence[Tensor]) -> Tensor:
    return sum(terms[1:], terms[0]).flatten(0, 2)


def sine_position(
    height: int,
    width: int,
    num_feats: int,
    num_frames: int = 1,
    normalize: bool = True,
    device: torch.device | None = None,
) -> Position:
    """Where a pixel is, in float32; it depends on the sizes alone, so it serves the whole batch.

    Args:
        height: of the map, in pixels.
        width: of the map, in pixels.
        num_feats: channels per spatial axis; the first half of E = 2 * num_feats belongs to y, the second to x.
        num_frames: length of the clip. A temporal encoding over all channels is added to more frames than one; to one
            it would add the same to every key, which no softmax can see.
        normalize: scale positions to (0, 2 pi] of each axis.
        device: where to make it.
    """
    y = F.pad(_phases(height, num_feats, normalize, device), (0, num_feats))
    x = F.pad(_phases(width, num_feats, normalize, device), (num_feats, 0))
    space = [y[None, :, None], x[None, None]]
    if num_frames == 1:
        return Position(space)
    time = _phases(num_frames, 2 * num_feats, normalize, device)
    return Position([time[:, None, None], *space])


def _phases(length: int, num_feats: int, normalize: bool, device: torch.device | None) -> Tensor:
    """Sine and cosine of the 1-based positions of one axis: (length, num_feats), sin on even channels, cos on odd."""
    position = torch.arange(1, length + 1, dtype=torch.float32, device=device)
    if normalize:
        position = position / (length + EPS) * (2 * math.pi)
    channel = torch.arange(num_feats, dtype=torch.float32, device=device)
    frequency = TEMPERATURE ** (2 * torch.div(channel, 2, rounding_mode='floor') / num_feats)
    angle = position[:, None] / frequency
    return torch.stack((angle[:, 0::2].sin(), angle[:, 1::2].cos()), dim=2).flatten(1)
