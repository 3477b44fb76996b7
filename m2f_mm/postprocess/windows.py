"""Windows of a video."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple, TypeVar

Frame = TypeVar('Frame')


class Window(NamedTuple):
    """Frames ``start`` to ``stop - 1`` of a video.

    Args:
        overlap_prev: its first frames that the window before has, too.
        overlap_next: its last frames that the next window has, too.
    """

    start: int
    stop: int
    overlap_prev: int
    overlap_next: int


def sliding_windows(
    frames: Iterable[Frame], size: int | None, overlap: int = 0
) -> Iterator[tuple[list[Frame], Window]]:
    """The frames of each window of a video, read as they are needed; neighbours share ``overlap`` of them.

    Args:
        frames: of the video.
        size: frames of a window, None for a single one.
        overlap: less than ``size``.

    Raises:
        ValueError: the overlap is negative or as large as a window.
    """
    if size is not None and not 0 <= overlap < size:
        raise ValueError(
            f'windows of {size} frames cannot share {overlap}: make the overlap smaller, or the windows larger'
        )
    frames = iter(frames)
    window, start, overlap_prev = list(islice(frames, size)), 0, 0
    while window:
        following = list(islice(frames, 1))  # is there another window?
        stop, overlap_next = start + len(window), overlap if following else 0
        yield window, Window(start, stop, overlap_prev, overlap_next)
        if not following:
            return
        new = [] if size is None else list(islice(frames, size - overlap_next - 1))
        window = [*window[len(window) - overlap_next :], *following, *new]
        start, overlap_prev = stop - overlap_next, overlap_next
