"""Random sizes and windows as the official recipes have them: large-scale jitter, and a random short side with a crop.

The transforms move whatever is in the results: ``img``, ``gt_seg_map`` (semantic or segments), ``gt_masks`` and
``gt_bboxes`` of MMDetection. ``LargeScaleJitter`` is what the COCO recipes use; ``ResizeScale`` and ``FixedSizeCrop``
are its two halves under the names of detectron2. The other data sets have ``ResizeShortestEdge`` and ``FixedSizeCrop``.
"""

from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness
from mmengine.utils import is_tuple_of
from PIL import Image

from ...registry import TRANSFORMS
from ..id_map import IGNORE
from .resizing import nearest_pixels, resize_image

_INSTANCE_KEYS = ('gt_bboxes', 'gt_bboxes_labels', 'gt_masks', 'gt_ignore_flags')
_SMALLEST_SIDE = 1e-5  # pixels; below it the official recipe calls a box empty


@TRANSFORMS.register_module()
class ResizeScale(BaseTransform):
    """Resize, keeping the ratio, so that the image just fits into ``scale`` times a random factor.

    Unlike mmcv's ``RandomResize(keep_ratio=True)`` it does not round the scaled box down to whole pixels first. The
    image is resized bilinearly with antialiasing, whatever its channels and depth (see ``resize_image``), labels with
    the nearest pixel centre. Results equal detectron2's ``ResizeScale``. No side becomes shorter than a pixel.

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

    def _new_shape(self, image: np.ndarray) -> tuple[int, int]:
        h, w = image.shape[:2]
        factor = self._factor()
        ratio = min(self.scale[0] * factor / w, self.scale[1] * factor / h)
        return max(round(h * ratio), 1), max(round(w * ratio), 1)

    def transform(self, results: dict) -> dict:
        """Results with the image, boxes, masks and maps resized."""
        shape = self._new_shape(results['img'])
        _resize_instances(results, shape)
        results['img'] = resize_image(results['img'], shape)
        results['img_shape'] = shape
        if results.get('gt_seg_map') is not None:
            results['gt_seg_map'] = resize_image(results['gt_seg_map'], shape, 'nearest')
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(scale={self.scale}, ratio_range={self.ratio_range})'


@TRANSFORMS.register_module()
class ResizeShortestEdge(ResizeScale):
    """Resize, keeping the ratio, so that the shorter side has one of some lengths, by chance, and the longer at most
    ``max_size`` (detectron2's transform of this name, in the rounding, too).

    Args:
        short_sides: lengths in pixels, all equally likely.
        max_size: of the longer side, in pixels; None for no limit.
    """

    def __init__(self, short_sides: Sequence[int], max_size: int | None):
        self.short_sides = tuple(short_sides)
        self.max_size = max_size

    @cache_randomness
    def _short_side(self) -> int:
        return self.short_sides[np.random.randint(len(self.short_sides))]

    def _new_shape(self, image: np.ndarray) -> tuple[int, int]:
        sides = image.shape[:2]
        side = self._short_side()
        scaled = [side if old == min(sides) else side / min(sides) * old for old in sides]
        factor = 1 if self.max_size is None else min(self.max_size / max(scaled), 1)
        return tuple(max(int(length * factor + 0.5), 1) for length in scaled)

    def __repr__(self) -> str:
        return f'{type(self).__name__}(short_sides={self.short_sides}, max_size={self.max_size})'


@TRANSFORMS.register_module()
class FixedSizeCrop(BaseTransform):
    """Cut a window of at most ``crop_size`` at a random place, then pad right and bottom to exactly that size.

    Args:
        crop_size: height and width in pixels.
        pad_val: fills the image; 128 is the grey of the official recipes, before normalisation.
        seg_pad_val: fills ``gt_seg_map``.
        filter_empty: drop instances of which nothing is left. Segments of a panoptic map always keep their number.
        diagonal: one random number places the window on both axes, so that it slides along the diagonal (detectron2's
            ``FixedSizeCrop``; keep it for parity); otherwise one for each (detectron2's ``RandomCrop``).
        pad: False leaves smaller images as they are.
    """

    def __init__(
        self,
        crop_size: tuple[int, int],
        pad_val: float = 128,
        seg_pad_val: int = IGNORE,
        filter_empty: bool = True,
        diagonal: bool = True,
        pad: bool = True,
    ):
        if not is_tuple_of(tuple(crop_size), int) or len(crop_size) != 2:
            raise ValueError(f'crop_size must be (height, width) in pixels, got {crop_size!r}')
        self.crop_size = tuple(crop_size)
        self.pad_val = pad_val
        self.seg_pad_val = seg_pad_val
        self.filter_empty = filter_empty
        self.diagonal = diagonal
        self.pad = pad

    @cache_randomness
    def _place(self) -> tuple[float, float]:
        """Where the window lies, on y and x, from 0 to 1."""
        u = np.random.uniform()
        return u, u if self.diagonal else np.random.uniform()

    def _window(self, shape: Sequence[int]) -> tuple[int, int, int, int]:
        """Upper left corner (y, x), height and width of the window in an image of ``shape``."""
        margins = [max(side - crop, 0) for side, crop in zip(shape, self.crop_size)]
        y, x = (
            round(margin * u) if self.diagonal else int((margin + 1) * u) for margin, u in zip(margins, self._place())
        )
        return y, x, min(shape[0], self.crop_size[0]), min(shape[1], self.crop_size[1])

    def transform(self, results: dict) -> dict:
        """Results with the window of image, boxes, masks and maps."""
        y, x, height, width = self._window(results['img'].shape)
        window = np.s_[y : y + height, x : x + width]
        size = self.crop_size if self.pad else (height, width)
        results['img'] = _padded(results['img'][window], size, self.pad_val)
        results['img_shape'] = size
        if results.get('gt_seg_map') is not None:
            results['gt_seg_map'] = _padded(results['gt_seg_map'][window], size, self.seg_pad_val)
        self._crop_instances(results, y, x, height, width)
        return results

    def _crop_instances(self, results: dict, y: int, x: int, height: int, width: int) -> None:
        if results.get('gt_bboxes') is not None:
            _move_boxes(results, factor=(1, 1), offset=(x, y), shape=(height, width))
        if results.get('gt_masks') is not None:
            if self.filter_empty and results.get('gt_bboxes') is not None:
                _select_instances(results, _in_window(results['gt_masks'], y, x, height, width))
            results['gt_masks'] = (
                results['gt_masks']
                .crop(np.array([x, y, x + width, y + height]))
                .pad(self.crop_size if self.pad else (height, width))
            )
            if results.get('gt_bboxes') is not None:
                results['gt_bboxes'] = _like(results['gt_bboxes'], results['gt_masks'].get_bboxes('hbox').numpy())
        if self.filter_empty and results.get('gt_bboxes') is not None:
            boxes = _array(results['gt_bboxes'])
            _select_instances(results, np.flatnonzero((boxes[:, 2:] - boxes[:, :2] > _SMALLEST_SIDE).all(1)))

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(crop_size={self.crop_size}, pad_val={self.pad_val}, '
            f'seg_pad_val={self.seg_pad_val}, filter_empty={self.filter_empty}, diagonal={self.diagonal}, '
            f'pad={self.pad})'
        )


@TRANSFORMS.register_module()
class LargeScaleJitter(ResizeScale, FixedSizeCrop):
    """``ResizeScale`` and then ``FixedSizeCrop``, of which nothing is made outside of the window.

    Same random numbers, same results bit for bit. The image stays (H, W, 3), but lies in memory as its three planes,
    so that packing it need not copy.

    Args:
        scale, ratio_range: see ``ResizeScale``.
        crop_size, pad_val, seg_pad_val, filter_empty: see ``FixedSizeCrop``.
    """

    def __init__(
        self,
        scale: tuple[int, int],
        crop_size: tuple[int, int],
        ratio_range: tuple[float, float] = (0.1, 2.0),
        pad_val: float = 128,
        seg_pad_val: int = IGNORE,
        filter_empty: bool = True,
    ):
        ResizeScale.__init__(self, scale, ratio_range)
        FixedSizeCrop.__init__(self, crop_size, pad_val, seg_pad_val, filter_empty)

    def transform(self, results: dict) -> dict:
        """Results with image, boxes, masks and maps resized and cropped."""
        image = results['img']
        if image.dtype != np.uint8 or image.shape[2:] != (3,):
            return FixedSizeCrop.transform(self, ResizeScale.transform(self, results))
        shape = self._new_shape(image)
        window = self._window(shape)
        _resize_instances(results, shape)
        planes = np.full((3, *self.crop_size), self.pad_val, np.uint8)
        _resize_into(planes, image, shape, *window)
        results['img'] = planes.transpose(1, 2, 0)
        results['img_shape'] = self.crop_size
        if results.get('gt_seg_map') is not None:
            seg_map = _nearest_in_window(results['gt_seg_map'], shape, *window)
            results['gt_seg_map'] = _padded(seg_map, self.crop_size, self.seg_pad_val)
        self._crop_instances(results, *window)
        return results

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(scale={self.scale}, crop_size={self.crop_size}, '
            f'ratio_range={self.ratio_range}, pad_val={self.pad_val}, seg_pad_val={self.seg_pad_val}, '
            f'filter_empty={self.filter_empty})'
        )


def _resize_into(
    planes: np.ndarray, image: np.ndarray, shape: tuple[int, int], y: int, x: int, height: int, width: int
) -> None:
    """Resize ``image`` (h, w, 3) to ``shape`` and write the window into the upper left corner of ``planes`` (3, H, W).

    Pillow stretches the rows, rounds to 8 bits, and then stretches the columns when the image does not become lower,
    so that the two may be asked for one by one, with cuts before and between. Its ``box`` would cut, too, but rounds
    the pixel centres to other places. When the image becomes lower, Pillow chooses the order; little is to be cut
    off then.
    """
    old, new = image.shape[0], shape[0]
    if new < old:
        resized = Image.fromarray(image).resize(shape[::-1], Image.Resampling.BILINEAR)
        for plane, band in zip(planes, resized.crop((x, y, x + width, y + height)).split()):
            plane[:height, :width] = band
        return
    top, bottom = max(y * old // new - 2, 0), min((y + height) * old // new + 3, old)  # the window sees no other rows
    stretched = Image.fromarray(image[top:bottom]).resize((shape[1], bottom - top), Image.Resampling.BILINEAR)
    for plane, band in zip(planes, stretched.crop((x, 0, x + width, bottom - top)).split()):
        canvas = np.zeros((old, -(-width // 4), 4), np.uint8)  # of the old height: the pixel centres depend on it
        canvas.reshape(old, -1)[top:bottom, :width] = band
        quads = Image.frombuffer('RGBX', canvas.shape[1::-1], canvas, 'raw', 'RGBX', 0, 1)  # faster than single bytes
        resized = np.asarray(quads.resize((quads.width, new), Image.Resampling.BILINEAR))
        plane[:height, :width] = resized[y : y + height].reshape(height, -1)[:, :width]


def _nearest_in_window(
    seg_map: np.ndarray, shape: tuple[int, int], y: int, x: int, height: int, width: int
) -> np.ndarray:
    """The window (height, width) of ``seg_map`` (h, w), resized to ``shape`` by Pillow's nearest pixel centre."""
    rows, columns = nearest_pixels(seg_map.shape, shape)
    rows, repeated = np.unique(rows[y : y + height], return_inverse=True)
    return seg_map[rows].take(columns[x : x + width], axis=1).take(repeated, axis=0)


def _padded(array: np.ndarray, shape: tuple[int, int], value: float) -> np.ndarray:
    """(h, w, ...) in the upper left corner of ``shape``; all channels get ``value``, unlike with mmcv's ``impad``."""
    padded = np.full((*shape, *array.shape[2:]), value, array.dtype)
    padded[: array.shape[0], : array.shape[1]] = array
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


def _resize_instances(results: dict, shape: tuple[int, int]) -> None:
    """Masks and boxes to ``shape`` (h, w), before the image is; says in the results how it was scaled."""
    h, w = results['img'].shape[:2]
    results['scale_factor'] = (shape[1] / w, shape[0] / h)
    results['keep_ratio'] = True
    if results.get('gt_masks') is not None:
        results['gt_masks'] = _resized(results['gt_masks'], shape)
    if results.get('gt_bboxes') is not None:
        _move_boxes(results, factor=results['scale_factor'], offset=(0, 0), shape=shape)


def _resized(masks, shape: tuple[int, int]):
    """MMDetection's masks at another size (h, w); bitmaps take the nearest pixel centre, as Pillow does and OpenCV,
    which the masks' own ``resize`` asks, does not."""
    if isinstance(masks.masks, list):
        return masks.resize(shape)
    rows, columns = nearest_pixels(masks.masks.shape[1:], shape)
    return type(masks)(masks.masks.take(rows, 1).take(columns, 2), *shape)


def _in_window(masks, y: int, x: int, height: int, width: int) -> np.ndarray:
    """Indices of the instances that may have a pixel in the window; cutting polygons to nothing takes long."""
    if not isinstance(masks.masks, list):  # of bitmaps it is an array
        return np.arange(len(masks))
    return np.array(
        [
            i
            for i, polygons in enumerate(masks)
            if any(
                p[0::2].min() < x + width and p[0::2].max() > x and p[1::2].min() < y + height and p[1::2].max() > y
                for p in polygons
            )
        ],
        int,
    )


def _select_instances(results: dict, mask: np.ndarray) -> None:
    for key in _INSTANCE_KEYS:
        if results.get(key) is not None:
            results[key] = results[key][mask]
