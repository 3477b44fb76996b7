"""Colors of classes without a palette, as others see them."""

import numpy as np
import pytest

from m2f_mm.datasets.categories import distinct_colors

# What linear RGB looks like to a reader with a total deficiency: Machado, Oliveira and Fernandes, "A
# Physiologically-based Model for Simulation of Color Vision Deficiency", IEEE Transactions on Visualization and
# Computer Graphics 15(6), 2009, severity 1.0.
VISION = dict(
    common=np.eye(3),
    protanopia=[[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    deuteranopia=[[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
)
XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
WHITE = XYZ.sum(1)


def cielab(colors, matrix):
    """CIELAB (N, 3) of sRGB 0..255 (N, 3) as seen through a matrix."""
    part = np.asarray(colors) / 255
    linear = np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
    xyz = (linear @ np.transpose(matrix)).clip(0, 1) @ XYZ.T / WHITE
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack((116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])), 1)


@pytest.mark.parametrize(
    'number, vision, least', [(12, 'common', 41), (12, 'protanopia', 26), (12, 'deuteranopia', 26)]
)
def test_any_two_are_told_apart(number, vision, least):
    """The distance of two neighbouring squares of a map that people still name differently is about 10."""
    seen = cielab(distinct_colors(number), VISION[vision])
    distances = np.linalg.norm(seen[:, None] - seen, axis=-1) + 1000 * np.eye(number)
    assert distances.min() > least


def test_a_class_keeps_its_color_when_there_are_more():
    many = distinct_colors(300)
    assert len(set(many[:40])) == 40 and len(many) == 300
    assert all(distinct_colors(number) == many[:number] for number in (0, 1, 5, 33))
    assert all(0 <= part <= 255 for color in many for part in color)
