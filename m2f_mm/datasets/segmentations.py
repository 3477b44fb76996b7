"""The segmentations of COCO: polygons, an RLE of counts, or a compressed RLE; checked before pycocotools sees them.

pycocotools trusts its input: an RLE that ends early gives it uninitialized memory, a polygon with 1e9 takes 16 GB, one
of two points becomes a box.
"""

from collections.abc import Mapping, Sequence
from math import isfinite
from numbers import Real
from typing import Any

import numpy as np

from .json_records import is_integer, shown

EXPECTED = (
    'expected are polygons [[x0, y0, x1, y1, x2, y2, ...], ...] in pixels or an RLE '
    'dict(size=[height, width], counts=...)'
)


class WrongMask(ValueError):
    """A segmentation that is none, or that contradicts its image."""


def check_segmentation(segmentation: Any, height: int, width: int) -> None:
    """Raise ``WrongMask``, which says why, unless a segmentation is safe to decode at the size of its image.

    Args:
        segmentation: polygons, an RLE of counts, or a compressed RLE.
        height: of the image, pixels.
        width: the same.
    """
    if isinstance(segmentation, (list, tuple)):  # a union would be built at every call
        _check_polygons(segmentation, height, width)
    elif isinstance(segmentation, dict):
        rle_counts(segmentation, height, width)
    else:
        raise WrongMask(f'the segmentation is {shown(segmentation)}; {EXPECTED}')


def _check_polygons(polygons: Sequence, height: int, width: int) -> None:
    if not polygons:
        raise WrongMask(f'the segmentation is an empty list; {EXPECTED}')
    for polygon in polygons:
        if not isinstance(polygon, (list, tuple)):
            flat = 'a flat list of numbers' if isinstance(polygon, Real) else f'a list of {type(polygon).__name__}'
            raise WrongMask(f'the segmentation is {flat}, {shown(polygons)}; {EXPECTED}')
        if len(polygon) < 6 or len(polygon) % 2:
            raise WrongMask(
                f'a polygon has {len(polygon)} numbers, {shown(polygon)}; it needs x and y of 3 points or more'
            )
        try:
            finite = isfinite(sum(polygon))  # NaN and infinity reach the sum
        except TypeError:
            raise WrongMask(f'a polygon holds something else than numbers: {shown(polygon)}') from None
        except OverflowError:  # an integer beyond every float
            finite = False
        if not finite:
            raise WrongMask(f'a polygon has coordinates that are not finite: {shown(polygon)}')
        for axis, values, length in (('x', polygon[0::2], width), ('y', polygon[1::2], height)):
            low, high = min(values), max(values)
            if low < -length or high > 2 * length:
                raise WrongMask(
                    f'a polygon reaches from {axis}={low:g} to {axis}={high:g}, far outside of the image '
                    f'of {height}x{width} pixels (HxW)'
                )


def rle_counts(rle: Mapping, height: int, width: int) -> np.ndarray:
    """Lengths of the runs of an RLE, int64: off, on, off, ... in the order of the columns.

    Args:
        rle: ``size`` and ``counts``, a list of lengths or COCO's compressed text.
        height: of the image, pixels.
        width: the same.

    Raises:
        WrongMask: the size is another one, or the runs do not cover exactly this many pixels.
    """
    size, counts = rle.get('size'), rle.get('counts')
    if not (isinstance(size, list | tuple) and len(size) == 2 and all(is_integer(side) for side in size)):
        raise WrongMask(f'an RLE has size={shown(size)}; expected is [height, width]')
    if tuple(size) != (height, width):
        swapped = ', height and width swapped' if tuple(size) == (width, height) else ''
        raise WrongMask(f'an RLE has size={list(size)}, but its image has {height}x{width} pixels (HxW){swapped}')
    if isinstance(counts, str | bytes):
        runs = _decompressed(counts)
    elif isinstance(counts, list) and all(map(is_integer, counts)):
        try:
            runs = np.array(counts, np.int64)
        except OverflowError:
            raise WrongMask(f'an RLE has counts of absurd size: {shown(counts)}') from None
    else:
        raise WrongMask(f'an RLE has counts={shown(counts)}; expected are whole numbers or compressed text')
    if (runs < 0).any():
        raise WrongMask(f'an RLE has negative counts: {shown(runs.tolist())}')
    covered = int(sum(runs.tolist()))
    if covered != height * width:
        raise WrongMask(
            f'the counts of an RLE cover {covered} pixels, but its image has {height * width} '
            f'({height}x{width}); the RLE is cut off or of another image'
        )
    return runs


def _decompressed(counts: str | bytes) -> np.ndarray:
    """COCO's text as counts: 5 bits a character from 48 on, low ones first, a sixth bit where more follow; from the
    fourth count on, differences to the count before the last."""
    try:
        digits = np.frombuffer(counts.encode('ascii') if isinstance(counts, str) else counts, np.uint8).astype(np.int64)
    except UnicodeEncodeError:
        digits = np.array([-1])
    digits = digits - 48
    if not len(digits) or digits.min() < 0 or digits.max() > 63 or digits[-1] & 32:
        raise WrongMask(f'an RLE has counts={shown(counts)}, which is no compressed text of COCO')
    more = (digits & 32) > 0
    starts = np.flatnonzero(np.concatenate(([True], ~more[:-1])))
    lengths = np.diff(starts, append=len(digits))
    if lengths.max() > 7:  # more than 32 bits and a sign
        raise WrongMask(f'an RLE has counts={shown(counts)}, which is no compressed text of COCO')
    position = np.arange(len(digits)) - np.repeat(starts, lengths)
    values = np.add.reduceat((digits & 31) << (5 * position), starts)
    negative = (digits[starts + lengths - 1] & 16) > 0
    values[negative] -= np.int64(1) << (5 * lengths[negative])
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values


def is_empty_rle(mask: Any) -> bool:
    """Whether an RLE has no foreground; polygons are drawn too late to know."""
    if not isinstance(mask, Mapping):
        return False
    counts = mask['counts']
    return not (any(counts[1::2]) if isinstance(counts, list) else _decompressed(counts)[1::2].any())


def to_rle(mask: dict | list, height: int, width: int) -> dict:
    """COCO's compressed RLE of a segmentation of any form."""
    from pycocotools import mask as coco_masks

    if isinstance(mask, list):
        return coco_masks.merge(coco_masks.frPyObjects(mask, height, width))
    if isinstance(mask['counts'], list):
        return coco_masks.frPyObjects(mask, height, width)
    counts = mask['counts']
    return dict(size=mask['size'], counts=counts.encode() if isinstance(counts, str) else counts)
