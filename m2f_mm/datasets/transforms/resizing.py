"""The one place that resizes an image: any number of channels, 8 bits and more, as Pillow does it.

Pillow takes four channels for RGBA and two for LA, and makes a color black where what it takes for transparency is 0;
it refuses other numbers of channels, and more than 8 bits. Here every channel is resized alone. Images of uint8 with
one or three channels are handed to Pillow as they are.
"""

from collections.abc import Iterable

import mmcv
import numpy as np
from mmcv.image.geometric import pillow_interp_codes
from mmcv.transforms import Resize as StockResize
from PIL import Image

from ...registry import TRANSFORMS

# What Pillow computes in, for each type of pixel: 8 bits, or 32 bits as integers (exact) or as floats.
_COMPUTED_IN = {
    'uint8': np.uint8,
    'bool': np.uint8,
    'int8': np.int32,
    'uint16': np.int32,
    'int16': np.int32,
    'int32': np.int32,
    'float16': np.float32,
    'float32': np.float32,
    'float64': np.float32,
}


def resize_image(image: np.ndarray, size: tuple[int, int], interpolation: str = 'bilinear') -> np.ndarray:
    """An image or label map (h, w) or (h, w, C) of any C at another size; the type of its pixels stays.

    Args:
        image: of bool, integers of up to 32 bits with a sign or 16 without, or floats (which are computed in float32).
        size: (height, width), at least 1 each.
        interpolation: one of Pillow's: 'bilinear' (antialiased), 'nearest', 'bicubic', 'lanczos', 'box', 'hamming'.

    Raises:
        ValueError: the image has no pixels, no such number of axes, or pixels of another type.
    """
    if image.ndim not in (2, 3) or 0 in image.shape:
        raise ValueError(
            f'an image must be (height, width) or (height, width, channels) without an empty axis, got {image.shape}'
        )
    if interpolation == 'nearest' and image.dtype != np.uint8:
        rows, columns = nearest_pixels(image.shape, size)
        return image[rows[:, None], columns]
    if image.dtype.name not in _COMPUTED_IN:
        raise ValueError(
            f'an image of {image.dtype} cannot be resized, only of {", ".join(_COMPUTED_IN)}: convert it '
            'to float32 after loading (to_float32=True)'
        )
    code = pillow_interp_codes[interpolation]
    if image.dtype == np.uint8 and image.shape[2:] in ((), (3,)):
        return np.array(Image.fromarray(image).resize(size[::-1], code))
    if image.ndim == 2:
        return _resize_channel(image, size, code)
    resized = np.empty((*size, image.shape[2]), image.dtype)
    for channel in range(image.shape[2]):
        resized[..., channel] = _resize_channel(image[..., channel], size, code)
    return resized


def nearest_pixels(old: tuple[int, int], new: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of a map of the size ``old`` (h, w) that Pillow's nearest takes for one of the size ``new``."""
    return tuple(
        np.asarray(
            Image.fromarray(np.arange(before, dtype=np.int32)[None]).resize((after, 1), Image.Resampling.NEAREST)
        )[0]
        for before, after in zip(old, new)
    )


def _resize_channel(channel: np.ndarray, size: tuple[int, int], code: int) -> np.ndarray:
    wide = np.ascontiguousarray(channel, _COMPUTED_IN[channel.dtype.name])
    resized = np.asarray(Image.fromarray(wide).resize(size[::-1], code))
    if resized.dtype != channel.dtype and channel.dtype.kind in 'iu':  # cubic filters overshoot
        limits = np.iinfo(channel.dtype)
        resized = resized.clip(limits.min, limits.max)
    return resized.astype(channel.dtype)


def rescaled_size(image: np.ndarray, scale: float | tuple[int, int]) -> tuple[int, int]:
    """(height, width) of an image that fits into ``scale`` with its ratio kept, as mmcv rounds it, and at least 1 each:
    mmcv's own is 0 for the short side of a very long image."""
    height, width = image.shape[:2]
    new_width, new_height = mmcv.rescale_size((width, height), scale)
    return max(new_height, 1), max(new_width, 1)


@TRANSFORMS.register_module()
class Resize(StockResize):
    """mmcv's ``Resize`` for images of any number of channels, depth and shape.

    With ``backend='pillow'`` the image goes through ``resize_image``, and so does a label map of more than 8 bits; with
    ``keep_ratio=True`` no side becomes 0. Everything else, and every result for images of uint8 with three channels, is
    mmcv's. ``m2f_mm.compatibility`` gives the same to the stock transforms of this name.
    """

    def _resize_img(self, results: dict) -> None:
        resize_results(self, results)

    def _resize_seg(self, results: dict) -> None:
        resize_maps(self, results)


def resize_results(transform: StockResize, results: dict) -> None:
    """What ``StockResize._resize_img`` does: ``img`` at ``scale``, and how it was scaled."""
    image = results.get('img')
    if image is None:
        return
    height, width = image.shape[:2]
    size = rescaled_size(image, results['scale']) if transform.keep_ratio else tuple(results['scale'][::-1])
    results['img'] = _resized(transform, image, size, transform.interpolation)
    results['img_shape'] = size
    results['scale_factor'] = (size[1] / width, size[0] / height)
    results['keep_ratio'] = transform.keep_ratio


def resize_maps(transform: StockResize, results: dict, keys: Iterable[str] = ('gt_seg_map',)) -> None:
    """What ``StockResize._resize_seg`` does: label maps at ``scale``, by the nearest pixel."""
    for key in keys:
        labels = results.get(key)
        if labels is not None:
            size = rescaled_size(labels, results['scale']) if transform.keep_ratio else tuple(results['scale'][::-1])
            results[key] = _resized(transform, labels, size, 'nearest')


def _resized(transform: StockResize, image: np.ndarray, size: tuple[int, int], interpolation: str) -> np.ndarray:
    if transform.backend == 'pillow':
        return resize_image(image, size, interpolation)
    resized = mmcv.imresize(image, size[::-1], interpolation=interpolation, backend=transform.backend)
    return resized if resized.ndim == image.ndim else resized[..., None]  # OpenCV drops a single channel's axis
