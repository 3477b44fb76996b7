"""What a user may say about a folder whose files leave it open."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass
class Options:
    """Arguments of ``recognise`` that readers of label maps need, see there."""

    background: int | tuple[int, int, int] | None = None
    ignore: Sequence[int | tuple[int, int, int]] | None = None
    classes: Sequence[str] | Mapping[int, str] | None = None
    colors: Mapping[str, tuple[int, int, int]] | None = None
