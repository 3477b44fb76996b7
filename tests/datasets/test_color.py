import mmcv
import numpy as np
import pytest

from m2f_mm.datasets import ColorAugSSD

IMAGE = np.random.default_rng(0).integers(0, 256, (6, 7, 3), np.uint8)


def drawn(transform, monkeypatch, coins, uniform=None, integer=None):
    """The transform's image when coins (first: contrast last?) and numbers fall as given."""
    coins = iter(coins)
    monkeypatch.setattr('m2f_mm.datasets.transforms.color._coin', lambda: next(coins))
    monkeypatch.setattr(np.random, 'uniform', lambda low, high: uniform)
    monkeypatch.setattr(np.random, 'randint', lambda low, high: integer)
    return transform(dict(img=IMAGE.copy()))['img']


def test_brightness_and_contrast_round_after_every_step(monkeypatch):
    bright = (IMAGE + np.float32(20.7)).clip(0, 255).astype(np.uint8)
    result = drawn(ColorAugSSD(), monkeypatch, [False, True, False, False, False], uniform=20.7)
    np.testing.assert_array_equal(result, bright)
    result = drawn(ColorAugSSD(), monkeypatch, [False, False, True, False, False], uniform=1.3)
    np.testing.assert_array_equal(result, (IMAGE * np.float32(1.3)).clip(0, 255).astype(np.uint8))


def test_hue_turns_by_the_opencv_scale(monkeypatch):
    hsv = mmcv.bgr2hsv(IMAGE)
    hsv[..., 0] = (hsv[..., 0].astype(int) - 18) % 180
    result = drawn(ColorAugSSD(), monkeypatch, [False, False, False, False, True], integer=-18)
    np.testing.assert_array_equal(result, mmcv.hsv2bgr(hsv))


def test_contrast_comes_first_or_last(monkeypatch):
    """Contrast and saturation do not commute, so the first coin shows."""
    first = drawn(ColorAugSSD(), monkeypatch, [False, False, True, True, False], uniform=1.5)
    last = drawn(ColorAugSSD(), monkeypatch, [True, False, True, False, True], uniform=1.5)
    assert (first != last).any()
    hsv = mmcv.bgr2hsv((IMAGE * np.float32(1.5)).clip(0, 255).astype(np.uint8))
    hsv[..., 1] = (hsv[..., 1] * np.float32(1.5)).clip(0, 255).astype(np.uint8)
    np.testing.assert_array_equal(first, mmcv.hsv2bgr(hsv))


def test_the_largest_hue_shift_can_be_drawn():
    np.random.seed(0)
    grey = np.zeros((1, 1, 3), np.uint8) + np.array([0, 0, 255], np.uint8)
    hues = {int(mmcv.bgr2hsv(ColorAugSSD(0, (1, 1), (1, 1))(dict(img=grey))['img'])[0, 0, 0]) for _ in range(3000)}
    assert {18, 162} <= hues and not hues & set(range(19, 162))


def test_only_colored_bytes():
    with pytest.raises(ValueError, match='three channels, got float32'):
        ColorAugSSD()(dict(img=IMAGE.astype(np.float32), img_path='x.jpg'))
