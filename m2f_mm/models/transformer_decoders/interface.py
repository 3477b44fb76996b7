"""A memory, what transformer decoders attend to.

Shapes: B images, E channels, K memory tokens of one level (frame-major for a clip).
"""

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
