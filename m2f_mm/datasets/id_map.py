"""A panoptic annotation as one map of numbers, from the PNG to the tensor.

- In a PNG: the id of the segment, ``R + 256 G + 65536 B``, 0 is void (COCO panoptic format).
- In a pipeline: ``results['gt_seg_map']`` uint16, ``FIRST_SEGMENT + i`` is segment i, ``IGNORE`` is void, crowd and
  padding. So OpenMMLab's resize, flip, crop and pad (which fills with 255) move it like any semantic map.
- In a data sample: ``gt_segment_map`` int16, i is segment i, -1 is void.
"""
import numpy as np

IGNORE = 255
FIRST_SEGMENT = 256
MAX_SEGMENTS = np.iinfo(np.int16).max


def rgb_to_id(rgb: np.ndarray) -> np.ndarray:
    """Segment ids int32 (H, W) of an RGB picture uint8 (H, W, 3)."""
    rgb = rgb.astype(np.int32)
    return rgb[..., 0] + 256 * rgb[..., 1] + 65536 * rgb[..., 2]


def id_to_rgb(ids: np.ndarray) -> np.ndarray:
    """RGB picture uint8 (H, W, 3) of segment ids (H, W), 0 <= id < 2 ** 24."""
    if ids.size and (ids.min() < 0 or ids.max() >= 1 << 24):
        raise ValueError(f'segment ids must lie in 0..{(1 << 24) - 1} to fit into a PNG, '
                         f'got {ids.min()}..{ids.max()}')
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


def positions(ids: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Where in ``known`` (K,), distinct ids in any order, each of ``ids`` stands; -1 where it does not."""
    if not len(known):
        return np.full(ids.shape, -1)
    order = np.argsort(known)
    found = order[np.searchsorted(known, ids, sorter=order).clip(max=len(known) - 1)]
    return np.where(known[found] == ids, found, -1)
