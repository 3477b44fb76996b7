"""A result as HTML: the drawn image, with an outline of each segment over it that says class and score to the mouse.

SVG and CSS alone, no JavaScript. gradio's ``AnnotatedImage`` sends a PNG of the whole image for each segment, and
highlights from its legend, not from the image.
"""

import base64
from html import escape

import cv2
import numpy as np

from .report_data import fitted
from .results import Result, ResultSegment

MIN_SIDE, MAX_SIDE = 320, 1280  # pixels of the image that is shown; a small one is enlarged
QUALITY = 90  # of its JPEG
DETAIL = 0.75  # pixels by which an outline may differ from the mask
# ``.m2f-hover`` is the box, ``g`` a segment.
STYLE = """
.m2f-hover { position: relative; line-height: 0; }
.m2f-hover img { width: 100%; height: auto; }
.m2f-hover svg { position: absolute; inset: 0; width: 100%; height: 100%; }
.m2f-hover path { fill: transparent; stroke: none; pointer-events: all; }
.m2f-hover g:hover path { fill: rgba(255, 255, 255, 0.3); stroke: white; stroke-width: 2;
  vector-effect: non-scaling-stroke; }
.m2f-hover text { display: none; fill: white; stroke: black; paint-order: stroke; pointer-events: none;
  font-family: sans-serif; font-weight: 600; }
.m2f-hover g:hover text { display: block; }
"""


def hover_html(result: Result, alpha: float = 0.5, title: str = '') -> str:
    """The drawn image with outlines of the segments.

    Args:
        result: of an image.
        alpha: opacity of the colors.
        title: what the image shows, for readers that cannot see it.
    """
    side = max(result.size)
    result = fitted(result, MAX_SIDE if side > MAX_SIDE else max(side, MIN_SIDE))
    height, width = result.size
    encoded = cv2.imencode('.jpg', result.plot(alpha)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
    image = base64.b64encode(encoded).decode()
    font = round(max(height, width) / 22)
    # Those on top are found first by the mouse: small ones.
    groups = [_group(segment, font) for segment in sorted(result, key=lambda each: -each.area)]
    text = escape(title or f'{len(result)} segments of {result.name}', quote=True)
    return (
        f'<div class="m2f-hover"><img alt="{text}" src="data:image/jpeg;base64,{image}">'
        f'<svg viewBox="0 0 {width} {height}" preserveAspectRatio="none">{"".join(groups)}</svg></div>'
    )


def label_of(segment: ResultSegment) -> str:
    """Class and, where there is one, score: 'dog 0.93'."""
    return segment.name if segment.score is None else f'{segment.name} {segment.score:.2f}'


def _group(segment: ResultSegment, font: int) -> str:
    """A segment's outline and text.

    Args:
        segment: at the size of the shown image.
        font: height of the text in pixels.
    """
    height, width = segment.size
    x0, y0, x1, y1 = segment.box
    if segment.has_mask:
        path = _path(segment.mask.astype(np.uint8))
    else:
        path = f'M{x0:.1f} {y0:.1f}H{x1:.1f}V{y1:.1f}H{x0:.1f}Z'
    label = escape(label_of(segment), quote=True).replace('{', '&#123;').replace('$', '&#36;')
    length = 0.6 * font * len(label_of(segment))  # an estimate is enough to stay inside of the image
    x = max(2.0, min((x0 + x1 - length) / 2, width - length))
    y = min(max((y0 + y1) / 2, font), height - 2.0)
    return (
        f'<g><path d="{path}" fill-rule="evenodd"/><title>{label}</title>'
        f'<text x="{x:.0f}" y="{y:.0f}" font-size="{font}" stroke-width="{font / 6:.1f}">{label}</text></g>'
    )


def _path(mask: np.ndarray) -> str:
    """The outlines of a mask uint8 (H, W), those of its holes, too, as SVG."""
    contours, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    parts = []
    for contour in contours:
        points = cv2.approxPolyDP(contour, DETAIL, True)[:, 0]
        if len(points) >= 3:
            parts.append('M' + 'L'.join(f'{x} {y}' for x, y in points.tolist()) + 'Z')
    return ''.join(parts)
