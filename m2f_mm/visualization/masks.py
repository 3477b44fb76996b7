"""Masks of an image one at a time, each cut out at its box, whatever form they have.

Shapes: N masks, H x W the image, h x w the box of a mask. Boxes are slices of rows and columns.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from ..datasets.segmentations import rle_counts

Box = tuple[slice, slice]
_STRIP = 256  # rows
_NOTHING = (slice(0, 0), slice(0, 0)), np.zeros((0, 0), bool)


class Masks(Protocol):
    """What is drawn: ``size`` is (H, W)."""

    size: tuple[int, int]

    def __len__(self) -> int:
        """Their number N."""

    def areas(self) -> np.ndarray:
        """Pixels of each, int64 (N,)."""

    def cut(self, index: int) -> tuple[Box, np.ndarray]:
        """The box of a mask, and the mask in it, bool (h, w); an empty mask has no rows and columns."""


class Bitmaps:
    """Masks that exist as bitmaps.

    Args:
        bitmaps: bool or uint8 (N, H, W).
    """

    def __init__(self, bitmaps: np.ndarray):
        self.bitmaps = bitmaps
        self.size = bitmaps.shape[1:]

    def __len__(self) -> int:
        return len(self.bitmaps)

    def areas(self) -> np.ndarray:
        """See ``Masks``."""
        return np.array([np.count_nonzero(each) for each in self.bitmaps], np.int64)

    def cut(self, index: int) -> tuple[Box, np.ndarray]:
        """See ``Masks``."""
        mask = self.bitmaps[index]
        rows = np.flatnonzero(mask.any(1))
        if not len(rows):
            return _NOTHING
        rows = slice(rows[0], rows[-1] + 1)
        columns = np.flatnonzero(mask[rows].any(0))
        box = rows, slice(columns[0], columns[-1] + 1)
        return box, mask[box].astype(bool)


class IdMap:
    """Masks that do not overlap, as one map.

    Args:
        ids: whole numbers (H, W), the largest of which is small: a list is made that is as long.
        values: the value of each mask in ``ids``, (N,), 0 or above; other values are no mask.
    """

    def __init__(self, ids: np.ndarray, values: Sequence[int]):
        self.ids, self.values = ids, np.asarray(values, int)
        self.size = ids.shape
        self._boxes: list[Box | None] | None = None

    def __len__(self) -> int:
        return len(self.values)

    def areas(self) -> np.ndarray:
        """See ``Masks``."""
        length = int(self.values.max(initial=0)) + 1
        counts = np.zeros(length, np.int64)
        for y in range(0, len(self.ids), _STRIP):  # bincount makes 8 bytes of each pixel
            strip = self.ids[y : y + _STRIP]
            counts += np.bincount(strip[strip >= 0], minlength=length)[:length]
        return counts[self.values]

    def cut(self, index: int) -> tuple[Box, np.ndarray]:
        """See ``Masks``."""
        box = self.box(index)
        return box, self.ids[box] == self.values[index]

    def box(self, index: int) -> Box:
        """That of a mask; the map is searched once for all."""
        if self._boxes is None:
            from scipy import ndimage

            wanted = int(self.values.max(initial=0)) + 1
            self._boxes = ndimage.find_objects(self.ids.astype(np.int32) + 1, wanted)  # its objects count from 1
        return self._boxes[self.values[index]] or _NOTHING[0]


class RLEs:
    """Masks as COCO's RLE, of which only the box is ever decoded.

    Args:
        rles: ``size`` and ``counts``, a list of lengths or COCO's compressed text; None for an empty mask.
        size: height and width.
    """

    def __init__(self, rles: Sequence[Mapping | None], size: tuple[int, int]):
        self.rles, self.size = rles, tuple(size)

    def __len__(self) -> int:
        return len(self.rles)

    def areas(self) -> np.ndarray:
        """See ``Masks``."""
        return np.array([np.subtract(*self._runs(rle)[::-1]).sum() for rle in self.rles], np.int64)

    def cut(self, index: int) -> tuple[Box, np.ndarray]:
        """See ``Masks``."""
        height = self.size[0]
        starts, ends = self._runs(self.rles[index])
        if not len(starts):
            return _NOTHING
        (first_columns, last_columns), (first_rows, last_rows) = np.divmod((starts, ends - 1), height)
        left, right = first_columns[0], last_columns[-1] + 1
        if (first_columns == last_columns).all():
            top, bottom = first_rows.min(), last_rows.max() + 1
        else:  # a run that goes on in the next column touches both sides
            top, bottom = 0, height
        h, w = bottom - top, right - left
        steps = np.zeros(h * w + 1, np.int8)  # column by column; no run starts or ends where another one does
        steps[(first_columns - left) * h + first_rows - top] += 1
        steps[(last_columns - left) * h + last_rows - top + 1] -= 1
        mask = np.cumsum(steps[:-1], dtype=np.int8).view(bool).reshape(w, h).T
        return (slice(int(top), int(bottom)), slice(int(left), int(right))), np.ascontiguousarray(mask)

    def _runs(self, rle: Mapping | None) -> tuple[np.ndarray, np.ndarray]:
        """First and last-but-one pixel of each run, int64, in the order of the columns; none is empty or touches the
        next."""
        if rle is None:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        counts = rle_counts(dict(rle, size=[int(side) for side in rle['size']]), *self.size)
        bounds = np.cumsum(counts)
        starts, ends = bounds[: len(counts) // 2 * 2 : 2], bounds[1::2]
        starts, ends = starts[ends > starts], ends[ends > starts]
        apart = starts[1:] > ends[:-1]
        return starts[np.append(True, apart)[: len(starts)]], ends[np.append(apart, True)[: len(ends)]]


class Enlarged:
    """Masks enlarged by a whole number.

    Args:
        masks: the small ones.
        factor: how much.
    """

    def __init__(self, masks: Masks, factor: int):
        self.masks, self.factor = masks, factor
        self.size = masks.size[0] * factor, masks.size[1] * factor

    def __len__(self) -> int:
        return len(self.masks)

    def areas(self) -> np.ndarray:
        """See ``Masks``."""
        return self.masks.areas() * self.factor**2

    def cut(self, index: int) -> tuple[Box, np.ndarray]:
        """See ``Masks``."""
        box, mask = self.masks.cut(index)
        rows, columns = (slice(side.start * self.factor, side.stop * self.factor) for side in box)
        return (rows, columns), mask.repeat(self.factor, 0).repeat(self.factor, 1)
