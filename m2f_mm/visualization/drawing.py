"""Draws segments over an image: colors, outlines, names where they fit, and a legend for the rest.

Shapes: H x W the image, N segments. Colors and images are RGB.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

_MARGIN = 6  # pixels around texts


@dataclass
class Segments:
    """What one panel shows.

    Args:
        masks: bool (N, H, W); may overlap. None where there are only boxes.
        labels: class of each, (N,).
        scores: of each, (N,), or None.
        vary: give the segments of a class slightly different colors, so that neighbours can be told apart.
        boxes: (N, 4) as x0, y0, x1, y1 in pixels; drawn where there are no masks.
        colors: (N, 3), RGB, in the place of those of the classes: objects of a video keep theirs from frame to frame.
        numbers: (N,), by which colors vary instead of by the position: things of a panoptic video have theirs in every
            frame.
    """

    masks: np.ndarray | None
    labels: np.ndarray
    scores: np.ndarray | None = None
    vary: bool = True
    boxes: np.ndarray | None = None
    colors: np.ndarray | None = None
    numbers: np.ndarray | None = None

    def color(self, index: int, palette: Sequence) -> np.ndarray:
        """Of one segment, RGB."""
        if self.colors is not None:
            return self.colors[index]
        color = np.array(palette[self.labels[index]])
        index = index if self.numbers is None else int(self.numbers[index])
        return color * (0.7 + 0.1 * (index % 6)) + 20 * (index % 3) if self.vary else color

    def name(self, index: int, classes: Sequence[str]) -> str:
        """Class and, where there is one, score."""
        return classes[self.labels[index]] + ('' if self.scores is None else f' {self.scores[index]:.2f}')


def draw_segments(
    image: np.ndarray, segments: Segments, classes: Sequence[str], palette: Sequence, alpha: float = 0.5
) -> np.ndarray:
    """The image uint8 (H, W, 3) with its segments; large ones first, so that small ones stay visible."""
    if segments.masks is None:
        return draw_boxes(image, segments, classes, palette)
    areas = segments.masks.sum((1, 2))
    order = np.argsort(-areas, kind='stable')
    order = order[areas[order] > 0]
    image = image.copy()
    for i in order:
        mask = segments.masks[i]
        image[mask] = (alpha * segments.color(i, palette) + (1 - alpha) * image[mask]).clip(0, 255)
    thickness = max(1, round(min(image.shape[:2]) / 400))
    for i in order:
        contours, _ = cv2.findContours(segments.masks[i].astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(image, contours, -1, (255, 255, 255), thickness, cv2.LINE_AA)
    canvas = Image.fromarray(image)
    for i in order:
        _draw_name(canvas, segments.masks[i], segments.name(i, classes))
    return np.asarray(canvas)


def draw_boxes(image: np.ndarray, segments: Segments, classes: Sequence[str], palette: Sequence) -> np.ndarray:
    """The image uint8 (H, W, 3) with frames and, above or in their upper left corners, names; large ones first."""
    canvas = Image.fromarray(image)
    draw, font = ImageDraw.Draw(canvas), _font(_font_size(image))
    sizes = (segments.boxes[:, 2:] - segments.boxes[:, :2]).clip(min=0).prod(1)
    limits = np.array([canvas.width - 1, canvas.height - 1] * 2)
    for i in np.argsort(-sizes, kind='stable'):
        x0, y0, x1, y1 = segments.boxes[i].clip(0, limits)
        color = tuple(int(value) for value in segments.color(i, palette).clip(0, 255))
        draw.rectangle((x0, y0, max(x0, x1), max(y0, y1)), outline=color, width=max(2, font.size // 8))
        top = y0 - font.size - 2 if y0 > font.size + 2 else y0 + 1
        draw.text(
            (x0 + 2, top),
            segments.name(i, classes),
            'white',
            font,
            stroke_width=max(1, font.size // 8),
            stroke_fill=color,
        )
    return np.asarray(canvas)


def titled(panel: np.ndarray, title: str) -> np.ndarray:
    """The panel (H, W, 3) under a bar with its title."""
    font = _font(_font_size(panel))
    bar = Image.new('RGB', (panel.shape[1], font.size + 2 * _MARGIN), 'white')
    ImageDraw.Draw(bar).text((_MARGIN, _MARGIN // 2), title, 'black', font)
    return np.concatenate([np.asarray(bar), panel])


def legend(width: int, entries: Sequence[tuple[str, tuple[int, int, int]]], font_size: int) -> np.ndarray:
    """Names and their colors, in as many rows as needed, (rows, width, 3)."""
    font = _font(font_size)
    x, y, places = _MARGIN, _MARGIN, []
    for name, _ in entries:
        advance = font_size + _MARGIN + round(font.getlength(name)) + 2 * _MARGIN
        if x + advance > width and x > _MARGIN:
            x, y = _MARGIN, y + font_size + _MARGIN
        places.append((x, y))
        x += advance
    strip = Image.new('RGB', (width, y + font_size + 2 * _MARGIN), 'white')
    draw = ImageDraw.Draw(strip)
    for (name, color), (x, y) in zip(entries, places):
        draw.rectangle((x, y, x + font_size, y + font_size), fill=color, outline='black')
        draw.text((x + font_size + _MARGIN, y - 1), name, 'black', font)
    return np.asarray(strip)


def enlarged(image: np.ndarray, shortest: int) -> tuple[np.ndarray, int]:
    """The image enlarged by a whole number until its shorter side has ``shortest`` pixels, and that number."""
    factor = max(1, -(-shortest // max(min(image.shape[:2]), 1)))
    return image.repeat(factor, 0).repeat(factor, 1), factor


def _font_size(image: np.ndarray) -> int:
    return max(12, round(min(image.shape[:2]) / 32))


def _draw_name(canvas: Image.Image, mask: np.ndarray, text: str) -> None:
    """Write where the segment is widest, unless it is smaller than the letters; the legend names it then."""
    font = _font(_font_size(mask))
    inside = cv2.distanceTransform(np.pad(mask.astype(np.uint8), 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
    if inside.max() < 0.6 * font.size:
        return
    y, x = np.unravel_index(inside.argmax(), mask.shape)
    width, height = font.getlength(text), font.size
    left = float(np.clip(x - width / 2, 1, max(canvas.width - width - 1, 1)))
    top = float(np.clip(y - height / 2, 1, max(canvas.height - height - 1, 1)))
    ImageDraw.Draw(canvas).text(
        (left, top), text, 'white', font, stroke_width=max(1, font.size // 8), stroke_fill='black'
    )


@lru_cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    # Matplotlib, which MMEngine requires, brings this font; Pillow's own is a bitmap in older releases.
    return ImageFont.truetype(os.path.join(matplotlib.get_data_path(), 'fonts', 'ttf', 'DejaVuSans.ttf'), size)
