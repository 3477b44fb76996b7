"""Outlines and run lengths of labelling tools as polygons and COCO's RLE."""

from collections.abc import Mapping, Sequence
from math import cos, pi, radians, sin
from typing import Any

import numpy as np

from ..segmentations import WrongMask, check_segmentation, rle_counts, to_rle
from .records import encode_mask

_ELLIPSE_POINTS = 72


def polygon_array(numbers: Sequence[float]) -> np.ndarray:
    """Float (P, 2) of COCO's flat list x, y, x, y, ..."""
    return np.asarray(numbers, float).reshape(-1, 2)


def checked_polygon(points: Any, size: tuple[int, int]) -> np.ndarray:
    """Points as float (P, 2), 3 or more, in or near an image of a size (H, W).

    Raises:
        WrongMask: they are none; says why.
    """
    try:
        polygon = np.asarray(points, float)
    except (TypeError, ValueError):
        raise WrongMask('the points of a polygon are no pairs of numbers') from None
    if polygon.ndim != 2 or polygon.shape[1] != 2:
        raise WrongMask('the points of a polygon are no pairs of numbers')
    check_segmentation([polygon.reshape(-1).tolist()], *size)
    return polygon


def rle_of(rle: Mapping, size: tuple[int, int]) -> dict:
    """COCO's compressed RLE of one that was checked, of whatever form."""
    return to_rle(dict(size=list(size), counts=rle['counts']), *size)


def ellipse(x: float, y: float, radius_x: float, radius_y: float, degrees: float = 0) -> np.ndarray:
    """Float (72, 2), points of an ellipse around (x, y), turned clockwise in the image."""
    turns = np.linspace(0, 2 * pi, _ELLIPSE_POINTS, endpoint=False)
    points = np.stack([radius_x * np.cos(turns), radius_y * np.sin(turns)], axis=1)
    return turned(points, degrees) + (x, y)


def rectangle(x0: float, y0: float, x1: float, y1: float, degrees: float = 0) -> np.ndarray:
    """Float (4, 2), corners of a rectangle, turned clockwise around its first corner."""
    corners = np.array([(0, 0), (x1 - x0, 0), (x1 - x0, y1 - y0), (0, y1 - y0)], float)
    return turned(corners, degrees) + (x0, y0)


def turned(points: np.ndarray, degrees: float) -> np.ndarray:
    """Points (P, 2) turned around the origin, clockwise in the image."""
    if not degrees:
        return points
    sine, cosine = sin(radians(degrees)), cos(radians(degrees))
    return points @ np.array([(cosine, sine), (-sine, cosine)])


def box_around(points: np.ndarray) -> tuple[float, float, float, float]:
    """x0, y0, x1, y1 of points (P, 2)."""
    return (*points.min(0).tolist(), *points.max(0).tolist())


def checked_box(values: Sequence[Any], size: tuple[int, int]) -> tuple[float, float, float, float]:
    """x0, y0, x1, y1 cut to an image of a size (H, W).

    Raises:
        WrongMask: it is none, or nothing of it is in the image.
    """
    try:
        x0, y0, x1, y1 = (float(value) for value in values)
    except (TypeError, ValueError):
        raise WrongMask(f'a box has the corners {values!r}, which are no four numbers') from None
    height, width = size
    box = max(x0, 0.0), max(y0, 0.0), min(x1, width), min(y1, height)
    if not (box[0] < box[2] and box[1] < box[3]):
        raise WrongMask(
            f'a box from ({x0:g}, {y0:g}) to ({x1:g}, {y1:g}) has no extent in the image of {height}x{width}'
        )
    return box


def runs_to_mask(counts: Sequence[int], height: int, width: int) -> np.ndarray:
    """Bool (H, W) of run lengths off, on, off, ... in the order of the rows.

    Raises:
        WrongMask: they do not cover exactly this many pixels.
    """
    runs = rle_counts(dict(size=[height, width], counts=list(counts)), height, width)
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)


def placed_mask(part: np.ndarray, x: int, y: int, size: tuple[int, int]) -> dict:
    """RLE of a mask (h, w) whose first pixel is (x, y) of an image of a size (H, W).

    Raises:
        WrongMask: it reaches out of the image.
    """
    height, width = part.shape
    if x < 0 or y < 0 or y + height > size[0] or x + width > size[1]:
        raise WrongMask(
            f'a mask of {height}x{width} pixels (HxW) at ({x}, {y}) reaches out of the image of {size[0]}x{size[1]}'
        )
    mask = np.zeros(size, bool)
    mask[y : y + height, x : x + width] = part
    return encode_mask(mask)
