"""Run the cases, each in a process of its own, and write what they found as JSON.

    python -m benchmarks.run                        everything, on the CPU (most of an hour on 2 cores)
    python -m benchmarks.run --cases head syncs     some
    python -m benchmarks.run --quick                small sizes, to see whether everything runs

The file is benchmarks/results/cpu.json; rows of cases that were not run are kept. ``python -m benchmarks.table`` makes
docs/benchmarks.md of it.
"""

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / 'benchmarks' / 'results'


def cases() -> list[str]:
    """Names of all cases."""
    return sorted(path.stem for path in (ROOT / 'benchmarks' / 'cases').glob('*.py') if path.stem != '__init__')


def run_case(case: str, arguments: argparse.Namespace) -> dict:
    """Rows and environment of one case, measured in this process; an error becomes a row."""
    from benchmarks.harness import Row, Scale, environment

    warnings.filterwarnings('ignore')
    scale = Scale(arguments.quick, arguments.device, arguments.dtype, tuple(arguments.metrics), dict(arguments.option))
    rows = []
    try:
        for row in importlib.import_module(f'benchmarks.cases.{case}').rows(scale):
            print(describe(row), flush=True)
            rows.append(row)
    except Exception as error:
        traceback.print_exc()
        rows.append(Row(case, 'stopped', 'time', '', note=f'{type(error).__name__}: {error}'))
    return dict(environment=environment(arguments.device), rows=[row.to_dict() for row in rows])


def describe(row) -> str:
    """One line for the terminal."""
    if row.ours is None:
        return f'{row.case}: {row.part}, {row.metric}: {row.note}'
    ours, theirs = (amount(value, row.unit) for value in (row.ours, row.theirs))
    against = f', {row.peer} {theirs}, ratio {row.ratio:.2f}' if row.ratio is not None else ''
    return f'{row.case}: {row.part}, {row.metric}: ours {ours}{against}'


def amount(value: float | None, unit: str) -> str:
    """A number with its unit as people read it: bytes as MiB."""
    if value is None:
        return ''
    if unit == 'bytes':
        return f'{value / 2**20:.1f} MiB'
    return f'{value:.3g} s' if unit == 's' else f'{value:.0f}'


def write(path: Path, content: str) -> None:
    """The whole file or none of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + '.part')
    temporary.write_text(content, encoding='utf-8')
    os.replace(temporary, path)


def merge(path: Path, results: dict[str, dict]) -> dict:
    """What the file is to hold: new rows by case in place of the old ones. ``environment`` is where most were measured,
    ``environments`` names the others by case."""
    known = json.loads(path.read_text(encoding='utf-8')) if path.is_file() else dict(rows=[])
    rows = [row for row in known['rows'] if row['case'] not in results and row['case'] in cases()]
    rows += [row for result in results.values() for row in result['rows']]
    rows.sort(key=lambda row: row['case'])
    places = {row['case']: known.get('environments', {}).get(row['case'], known.get('environment')) for row in rows}
    places |= {case: result['environment'] for case, result in results.items()}
    known_first = sorted(places.values(), key=lambda place: place != known.get('environment'))
    common = max(known_first, key=known_first.count, default=None)
    return dict(
        environment=common, environments={case: place for case, place in places.items() if place != common}, rows=rows
    )


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--cases', nargs='+', choices=cases(), default=cases(), help='which to run')
    parser.add_argument('--quick', action='store_true', help='small sizes; writes quick.json')
    parser.add_argument('--device', default='cpu', choices=('cpu', 'cuda'))
    parser.add_argument('--dtype', default='float32', choices=('float32', 'bfloat16', 'float16'))
    parser.add_argument(
        '--metrics',
        nargs='+',
        choices=('memory', 'time'),
        default=['memory', 'time'],
        help='memory alone is exact on a busy machine, too',
    )
    parser.add_argument(
        '--option',
        nargs='*',
        default=[],
        type=lambda text: tuple(text.split('=', 1)),
        metavar='NAME=VALUE',
        help='options of single cases, see their files',
    )
    parser.add_argument('--out', type=Path, help='the JSON file; benchmarks/results/cpu.json')
    parser.add_argument('--here', help=argparse.SUPPRESS)  # the process of one case: where to write
    return parser.parse_args(arguments)


def main() -> None:
    arguments = parse()
    if arguments.here:
        write(Path(arguments.here), json.dumps(run_case(*arguments.cases, arguments)))
        return
    out = arguments.out or RESULTS / ('quick.json' if arguments.quick else 'cpu.json')
    results = {}
    passed_on = [f'--device={arguments.device}', f'--dtype={arguments.dtype}', '--metrics', *arguments.metrics] + [
        '--quick'
    ] * arguments.quick
    if arguments.option:
        passed_on += ['--option', *('='.join(pair) for pair in arguments.option)]
    for case in arguments.cases:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / 'rows.json'
            command = [sys.executable, '-m', 'benchmarks.run', '--cases', case, '--here', str(file), *passed_on]
            start = time.monotonic()
            code = subprocess.run(command, cwd=ROOT).returncode
            print(f'{case} took {time.monotonic() - start:.0f} s', flush=True)
            if not file.is_file():
                sys.exit(f'{case} ended with status {code} and wrote nothing (out of memory?)')
            results[case] = json.loads(file.read_text(encoding='utf-8'))
        write(out, json.dumps(merge(out, results), indent=1) + '\n')
    print(f'wrote {out}')


if __name__ == '__main__':
    main()
