"""docs/benchmarks.md from the results: python -m benchmarks.table

A section a case: what it says of itself, then a table of its rows. ``benchmarks/notes.md``, written by hand, comes
before them.
"""

import ast
import json
from collections.abc import Iterable
from pathlib import Path

from .harness import METRICS
from .run import RESULTS, ROOT, amount, cases, write

PAGE = ROOT / 'docs' / 'benchmarks.md'
NOTES = ROOT / 'benchmarks' / 'notes.md'
COLUMNS = ('what', 'metric', 'ours', 'peer', 'theirs', 'ratio', 'target', 'reached')
FILES = {'cpu.json': 'On a CPU', 'gpu.json': 'On a GPU'}


def page(results: dict[str, dict], notes: str) -> str:
    """The whole page.

    Args:
        results: content of each JSON file by its heading, see ``run.merge``.
        notes: Markdown that comes first.
    """
    lines = [
        '<!-- Written by `python -m benchmarks.table` from benchmarks/results and benchmarks/notes.md. -->',
        notes.strip(),
        '',
    ]
    for heading, result in results.items():
        lines += [f'## {heading}', '', place(result['environment']), '', summary(result['rows']), '']
        for case in cases():
            rows = [row for row in result['rows'] if row['case'] == case]
            if rows:
                elsewhere = result.get('environments', {}).get(case)
                lines += [
                    f'### {case}',
                    '',
                    about(case),
                    '',
                    *([place(elsewhere), ''] if elsewhere else []),
                    *table(rows),
                    '',
                    *remarks(rows),
                ]
    return '\n'.join(lines).rstrip() + '\n'


def place(environment: dict | None) -> str:
    """One sentence on where the numbers come from."""
    if not environment:
        return ''
    packages = environment['packages']
    named = ', '.join(f'{name} {version}' for name, version in packages.items())
    where = environment.get('gpu') or f'{environment["processor"]}, {environment["cores"]} cores'
    return f'{where}, {environment["threads"]} threads, Python {environment["python"]}; {named}.'


def summary(rows: list[dict]) -> str:
    """How many targets are reached, and which are not."""
    aimed = [row for row in rows if row['reached'] is not None]
    missed = [row for row in aimed if not row['reached']]
    words = f'{len(aimed) - len(missed)} of {len(aimed)} targets are reached.'
    if missed:
        words += ' Not reached:\n\n' + '\n'.join(
            f'- {row["case"]}, {row["part"]}, {row["metric"]}: {reach(row)} instead of {aim(row)}' for row in missed
        )
    return words


def about(case: str) -> str:
    """The docstring of the case."""
    return ast.get_docstring(ast.parse((ROOT / 'benchmarks' / 'cases' / f'{case}.py').read_text(encoding='utf-8')))


def table(rows: Iterable[dict]) -> list[str]:
    """A Markdown table, one line a row."""
    lines = ['| ' + ' | '.join(COLUMNS) + ' |', '|---' * len(COLUMNS) + '|']
    for row in rows:
        ours, theirs = (amount(row[side], METRICS[row['metric']]) for side in ('ours', 'theirs'))
        if row['ours'] is None:
            ours = 'results differ' if row['outputs_equal'] is False else 'not measured'
        reached = {True: 'yes', False: '**no**', None: ''}[row['reached']]
        cells = (row['part'], row['metric'], ours, row['peer'], theirs, ratio(row), aim(row), reached)
        lines.append('| ' + ' | '.join(cell.replace('|', '\\|') for cell in cells) + ' |')
    return lines


def ratio(row: dict) -> str:
    """The ratio, with the quartiles of single runs where there are some."""
    if row['ratio'] is None:
        return ''
    spread = '' if not row['spread'] else ' ({:.2f} to {:.2f})'.format(*row['spread'])
    return f'{row["ratio"]:.2f}{spread}'


def aim(row: dict) -> str:
    aims = [] if row['target'] is None else [f'{row["target"]:.2f}']
    return ', '.join(aims + ([] if row['limit'] is None else [amount(row['limit'], METRICS[row['metric']])]))


def reach(row: dict) -> str:
    return f'{row["ratio"]:.3f}' if row['target'] is not None else amount(row['ours'], METRICS[row['metric']])


def remarks(rows: list[dict]) -> list[str]:
    """What was compared, and the notes of single rows."""
    lines = sorted({f'- Compared, {row["peer"]}: {row["tolerance"]}.' for row in rows if row['tolerance']})[:4]
    lines += [f'- {row["part"]}, {row["metric"]}: {row["note"]}' for row in rows if row['note']]
    return [*lines, ''] if lines else []


def main() -> None:
    results = {
        heading: json.loads((RESULTS / file).read_text(encoding='utf-8'))
        for file, heading in FILES.items()
        if (RESULTS / file).is_file()
    }
    write(PAGE, page(results, Path(NOTES).read_text(encoding='utf-8')))
    print(f'wrote {PAGE}')


if __name__ == '__main__':
    main()
