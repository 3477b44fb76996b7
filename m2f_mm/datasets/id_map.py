"""A panoptic annotation as one map of numbers, from the PNG to the tensor.

- In a PNG: the id of the segment, ``R + 256 G + 65536 B``, 0 is void (COCO panoptic format).
- In a pipeline: ``results['gt_seg_map']`` uint16, ``FIRST_SEGMENT + i`` is segment i, ``IGNORE`` is void, crowd and
  padding. So OpenMMLab's resize, flip, crop and pad (which fills with 255) move it like any semantic map.
- In a data sample: ``gt_segment_map`` int16, i is segment i, -1 is void.
"""

import cv2
import numpy as np

IGNORE = 255
FIRST_SEGMENT = 256
MAX_SEGMENTS = np.iinfo(np.int16).max
_TABLE_SIZE = 1 << 20


def rgb_to_id(rgb: np.ndarray) -> np.ndarray:
    """Segment ids int32 (H, W) of an RGB image uint8 (H, W, 3)."""
    return _read_as_number(rgb, cv2.COLOR_RGB2RGBA)


def bgr_to_id(bgr: np.ndarray) -> np.ndarray:
    """``rgb_to_id`` of an image as OpenCV reads it."""
    return _read_as_number(bgr, cv2.COLOR_BGR2RGBA)


def _read_as_number(pixels: np.ndarray, to_rgba: int) -> np.ndarray:
    if not pixels.size:
        return np.zeros(pixels.shape[:2], np.int32)
    quads = cv2.cvtColor(np.ascontiguousarray(pixels), to_rgba)  # their bytes are the id, but for the last one
    ids = quads.view('<i4')[..., 0]
    ids &= 0xFFFFFF
    return ids


def id_to_rgb(ids: np.ndarray) -> np.ndarray:
    """RGB image uint8 (H, W, 3) of segment ids (H, W), 0 <= id < 2 ** 24."""
    if ids.size and (ids.min() < 0 or ids.max() >= 1 << 24):
        raise ValueError(f'segment ids must lie in 0..{(1 << 24) - 1} to fit into a PNG, got {ids.min()}..{ids.max()}')
    return np.stack([(ids >> shift) & 255 for shift in (0, 8, 16)], axis=-1).astype(np.uint8)


class IdRuns:
    """An id map (H, W) as runs of equal neighbours in reading order.

    A map has a hundred times fewer runs than pixels, so that whatever is looked up per id is looked up per run.
    """

    def __init__(self, ids: np.ndarray):
        flat = ids.reshape(-1)
        starts = np.flatnonzero(flat[1:] != flat[:-1]) + 1
        self.shape = ids.shape
        self.starts = np.concatenate(([0], starts)) if flat.size else starts
        self.lengths = np.diff(self.starts, append=flat.size)
        self.values = flat[self.starts]

    def ids(self) -> np.ndarray:
        """The distinct ids of the map, ascending."""
        return np.unique(self.values)

    def replace(self, run_values: np.ndarray) -> np.ndarray:
        """The map (H, W) with another value for each run."""
        return np.repeat(run_values, self.lengths).reshape(self.shape)

    def common_with(self, other: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Runs (R,) in which neither this map nor another (H, W) changes: both values of each run, and its length."""
        other = other.reshape(-1)
        starts_here = np.zeros(other.size, bool)
        starts_here[self.starts] = True
        starts_here[1:] |= other[1:] != other[:-1]
        starts = np.flatnonzero(starts_here)
        runs_of_this = np.diff(np.searchsorted(starts, self.starts), append=starts.size)  # in each of its own runs
        return np.repeat(self.values, runs_of_this), other[starts], np.diff(starts, append=other.size)


def positions(ids: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Where in ``known`` (K,), distinct ids in any order, each of ``ids`` stands; -1 where it does not."""
    if not len(known):
        return np.full(ids.shape, -1)
    order = np.argsort(known)
    ascending = known[order]
    place = np.searchsorted(ascending[1:], ids, side='right')  # of the last one that is not above, else of the first
    return np.where(ascending[place] == ids, order[place], -1)


def distinct(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct ones of integers (N,), ascending, and where in them each value stands (N,)."""
    if not values.size or values.min() < 0 or values.max() >= _TABLE_SIZE:
        return np.unique(values, return_inverse=True)
    present = np.bincount(values) > 0  # a table instead of a sort
    return np.flatnonzero(present), (np.cumsum(present) - 1)[values]
