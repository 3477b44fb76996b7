"""Draws segments over an image: colors, outlines, names on tags where they fit, and a legend for the rest.

Shapes: H x W the image, N segments. Colors and images are RGB.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageDraw

from .labels import Placement, font_of, font_size_of, largest_part, tag
from .masks import Bitmaps, Box, Masks

_MARGIN = 6  # pixels around texts
_STRIP = 256  # rows that are blended at a time
# How the segments of a class differ: darker below 0 (towards black), lighter above (towards white).
_SHADES = (0.0, -0.3, 0.3, -0.5, 0.5, -0.15, 0.15)


@dataclass
class Segments:
    """What one panel shows.

    Args:
        masks: of any form, or bool (N, H, W); may overlap. None where there are only boxes.
        labels: class of each, (N,).
        scores: of each, (N,), or None.
        vary: give the segments of a class different shades, so that neighbours can be told apart.
        boxes: (N, 4) as x0, y0, x1, y1 in pixels; drawn where there are no masks.
        colors: (N, 3), RGB, in the place of those of the classes: objects of a video keep theirs from frame to frame.
        numbers: (N,), by which shades vary instead of by the position: things of a panoptic video have theirs in every
            frame.
    """

    masks: Masks | None
    labels: np.ndarray
    scores: np.ndarray | None = None
    vary: bool = True
    boxes: np.ndarray | None = None
    colors: np.ndarray | None = None
    numbers: np.ndarray | None = None

    def __post_init__(self):
        if isinstance(self.masks, np.ndarray):
            self.masks = Bitmaps(self.masks)

    def color(self, index: int, palette: Sequence) -> np.ndarray:
        """Of the outline and the tag of one segment, which the legend has, too; RGB uint8."""
        return np.asarray(palette[self.labels[index]] if self.colors is None else self.colors[index]).astype(np.uint8)

    def fills(self, palette: Sequence) -> np.ndarray:
        """Colors of the areas of all segments, RGB (N, 3) in 0..255: shades of ``color``."""
        colors = np.array([self.color(i, palette) for i in range(len(self.labels))], float).reshape(-1, 3)
        if not self.vary or self.colors is not None:
            return colors
        numbers = np.asarray(_ranks(self.labels) if self.numbers is None else self.numbers, int)
        shades = np.array(_SHADES)[numbers % len(_SHADES), None]
        return colors + np.where(shades < 0, colors, 255 - colors) * shades

    def name(self, index: int, classes: Sequence[str]) -> str:
        """Class and, where there is one, score."""
        return classes[self.labels[index]] + ('' if self.scores is None else f' {self.scores[index]:.2f}')


def _ranks(labels: np.ndarray) -> np.ndarray:
    """How many segments of the same class come before each."""
    seen: dict[int, int] = {}
    ranks = []
    for label in labels.tolist():
        ranks.append(seen.get(label, 0))
        seen[label] = ranks[-1] + 1
    return np.array(ranks, int)


def draw_segments(
    image: np.ndarray, segments: Segments, classes: Sequence[str], palette: Sequence, alpha: float = 0.5
) -> np.ndarray:
    """The image with its segments; large ones first, so that small ones stay visible.

    A pixel has the color of the smallest segment there. A segment is filled with a shade of its color and has an
    outline, inside of it, in the color itself. Masks are taken one at a time.

    Args:
        image: uint8 (H, W, 3).
        segments: masks or boxes.
        classes: names, by label.
        palette: colors, by label.
        alpha: opacity of the areas.

    Returns:
        uint8 (H, W, 3).

    Raises:
        ValueError: the masks have another size.
    """
    if segments.masks is None:
        return draw_boxes(image, segments, classes, palette)
    if tuple(segments.masks.size) != image.shape[:2]:
        raise ValueError(f'masks of {tuple(segments.masks.size)} pixels (H, W) over an image of {image.shape[:2]}')
    areas = segments.masks.areas()
    order = np.argsort(-areas, kind='stable')
    order = order[areas[order] > 0].tolist()
    # What is on top of each pixel: 0 nothing, 1 + 2 i the area of segment i, 2 + 2 i its outline.
    top = np.zeros(image.shape[:2], np.uint16 if len(areas) < 2**15 - 1 else np.uint32)
    width = _line_width(image)
    boxes = {}
    for i in order:
        boxes[i], mask = segments.masks.cut(i)
        part = top[boxes[i]]
        part[mask] = 2 + 2 * i
        part[_without_rim(mask, width, boxes[i], top.shape)] = 1 + 2 * i
    outlines = np.array([segments.color(i, palette) for i in range(len(areas))], np.uint8).reshape(-1, 3)
    colors = np.stack((segments.fills(palette).clip(0, 255).round().astype(np.uint8), outlines), 1).reshape(-1, 3)
    drawn = _blended(image, top, colors, alpha)
    placement = Placement(top.shape, font_size_of(image))
    parts = {
        i: part
        for i in order
        if (part := largest_part(boxes[i], lambda step, i=i: (top[boxes[i]][::step, ::step] - 1) // 2 == i))
    }
    for part in parts.values():
        placement.reserve(part.rectangle)
    for i, part in parts.items():
        name = segments.name(i, classes)
        _paste(drawn, name, placement.font_size, outlines[i], placement.on_mask(name, part))
    return drawn


def draw_boxes(image: np.ndarray, segments: Segments, classes: Sequence[str], palette: Sequence) -> np.ndarray:
    """The image uint8 (H, W, 3) with frames and names; large ones first."""
    drawn = image.copy()
    width, placement = 2 * _line_width(image), Placement(image.shape[:2], font_size_of(image))
    limits = np.array([image.shape[1], image.shape[0]] * 2)
    corners = segments.boxes.clip(0, limits).round().astype(int)
    order = np.argsort(-(corners[:, 2:] - corners[:, :2]).clip(min=0).prod(1), kind='stable').tolist()
    for i in order:
        x0, y0, x1, y1 = corners[i].tolist()
        frame = drawn[y0 : max(y0, y1), x0 : max(x0, x1)]
        frame[:width] = frame[-width:] = frame[:, :width] = frame[:, -width:] = segments.color(i, palette)
        placement.reserve((x0, y0, x1, y1))
    for i in order:
        name = segments.name(i, classes)
        place = placement.on_box(name, tuple(corners[i].tolist()))
        _paste(drawn, name, placement.font_size, segments.color(i, palette), place)
    return drawn


def _line_width(image: np.ndarray) -> int:
    return max(1, round(min(image.shape[:2]) / 400))


def _without_rim(mask: np.ndarray, width: int, box: Box, size: tuple[int, int]) -> np.ndarray:
    """The mask (h, w) without ``width`` pixels along its border, but for the sides of the image."""
    rows, columns = box
    pad = [
        (width * (side.start > 0), width * (side.stop < length))
        for side, length in ((rows, size[0]), (columns, size[1]))
    ]
    padded = np.pad(mask, pad).astype(np.uint8)
    inner = cv2.erode(padded, np.ones((2 * width + 1, 2 * width + 1), np.uint8))
    (y, _), (x, _) = pad
    return inner[y : y + mask.shape[0], x : x + mask.shape[1]].astype(bool)


def _blended(image: np.ndarray, top: np.ndarray, colors: np.ndarray, alpha: float) -> np.ndarray:
    """The image with colors (2 N, 3) over it, opaque in outlines; ``top`` as in ``draw_segments``."""
    drawn = np.empty_like(image)
    table = np.zeros((1 + len(colors), 4), np.uint8)
    table[1:, :3], table[2::2, 3] = colors, 255  # four bytes are looked up as one number; the last one says: outline
    table = table.view(np.uint32)[:, 0]
    for y in range(0, len(image), _STRIP):
        strip = slice(y, y + _STRIP)
        over = table.take(top[strip]).view(np.uint8).reshape(*top[strip].shape, 4)
        over, outline = np.ascontiguousarray(over[..., :3]), np.ascontiguousarray(over[..., 3])
        blended = cv2.addWeighted(image[strip], 1 - alpha, over, alpha, 0)
        cv2.copyTo(image[strip], (top[strip] == 0).view(np.uint8), blended)
        cv2.copyTo(over, outline, blended)
        drawn[strip] = blended
    return drawn


def _paste(canvas: np.ndarray, text: str, size: int, color: np.ndarray, place: tuple[int, int] | None) -> None:
    if place is not None:
        x, y = place
        patch = tag(text, size, color)
        canvas[y : y + patch.shape[0], x : x + patch.shape[1]] = patch


def titled(panel: np.ndarray, title: str) -> np.ndarray:
    """The panel (H, W, 3) under a bar with its title."""
    font = font_of(max(12, round(min(panel.shape[:2]) / 32)))
    bar = Image.new('RGB', (panel.shape[1], font.size + 2 * _MARGIN), 'white')
    ImageDraw.Draw(bar).text((_MARGIN, _MARGIN // 2), title, 'black', font)
    return np.concatenate([np.asarray(bar), panel])


def legend(width: int, entries: Sequence[tuple[str, tuple[int, int, int]]], font_size: int) -> np.ndarray:
    """Names and their colors, in as many rows as needed, (rows, width, 3)."""
    font = font_of(font_size)
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
