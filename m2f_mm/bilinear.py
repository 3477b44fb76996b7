"""The four pixels around a point, and what each contributes (bilinear interpolation, align_corners false).

Positions are those of ``torch.nn.functional.grid_sample``: coordinate 0 is the left edge of the first pixel, 1 the
right edge of the last, and everything outside of the map is zero.
"""

from collections.abc import Iterator

import torch
from torch import Tensor


def axis_taps(place: Tensor, length: int | Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
    """The pixels before and after each place of one axis.

    Args:
        place: pixel coordinates, 0 is the centre of the first pixel.
        length: pixels of the axis.

    Returns:
        For each of the two: its position (int32, moved into the axis where it lies outside), its factor (zero
        outside), and whether it lies inside.
    """
    first = place.floor()
    fraction = place - first
    taps = []
    for position, factor in ((first, 1 - fraction), (first + 1, fraction)):
        inside = ~((position < 0) | (position >= length))  # what is no number is not hidden
        pixel = position.int().clamp_(min=0)  # int first: what is not finite becomes a number
        pixel = pixel.clamp_(max=length - 1) if isinstance(length, int) else torch.minimum(pixel, length - 1)
        taps.append((pixel, torch.where(inside, factor, 0), inside))
    return taps


def to_pixel_coords(points: Tensor, size: tuple[int, int], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Pixel coordinates x and y, 0 is the centre of the first pixel, of points (..., 2) given in 0..1 of a map of
    ``size`` (height, width)."""
    grid = 2 * points.to(dtype) - 1  # the detour of grid_sample, for the same rounding
    height, width = size
    return ((grid[..., 0] + 1) * width - 1) / 2, ((grid[..., 1] + 1) * height - 1) / 2


def bilinear_taps(points: Tensor, size: tuple[int, int], dtype: torch.dtype) -> Iterator[tuple[Tensor, Tensor]]:
    """The four pixels around points (..., 2), given as x, y in 0..1, of a map of ``size`` (height, width).

    Yields:
        Index of the pixel in the flattened map, int64 (...), and its factor, ``dtype`` (...), zero outside.
    """
    height, width = size
    x, y = to_pixel_coords(points, size, dtype)
    columns, rows = axis_taps(x, width), axis_taps(y, height)
    for row, down, _ in rows:
        for column, across, _ in columns:
            yield torch.add(column, row, alpha=width).long(), across * down
