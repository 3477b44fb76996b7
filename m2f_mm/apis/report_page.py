"""Parts of a page of HTML that stands alone: every text escaped, every image inside of it."""

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape

import numpy as np
from PIL import Image

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1a1a1a; background: #fff; max-width: 1180px; margin: 0 auto;
  padding: 0 16px 48px; }
h1 { font-size: 24px; margin: 20px 0 4px; } h2 { font-size: 19px; margin: 32px 0 8px; border-bottom: 1px solid #ccc; }
h3 { font-size: 16px; margin: 18px 0 6px; } nav a { margin-right: 14px; } p { margin: 6px 0; max-width: 90ch; }
figure { display: inline-block; vertical-align: top; width: 460px; max-width: 100%; margin: 8px 16px 12px 0; }
figcaption { font-weight: 600; } svg { width: 100%; display: block; } svg text { font-size: 11px; fill: #444; }
svg .grid { stroke: #e4e4e4; } svg .axis { stroke: #888; fill: none; } svg .curve { fill: none; stroke-width: 1.8; }
svg .ideal { stroke: #d55e00; stroke-dasharray: 5 4; } svg.key { width: 24px; height: 8px; display: inline-block; }
.legend { font-size: 12px; } .legend span { margin-right: 12px; white-space: nowrap; }
.legend svg { margin-right: 4px; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; margin: 6px 0; }
th, td { padding: 3px 8px; text-align: right; border-bottom: 1px solid #eee; } th { background: #f6f6f6; }
th:first-child, td:first-child { text-align: left; } .scroll { overflow-x: auto; }
.matrix td { border: 1px solid #eee; text-align: center; min-width: 34px; padding: 2px 4px; }
.matrix thead th { vertical-align: bottom; text-align: center; }
.row { display: flex; gap: 8px; margin: 4px 0 14px; } .row div { flex: 1 1 0; min-width: 0; font-size: 12px; }
.row img { width: 100%; display: block; } .layers td { text-align: center; font-size: 11px; padding: 2px 3px; }
.layers img { display: block; margin: 0 auto; } .note { color: #555; } .warn { color: #8a3b00; }
"""


def document(title: str, sections: Iterable[tuple[str, str, str]], head: str = '') -> str:
    """The page.

    Args:
        title: of the page, as text.
        sections: a name for links, a title as text, and the content as HTML of each.
        head: HTML in front of the sections.
    """
    sections = list(sections)
    links = ''.join(f'<a href="#{name}">{escape(text)}</a>' for name, text, _ in sections)
    bodies = ''.join(f'<section id="{name}"><h2>{escape(text)}</h2>{body}</section>' for name, text, body in sections)
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head>'
        f'<body><h1>{escape(title)}</h1>{head}<nav>{links}</nav>{bodies}</body></html>\n'
    )


def paragraph(text: str, kind: str = '') -> str:
    """A text; ``kind`` is 'note' or 'warn'."""
    return f'<p{f" class={chr(34)}{kind}{chr(34)}" if kind else ""}>{escape(text)}</p>'


def table(head: Sequence[str], rows: Iterable[Sequence[object]], kind: str = '') -> str:
    """Cells are texts and numbers; of floats four digits are shown, NaN as a dash."""
    top = ''.join(f'<th>{escape(cell)}</th>' for cell in head)
    body = ''.join(f'<tr>{"".join(f"<td>{_cell(cell)}</td>" for cell in row)}</tr>' for row in rows)
    name = f' class="{kind}"' if kind else ''
    return f'<div class="scroll"><table{name}><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(value: object) -> str:
    if value is None or isinstance(value, float) and np.isnan(value):
        return '–'
    return f'{value:.2f}' if isinstance(value, float) else escape(str(value))


def image(pixels: np.ndarray, text: str, width: int | None = None, quality: int = 82) -> str:
    """An ``img`` with its pixels, RGB uint8 (H, W, 3), as JPEG.

    Args:
        pixels: of the image.
        text: what it shows.
        width: at which it is shown, in pixels; by default its own, or that of its column.
        quality: of the JPEG.
    """
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, 'JPEG', quality=quality)
    data = base64.b64encode(stream.getvalue()).decode()
    size = f' width="{width}"' if width else ''
    return f'<img alt="{escape(text)}" title="{escape(text)}"{size} src="data:image/jpeg;base64,{data}">'


def matrix(counts: np.ndarray, rows: Sequence[str], columns: Sequence[str], same: Sequence[tuple[int, int]]) -> str:
    """A matrix whose cells are shaded by their share of the row.

    Args:
        counts: (R, K); zeros stay empty.
        rows: names.
        columns: names.
        same: cells that mean "right", which are green, the others red.
    """
    right = set(same)
    top = ''.join(f'<th>{escape(name)}</th>' for name in ('', *columns))
    lines = []
    for index, (name, values) in enumerate(zip(rows, counts)):
        cells, total = [], max(values.sum(), 1)
        for column, value in enumerate(values):
            share = value / total
            color = '0,158,115' if (index, column) in right else '213,94,0'
            style = f' style="background:rgba({color},{0.08 + 0.72 * share:.2f})"' if value else ''
            hint = escape(f'{name} → {columns[column]}: {value:,} ({100 * share:.1f} % of the row)')
            cells.append(f'<td{style} title="{hint}">{short_count(value) if value else ""}</td>')
        lines.append(f'<tr><th>{escape(name)}</th>{"".join(cells)}</tr>')
    return (
        f'<div class="scroll"><table class="matrix"><thead><tr>{top}</tr></thead>'
        f'<tbody>{"".join(lines)}</tbody></table></div>'
    )


def short_count(value: int) -> str:
    """Such as 12, 1.2k, 3.4M."""
    for limit, unit in ((1e6, 'M'), (1e4, 'k')):
        if value >= limit:
            return f'{value / (1e6 if unit == "M" else 1e3):.3g}{unit}'
    return str(int(value))
