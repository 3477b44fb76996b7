"""Write ``docs/options.md`` from the tables and dataclasses that read the options of configs; a test fails when it was
forgotten.

    python tools/write_options.py
"""

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from m2f_mm.integrations import head_options, stock_options
from m2f_mm.integrations.head_defaults import MASK2FORMER, MASK_DINO, MASKFORMER, HeadDefaults
from m2f_mm.integrations.head_options import Options
from m2f_mm.integrations.inference_options import DETECTOR_OPTIONS, SEGMENTOR_OPTIONS, VIDEO_OPTIONS
from m2f_mm.integrations.option_tables import ABSENT, ANY, Old, Only, Renamed, Table, Value

PAGE = Path(__file__).resolve().parents[1] / 'docs' / 'options.md'

INTRODUCTION = """# Options

Written by `tools/write_options.py` from the tables that read the options (`m2f_mm/integrations/`). A config that has
another option, or a value that an option cannot have, ends in an error when the model is built; the error names the
nearest option that there is. `help(m2f_mm.integrations.Mask2FormerHead)` shows the options of a head, too.

Stock configs keep their nested options; ours say the same with fewer words. Both may stand in one config.
"""
GROUPS = (
    (head_options.DetectorOptions, 'Heads in MMDetection'),
    (head_options.ClassOptions, 'Heads in MMSegmentation'),
    (head_options.PixelDecoderOptions, 'Pixel decoder'),
    (head_options.TransformerDecoderOptions, 'Transformer decoder'),
    (head_options.NetworkOptions, 'Queries and losses'),
    (head_options.BoxOptions, 'Mask DINO'),
)
HEADS = (
    head_options.Mask2FormerHeadOptions,
    head_options.MaskFormerHeadOptions,
    head_options.MaskDINOHeadOptions,
    head_options.Mask2FormerTrackHeadOptions,
    head_options.Mask2FormerSegHeadOptions,
    head_options.MaskFormerSegHeadOptions,
    head_options.MaskDINOSegHeadOptions,
    head_options.PerPixelSegHeadOptions,
    head_options.PerPixelPlusSegHeadOptions,
)
METHODS = {'Mask2Former': MASK2FORMER, 'MaskFormer': MASKFORMER, 'Mask DINO': MASK_DINO}


def options_page() -> str:
    """The text of ``docs/options.md``."""
    parts = [INTRODUCTION, '## Heads\n', _heads()]
    parts += ['## Defaults of the methods\n', _rows(('', *METHODS), _method_rows())]
    for title, tables in (
        ('Pixel decoders', stock_options.PIXEL_DECODERS),
        ('Transformer decoders', stock_options.TRANSFORMER_DECODERS),
    ):
        parts.append(f'## {title}\n')
        for name, table in tables.items():
            parts += [f'### `{name}`\n', _own(name, table), _stock(table)]
    parts += ['## `train_cfg`\n', _values(stock_options.TRAIN_OPTIONS), _stock(stock_options.TRAIN_OPTIONS)]
    parts += ['## `criterion` of a head\n', _values(stock_options.CRITERION)]
    costs = {kind: table for loss in stock_options.LOSSES.values() for kind, table in loss.costs.items()}
    losses = {f'`{name}`': loss.types for name, loss in stock_options.LOSSES.items()}
    for title, tables in {'`train_cfg.assigner.match_costs`': costs, **losses}.items():
        parts.append(f'## {title}\n')
        for name, table in tables.items():
            parts += [f'`{name}`\n', _values(table), _stock(table)]
    for title, table in (
        ('of image detectors (fusion head)', DETECTOR_OPTIONS),
        ('of video detectors', VIDEO_OPTIONS),
        ('of segmentors', SEGMENTOR_OPTIONS),
    ):
        parts += [f'## `test_cfg` {title}\n', _values(table)]
    return '\n'.join(part for part in parts if part)


def _rows(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ['---'] * len(header), *rows]
    return ''.join(f'| {" | ".join(cell.replace("|", chr(92) + "|") for cell in line)} |\n' for line in lines)


def _heads() -> str:
    parts = []
    for kind, title in GROUPS:
        parts += [f'### {title}\n', _fields(kind, kind.__annotations__), _stock(vars(kind).get('stock', {}))]
    for kind in HEADS:
        groups = [group for group, _ in GROUPS if issubclass(kind, group)]
        links = [f'[{title}](#{_anchor(title)})' for group, title in GROUPS if group in groups]
        inherited = {name: group for group in groups for name in group.__annotations__}
        own = [
            each.name
            for each in fields(kind)
            if each.name not in inherited or each.default != inherited[each.name].__dict__[each.name]
        ]
        name = kind.__name__.removesuffix('Options')
        parts += [f'### `m2f_mm.{name}`\n', f'Slot `{kind.slot}`. {", ".join(links)}.\n', _fields(kind, own)]
        known = {
            path: _described(path, entry) for group in groups for path, entry in vars(group).get('stock', {}).items()
        }
        new = {path: entry for path, entry in kind.stock_table().items() if _described(path, entry) != known.get(path)}
        parts.append(_stock(new))
    return '\n'.join(part for part in parts if part)


def _anchor(title: str) -> str:
    return title.lower().replace(' ', '-')


def _fields(kind: type[Options], names: Iterable[str]) -> str:
    """Option, default and meaning of some options of a dataclass."""
    chosen = [each for each in fields(kind) if each.name in set(names)]
    rows = [(f'`{each.name}`', _code(each.default), each.metadata['meaning']) for each in chosen]
    return _rows(('option', 'default', 'meaning'), rows) if rows else ''


def _method_rows() -> list[Sequence[str]]:
    return [(f'`{name}`', *(_code(getattr(m, name)) for m in METHODS.values())) for name in HeadDefaults._fields]


def _own(name: str, table: Table) -> str:
    """The arguments of a module, with their defaults."""
    parameters = inspect.signature(getattr(stock_options, name)).parameters
    rows = [(f'`{key}`', _code(each.default)) for key, each in parameters.items() if table[key] == key]
    return _rows(('option', 'default'), rows)


def _stock(table: Table) -> str:
    """Options of stock configs, and what they may be."""
    rows = [(f'`{path}`', _described(path, entry)) for path, entry in table.items()]
    rows = [row for row in rows if row[1]]
    return _rows(('stock option', 'here'), rows) if rows else ''


def _described(path: str, entry: Any) -> str:
    if entry is ANY:
        return 'any value, without effect'
    if isinstance(entry, Only):
        return f'only {" or ".join(map(_code, entry.values))}'
    if isinstance(entry, Old):
        return f'old name of `{entry.name}`'
    if isinstance(entry, Renamed):
        return f'`{entry.name}`' + (f', by default {_code(entry.default)}' if entry.default is not ABSENT else '')
    return f'`{entry}`' if isinstance(entry, str) and entry != path else ''


def _values(table: Table) -> str:
    """Options with checked values."""
    rows = [
        (
            f'`{path}`',
            "the method's" if entry.default is ABSENT else _code(entry.default),
            f'{entry.meaning} ({entry.expected})',
        )
        for path, entry in table.items()
        if isinstance(entry, Value)
    ]
    old = [(f'`{path}`', '', _described(path, entry)) for path, entry in table.items() if isinstance(entry, Old)]
    return _rows(('option', 'default', 'meaning'), rows + old) if rows else ''


def _code(value: Any) -> str:
    if isinstance(value, Mapping):
        value = dict(value)
    return f'`{value!r}`'


if __name__ == '__main__':
    PAGE.write_text(options_page(), encoding='utf-8')
