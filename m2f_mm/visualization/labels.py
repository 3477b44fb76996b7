"""Names on filled tags, and places for them: inside of the image, beside each other, not over small segments.

Places are found one after the other, so the order says who comes first. Boxes are slices of rows and columns,
rectangles x0, y0, x1, y1 in pixels, the last two exclusive.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

import cv2
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .masks import Box

Rectangle = tuple[int, int, int, int]
_GRID = 192  # pixels of the longer side at which a place inside of a mask is looked for
_TRIES = 4  # places inside of a mask
_SMALL = 10  # squares of the font's size, about a tag: what is smaller is not covered by other names
_COVERED = 0.4  # of a mask may be hidden by its own name


@lru_cache
def font_of(size: int) -> ImageFont.FreeTypeFont:
    """The font of all texts, at a size in pixels."""
    # Matplotlib, which MMEngine requires, brings this font; Pillow's own is a bitmap in older releases.
    return ImageFont.truetype(os.path.join(matplotlib.get_data_path(), 'fonts', 'ttf', 'DejaVuSans.ttf'), size)


def font_size_of(image: np.ndarray) -> int:
    """Pixels of the texts over an image (H, W, ...): a fortieth of its shorter side, at least 10."""
    return max(10, round(min(image.shape[:2]) / 40))


@lru_cache(1024)
def _letters(text: str, size: int) -> np.ndarray:
    """A text with a margin around it, uint8 (h, w): 255 in the letters."""
    font = font_of(size)
    ascent, descent = font.getmetrics()
    margin = max(2, size // 5)
    canvas = Image.new('L', (round(font.getlength(text)) + 2 * margin, ascent + descent + 2 * (margin // 2)))
    ImageDraw.Draw(canvas).text((margin, margin // 2), text, 255, font)
    return np.asarray(canvas)


def tag(text: str, size: int, color: np.ndarray) -> np.ndarray:
    """A text on a ground of a color, black or white after the contrast; uint8 (h, w, 3)."""
    ground = np.asarray(color, float)
    letter = 0.0 if luminance(ground) > 0.18 else 255.0
    shades = ground + np.arange(256)[:, None] / 255 * (letter - ground)
    return shades.round().astype(np.uint8)[_letters(text, size)]


def luminance(color: np.ndarray) -> float:
    """Relative luminance, 0..1, of a color of sRGB; at 0.18 black and white have equal contrast to it (WCAG 2)."""
    part = np.asarray(color, float) / 255
    linear = np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


@dataclass
class Part:
    """The largest connected part of what is seen of a mask, beside or on which its name belongs.

    Args:
        rectangle: around it.
        mask: bool (h, w), every ``step``-th row and column of it.
        step: pixels.
    """

    rectangle: Rectangle
    mask: np.ndarray
    step: int


def largest_part(box: Box, visible: Callable[[int], np.ndarray]) -> Part | None:
    """The part of a mask; None where nothing is seen of it.

    Args:
        box: around the mask.
        visible: gives every n-th row and column of the mask in its box, bool, without what lies over it.
    """
    rows, columns = box
    step = max(1, -(-max(rows.stop - rows.start, columns.stop - columns.start) // _GRID))
    number, parts, stats, _ = cv2.connectedComponentsWithStats(visible(step).astype(np.uint8), connectivity=8)
    if number < 2:  # the first is the rest
        return None
    largest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    x, y, width, height = stats[largest, :4].tolist()
    left, top = columns.start + x * step, rows.start + y * step
    right, bottom = min(left + width * step, columns.stop), min(top + height * step, rows.stop)
    return Part((left, top, right, bottom), parts[y : y + height, x : x + width] == largest, step)


class Placement:
    """Which places of an image are taken.

    Args:
        size: height and width of the image.
        font_size: of the tags.
    """

    def __init__(self, size: tuple[int, int], font_size: int):
        self.height, self.width = size
        self.font_size = font_size
        self._tags: list[Rectangle] = []
        self._small: list[Rectangle] = []

    def reserve(self, rectangle: Rectangle) -> None:
        """Keep tags away from a segment, if it is so small that one could hide it."""
        x0, y0, x1, y1 = rectangle
        if (x1 - x0) * (y1 - y0) < _SMALL * self.font_size**2:
            self._small.append(rectangle)

    def on_mask(self, text: str, part: Part) -> tuple[int, int] | None:
        """Take a place for the name of a mask: where it is widest or, where the name would hide it, beside it.

        Returns:
            x and y of the upper left corner, None where there is no free place.
        """
        height, width = _letters(text, self.font_size).shape
        left, top = part.rectangle[:2]
        if width * height > _COVERED * part.step**2 * np.count_nonzero(part.mask):
            return self._take(self._around(part.rectangle, width, height), width, height, part.rectangle)
        depth = cv2.distanceTransform(np.pad(part.mask.astype(np.uint8), 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
        centre = [each.mean() for each in np.nonzero(part.mask)]
        places = []
        for _ in range(_TRIES):
            deepest = depth.max()
            if deepest * part.step < 0.55 * height:
                break
            rows, columns = np.nonzero(depth >= 0.8 * deepest)
            nearest = (np.square(rows - centre[0]) + np.square(columns - centre[1])).argmin()
            row, column = rows[nearest], columns[nearest]
            x, y = left + column * part.step - width // 2, top + row * part.step - height // 2
            places.append((min(max(x, 0), self.width - width), min(max(y, 0), self.height - height)))
            rows, columns = height // part.step + 1, width // part.step + 1
            depth[max(0, row - rows) : row + rows + 1, max(0, column - columns) : column + columns + 1] = 0
        return self._take(places or self._around(part.rectangle, width, height), width, height, part.rectangle)

    def on_box(self, text: str, rectangle: Rectangle) -> tuple[int, int] | None:
        """Take a place for the name of a box: above it, in its upper left corner, or below it."""
        height, width = _letters(text, self.font_size).shape
        x0, y0, _, y1 = rectangle
        x = min(max(x0, 0), self.width - width)
        return self._take([(x, y0 - height), (x, y0), (x, y1)], width, height, rectangle)

    def _around(self, rectangle: Rectangle, width: int, height: int) -> list[tuple[int, int]]:
        """Above and below (in the middle, at the left, at the right), then at the sides."""
        x0, y0, x1, y1 = rectangle
        along = [min(max(x, 0), self.width - width) for x in ((x0 + x1 - width) // 2, x0, x1 - width)]
        side = min(max((y0 + y1 - height) // 2, 0), self.height - height)
        return [*((x, y) for x in along for y in (y0 - height, y1)), (x1, side), (x0 - width, side)]

    def _take(
        self, places: Iterable[tuple[int, int]], width: int, height: int, own: Rectangle
    ) -> tuple[int, int] | None:
        """The first free place, which is free no longer."""
        others = [each for each in self._small if each != own]
        taken = np.array(self._tags + others, int).reshape(-1, 4)
        for x, y in places:
            if x < 0 or y < 0 or x + width > self.width or y + height > self.height:
                continue
            free = (taken[:, 0] >= x + width) | (taken[:, 2] <= x) | (taken[:, 1] >= y + height) | (taken[:, 3] <= y)
            if free.all():
                self._tags.append((int(x) - 1, int(y) - 1, int(x) + width + 1, int(y) + height + 1))
                return int(x), int(y)
        return None
