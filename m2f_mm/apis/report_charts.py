"""Charts as SVG inside of a page of HTML: curves, reliability diagrams. All texts are escaped."""

import math
from collections.abc import Sequence
from html import escape

from .report_curves import Chart

# Okabe and Ito's colors, distinguishable for color-blind readers, without yellow; then dashes.
COLORS = ('#0072b2', '#d55e00', '#009e73', '#cc79a7', '#56b4e9', '#e69f00', '#333333')
DASHES = ('', '6 3', '2 2', '8 3 2 3')
WIDTH, HEIGHT = 460, 260
LEFT, RIGHT, TOP, BOTTOM = 62, 20, 16, 30
LOG_SPAN = 20  # largest by smallest value from which on a scale may be logarithmic


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About ``count`` round numbers from ``low`` to ``high``."""
    if not high > low:
        return [low]
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [index * step for index in range(first, math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten, and their halves and fifths, between two exponents."""
    factors = (1,) if high - low > 3 else (1, 2, 5)
    values = [factor * 10.0**power for power in range(math.floor(low), math.ceil(high) + 1) for factor in factors]
    return [value for value in values if low <= math.log10(value) <= high]


class _Axes:
    """Places of values in the picture."""

    def __init__(self, x: tuple[float, float], y: tuple[float, float], log_scale: bool = False):
        self.log_scale = log_scale
        self.x, self.y = _widened(*x), (math.log10(y[0]), math.log10(y[1])) if log_scale else _widened(*y)
        if log_scale:
            self.y = _widened(*self.y)

    def place(self, x: float, y: float) -> tuple[float, float]:
        y = math.log10(y) if self.log_scale else y
        across, up = ((value - low) / (high - low) for value, (low, high) in ((x, self.x), (y, self.y)))
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    def grid(self, x_name: str = '', y_name: str = '') -> str:
        """Lines and numbers."""
        parts = []
        for value in log_ticks(*self.y) if self.log_scale else ticks(*self.y):
            _, y = self.place(self.x[0], value)
            parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
            parts.append(f'<text x="{LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{number(value)}</text>')
        for value in ticks(*self.x):
            x, _ = self.place(value, 10 ** self.y[0] if self.log_scale else self.y[0])
            parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 15}" text-anchor="middle">{number(value)}</text>')
        parts.append(f'<path class="axis" d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 3}" text-anchor="end">{escape(x_name)}</text>')
        if y_name:
            place = f'x="12" y="{HEIGHT / 2}" text-anchor="middle" transform="rotate(-90 12 {HEIGHT / 2})"'
            parts.append(f'<text {place}>{escape(y_name)}</text>')
        return ''.join(parts)


def _widened(low: float, high: float) -> tuple[float, float]:
    if high > low:
        return low, high
    return low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2


def number(value: float) -> str:
    """Short, for an axis or a cell."""
    if value and not 1e-3 <= abs(value) < 1e6:
        return f'{value:.1e}'.replace('e-0', 'e-').replace('e+0', 'e')
    return f'{value:.4g}'


def svg(content: str, label: str, height: int = HEIGHT) -> str:
    """A picture of that content, as wide as ``WIDTH``."""
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(label)}">{content}</svg>'


def line_chart(chart: Chart) -> str:
    """Curves over iterations, with a legend, as a ``figure``; the values are shown where the pointer rests."""
    curves = [curve for curve in chart.curves if curve.steps]
    x = min(curve.steps[0] for curve in curves), max(curve.steps[-1] for curve in curves)
    y = min(min(curve.values) for curve in curves), max(max(curve.values) for curve in curves)
    log_scale = chart.log_scale and y[0] > 0 and y[1] / y[0] > LOG_SPAN
    if not log_scale and 0 < y[0] < 0.5 * y[1]:
        y = 0.0, y[1]
    axes, parts, names = _Axes(x, y, log_scale), [], []
    for index, curve in enumerate(curves):
        color = COLORS[index % len(COLORS)]
        dash = DASHES[index // len(COLORS) % len(DASHES)]
        style = f'stroke="{color}"' + (f' stroke-dasharray="{dash}"' if dash else '')
        points = [axes.place(*point) for point in zip(curve.steps, curve.values)]
        line = ' '.join(f'{x:.1f},{y:.1f}' for x, y in points)
        title = f'{curve.name}: {number(curve.values[0])} to {number(curve.values[-1])}'
        parts.append(f'<polyline class="curve" {style} points="{line}"><title>{escape(title)}</title></polyline>')
        if len(points) <= 30:
            for (x_place, y_place), step, value in zip(points, curve.steps, curve.values):
                text = escape(f'{curve.name} {number(value)} at {step:.0f}')
                parts.append(
                    f'<circle cx="{x_place:.1f}" cy="{y_place:.1f}" r="3" fill="{color}"><title>{text}</title></circle>'
                )
        key = f'<svg class="key" viewBox="0 0 24 8"><path class="curve" {style} d="M0 4H24"/></svg>'
        names.append(f'<span>{key}{escape(curve.name)} {number(curve.values[-1])}</span>')
    picture = svg(axes.grid('iteration') + ''.join(parts), chart.title)
    legend = f'<div class="legend">{"".join(names)}</div>'
    return f'<figure><figcaption>{escape(chart.title)}</figcaption>{picture}{legend}</figure>'


def reliability_chart(confidence: Sequence[float], accuracy: Sequence[float], counts: Sequence[int]) -> str:
    """A bar for each bin of scores: the share that is right, against the mean score.

    Args:
        confidence: mean score of each bin.
        accuracy: share of each bin that is right.
        counts: predictions of each bin; empty ones are left out.
    """
    axes, bins = _Axes((0, 1), (0, 1)), len(counts)
    (x0, y0), (x1, y1) = axes.place(0, 0), axes.place(1, 1)
    parts = [f'<path class="ideal" d="M{x0:.1f} {y0:.1f}L{x1:.1f} {y1:.1f}"/>']
    for index, (score, share, count) in enumerate(zip(confidence, accuracy, counts)):
        if not count:
            continue
        left, top = axes.place(index / bins, share)
        right, bottom = axes.place((index + 1) / bins, 0)
        text = f'scores {index / bins:.1f} to {(index + 1) / bins:.1f}: {count} predictions, mean score {score:.3f}, '
        text += f'{100 * share:.1f} % right'
        box = f'x="{left:.1f}" y="{top:.1f}" width="{right - left - 1:.1f}" height="{max(bottom - top, 1):.1f}"'
        parts.append(f'<rect {box} fill="{COLORS[4]}"><title>{escape(text)}</title></rect>')
        x, y = axes.place(score, share)
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{COLORS[0]}"/>')
        parts.append(f'<text x="{(left + right) / 2:.1f}" y="{top - 4:.1f}" text-anchor="middle">{count}</text>')
    return svg(axes.grid('score', 'share that is right') + ''.join(parts), 'reliability of scores')
