"""The color jitter of SSD, as the official ADE20K, Cityscapes and Mapillary recipes use it."""

import mmcv
import numpy as np
from mmcv.transforms import BaseTransform

from ...registry import TRANSFORMS


@TRANSFORMS.register_module()
class ColorAugSSD(BaseTransform):
    """Brightness, contrast, saturation and hue, each with probability 1/2, on a BGR uint8 image.

    Contrast comes first or last with equal probability, and every step rounds to uint8 (PointRend's
    ``ColorAugSSDTransform``). MMSegmentation's ``PhotoMetricDistortion`` differs only in that it never draws the
    largest hue shift; MMDetection's works on floats without rounding.

    Args:
        brightness: largest summand.
        contrast: bounds of the factor.
        saturation: bounds of the factor.
        hue: largest shift, of 180.
    """

    def __init__(
        self, brightness: float = 32, contrast: tuple = (0.5, 1.5), saturation: tuple = (0.5, 1.5), hue: int = 18
    ):
        self.brightness = brightness
        self.contrast = tuple(contrast)
        self.saturation = tuple(saturation)
        self.hue = hue

    def transform(self, results: dict) -> dict:
        """Results with another ``img``."""
        image = results['img']
        if image.dtype != np.uint8 or image.shape[2:] != (3,):
            raise ValueError(
                f'ColorAugSSD wants a uint8 image of three channels, got {image.dtype} '
                f'{image.shape} of {results.get("img_path")}'
            )
        steps = [self._contrast, self._saturation, self._hue]
        if _coin():
            steps = steps[1:] + steps[:1]
        for step in [self._brightness, *steps]:
            if _coin():
                image = step(image)
        results['img'] = image
        return results

    def _brightness(self, image: np.ndarray) -> np.ndarray:
        return _rounded(image + np.float32(np.random.uniform(-self.brightness, self.brightness)))

    def _contrast(self, image: np.ndarray) -> np.ndarray:
        return _rounded(image * np.float32(np.random.uniform(*self.contrast)))

    def _saturation(self, image: np.ndarray) -> np.ndarray:
        hsv = mmcv.bgr2hsv(image)
        hsv[..., 1] = _rounded(hsv[..., 1] * np.float32(np.random.uniform(*self.saturation)))
        return mmcv.hsv2bgr(hsv)

    def _hue(self, image: np.ndarray) -> np.ndarray:
        hsv = mmcv.bgr2hsv(image)
        hsv[..., 0] = (hsv[..., 0].astype(int) + np.random.randint(-self.hue, self.hue + 1)) % 180
        return mmcv.hsv2bgr(hsv)

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(brightness={self.brightness}, contrast={self.contrast}, '
            f'saturation={self.saturation}, hue={self.hue})'
        )


def _coin() -> bool:
    return bool(np.random.randint(2))


def _rounded(pixels: np.ndarray) -> np.ndarray:
    return pixels.clip(0, 255).astype(np.uint8)
