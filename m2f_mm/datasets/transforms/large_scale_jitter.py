"""Large-scale jitter as the official recipes have it: a random size within a scaled box, then a fixed window.

Both transforms move whatever is in the results: ``img``, ``gt_seg_map`` (semantic or segments), ``gt_masks`` and
``gt_bboxes`` of MMDetection.
"""
from collections.abc import Sequence

import mmcv
import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness
from mmengine.utils import is_tuple_of
from PIL import Image

from ...registry import TRANSFORMS
from ..id_map import IGNORE

_INSTANCE_KEYS = ('gt_bboxes', 'gt_bboxes_labels', 'gt_masks', 'gt_ignore_flags')
_SMALLEST_SIDE = 1e-5  # pixels; below it the official recipe calls a box empty


@TRANSFORMS.register_module()
class ResizeScale(BaseTransform):
    """Resize, keeping the ratio, so that the picture just fits into ``scale`` times a random factor.

    Unlike mmcv's ``RandomResize(keep_ratio=True)`` it does not round the scaled box down to whole pixels first, and
    does with Pillow what mmcv's ``backend='pillow'`` refuses for maps of more than 8 bits: the picture bilinearly
    with antialiasing, labels with the nearest pixel centre. Results equal detectron2's ``ResizeScale``.

    Args:
        scale: width and height of the box in pixels (OpenMMLab's order).
        ratio_range: bounds of the factor.
    """

    def __init__(self, scale: tuple[int, int], ratio_range: tuple[float, float] = (0.1, 2.0)):
        self.scale = tuple(scale)
        self.ratio_range = tuple(ratio_range)

    @cache_randomness
    def _factor(self) -> float:
        return np.random.uniform(*self.ratio_range)

    def transform(self, results: dict) -> dict:
        h, w = results['img'].shape[:2]
        factor = self._factor()
        ratio = min(self.scale[0] * factor / w, self.scale[1] * factor / h)
        shape = max(round(h * ratio), 1), max(round(w * ratio), 1)
        results['img'] = mmcv.imresize(results['img'], shape[::-1], interpolation='bilinear', backend='pillow')
        results['img_shape'] = shape
        results['scale_factor'] = (shape[1] / w, shape[0] / h)
        results['keep_ratio'] = True
        if results.get('gt_seg_map') is not None:
            wide = Image.fromarray(results['gt_seg_map'].astype(np.int32))  # Pillow's nearest knows 8 and 32 bits
            resized = wide.resize(shape[::-1], Image.Resampling.NEAREST)
            results['gt_seg_map'] = np.asarray(resized).astype(results['gt_seg_map'].dtype)
        if results.get('gt_masks') is not None:
            results['gt_masks'] = results['gt_masks'].resize(shape)
        if results.get('gt_bboxes') is not None:
            _move_boxes(results, factor=results['scale_factor'], offset=(0, 0), shape=shape)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(scale={self.scale}, ratio_range={self.ratio_range})'


@TRANSFORMS.register_module()
class FixedSizeCrop(BaseTransform):
    """Cut a window of at most ``crop_size`` at a random place, then pad right and bottom to exactly that size.

    One random number places the window on both axes, so that it slides along the diagonal (detectron2's
    ``FixedSizeCrop``; keep it for parity).

    Args:
        crop_size: height and width in pixels.
        pad_val: fills the picture; 128 is the grey of the official recipes, before normalisation.
        seg_pad_val: fills ``gt_seg_map``.
        filter_empty: drop instances of which nothing is left. Segments of a panoptic map always keep their number.
    """

    def __init__(self, crop_size: tuple[int, int], pad_val: float = 128, seg_pad_val: int = IGNORE,
                 filter_empty: bool = True):
        if not is_tuple_of(tuple(crop_size), int) or len(crop_size) != 2:
            raise ValueError(f'crop_size must be (height, width) in pixels, got {crop_size!r}')
        self.crop_size = tuple(crop_size)
        self.pad_val = pad_val
        self.seg_pad_val = seg_pad_val
        self.filter_empty = filter_empty

    @cache_randomness
    def _place(self) -> float:
        return np.random.uniform()

    def transform(self, results: dict) -> dict:
        u = self._place()
        y, x = (round(max(side - crop, 0) * u) for side, crop in zip(results['img'].shape, self.crop_size))
        height, width = self.crop_size
        window = np.s_[y:y + height, x:x + width]
        image = results['img'][window]
        results['img'] = _padded(image, self.crop_size, self.pad_val)
        results['img_shape'] = self.crop_size
        if results.get('gt_seg_map') is not None:
            results['gt_seg_map'] = _padded(results['gt_seg_map'][window], self.crop_size, self.seg_pad_val)
        if results.get('gt_bboxes') is not None:
            _move_boxes(results, factor=(1, 1), offset=(x, y), shape=image.shape[:2])
        if results.get('gt_masks') is not None:
            box = np.array([x, y, x + image.shape[1], y + image.shape[0]])
            results['gt_masks'] = results['gt_masks'].crop(box).pad(self.crop_size)
            if results.get('gt_bboxes') is not None:
                results['gt_bboxes'] = _like(results['gt_bboxes'], results['gt_masks'].get_bboxes('hbox').numpy())
        if self.filter_empty and results.get('gt_bboxes') is not None:
            boxes = _array(results['gt_bboxes'])
            _select_instances(results, np.flatnonzero((boxes[:, 2:] - boxes[:, :2] > _SMALLEST_SIDE).all(1)))
        return results

    def __repr__(self) -> str:
        return (f'{type(self).__name__}(crop_size={self.crop_size}, pad_val={self.pad_val}, '
                f'seg_pad_val={self.seg_pad_val}, filter_empty={self.filter_empty})')


def _padded(array: np.ndarray, shape: tuple[int, int], value: float) -> np.ndarray:
    """(h, w, ...) in the upper left corner of ``shape``; all channels get ``value``, unlike with mmcv's ``impad``."""
    padded = np.full((*shape, *array.shape[2:]), value, array.dtype)
    padded[:array.shape[0], :array.shape[1]] = array
    return padded


def _array(boxes) -> np.ndarray:
    """Boxes (N, 4) of MMDetection's ``HorizontalBoxes`` or an array as an array."""
    return boxes if isinstance(boxes, np.ndarray) else boxes.numpy()


def _like(boxes, array: np.ndarray):
    return array if isinstance(boxes, np.ndarray) else type(boxes)(array.astype(np.float32))


def _move_boxes(results: dict, factor: Sequence[float], offset: Sequence[float], shape: tuple[int, int]) -> None:
    """Scale boxes by ``factor`` (x, y), move the origin to ``offset`` (x, y), clip to ``shape`` (h, w)."""
    boxes = _array(results['gt_bboxes']) * np.tile(factor, 2) - np.tile(offset, 2)
    results['gt_bboxes'] = _like(results['gt_bboxes'], boxes.clip(0, np.tile(shape[::-1], 2)))


def _select_instances(results: dict, kept: np.ndarray) -> None:
    for key in _INSTANCE_KEYS:
        if results.get(key) is not None:
            results[key] = results[key][kept]
