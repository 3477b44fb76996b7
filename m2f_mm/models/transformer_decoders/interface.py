"""What the network hands to any transformer decoder.

Shapes: B images, Q queries, E channels, K memory tokens of one level (frame-major for a clip).
"""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from ..layers import Position


class Memory(NamedTuple):
    """One level of what the pixel decoder gives.

    Args:
        tokens: (B, K, E), without any position.
        position: of the tokens, the embedding of the level included; keys have it.
        level: the embedding of the level alone; values have it. None where the decoder has none.
    """

    tokens: Tensor
    position: Position
    level: Position | None


# Called by a decoder with normalised queries (B, Q, E) wherever a prediction is to be supervised; with the index of a
# level it returns that level's attention mask, bool (B, 1, Q, K), otherwise None.
Predict = Callable[..., Tensor | None]
