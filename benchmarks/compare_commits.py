"""This checkout against another commit: outputs, peak memory and time of training steps and of a prediction.

    python -m benchmarks.compare_commits                          all cases against the commit below
    python -m benchmarks.compare_commits --metrics memory         exact on a busy machine, too (about 10 minutes)
    python -m benchmarks.compare_commits --base v1.0 --quick      small sizes, to see whether everything runs

The commit is checked out into a temporary git worktree. Each side has a process of its own, which measures with the
models, inputs and counters of its own ``benchmarks`` package; the two take turns, so that a busy machine slows both.
Equal: losses, gradients of parameters and features, panoptic map, scores. Where they differ, nothing is measured and
the record says so. Ratios above 1.01 for memory and 1.05 for time are marked. The record is
``benchmarks/results/commits.json``, with a Markdown table on standard output.

The file is run by path in both checkouts, so it uses only what both have.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BASE = '4659a55'  # the last commit before predictions by layer, option tables and the recorder
LIMITS = dict(memory=1.01, time=1.05)
UNITS = dict(memory='bytes', time='s')
CASES = {  # case and size
    'head-512': ('head', 512),
    'head-1024': ('head', 1024),
    'model-512': ('model', 512),
    'prediction-1024': ('prediction', 1024),
    'mask_dino-512': ('mask_dino', 512),
}


def step_of(case: str, size: int) -> Callable[[], dict]:
    """A function that runs the case once and returns its outputs: tensors by name. Runs in a worker."""
    import torch

    from benchmarks import peers
    from benchmarks.training import free_gradients, gradients, head_step, model_step

    if case in ('head', 'mask_dino'):
        detector = peers.our_mask_dino() if case == 'mask_dino' else peers.our_detector()
        head = detector.panoptic_head.train()
        generator = torch.Generator().manual_seed(0)
        features = [
            torch.randn(1, channels, size // stride, size // stride, generator=generator).relu().requires_grad_()
            for channels, stride in zip(peers.CHANNELS, (4, 8, 16, 32))
        ]
        samples = peers.samples(1, size, size, 20)

        def run() -> dict:
            free_gradients(head, features=features)
            torch.manual_seed(0)  # the same points and noise
            losses = head_step(head, features, samples)
            return losses | gradients(head, features)

        return run
    detector, inputs = peers.our_detector(), peers.images(1, size, size)
    if case == 'model':
        detector.train()
        samples = peers.samples(1, size, size, 20)

        def run() -> dict:
            free_gradients(detector)
            torch.manual_seed(0)
            losses = model_step(detector, inputs, samples)
            return losses | gradients(detector)

        return run
    detector.eval()

    def run() -> dict:
        with torch.no_grad():
            (sample,) = detector.predict(inputs, peers.samples(1, size, size, 1))
        instances = sample.pred_instances
        return dict(panoptic=sample.pred_panoptic_seg.sem_seg, scores=instances.scores, labels=instances.labels)

    return run


def work(case: str, size: int) -> None:
    """A worker: for each line of standard input, 'outputs FILE', 'memory' or 'time', one line with the answer."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), 'w', buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print is no answer
    import torch

    from benchmarks.harness import peak_memory, seconds

    run = step_of(case, size)
    for line in sys.stdin:
        command, *arguments = line.split()
        if command == 'outputs':
            torch.save({name: value.detach().clone() for name, value in run().items()}, arguments[0])
            answer = 0.0
        else:
            answer = dict(memory=peak_memory, time=seconds)[command](run)
        print(json.dumps(answer), file=answers)


class Worker:
    """The process of one side."""

    def __init__(self, root: Path, case: str, size: int):
        self.process = subprocess.Popen(
            [sys.executable, __file__, '--worker', case, str(size)],
            cwd=root,
            env=os.environ | dict(PYTHONPATH=str(root)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, *command: str) -> float:
        """The answer to one command."""
        print(*command, file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f'the process for {self.process.args} ended: see its messages above')
        return json.loads(line)

    def close(self) -> None:
        """Let the process end."""
        self.process.stdin.close()
        self.process.wait()


def compare(base: Path, case: str, size: int, metrics: list[str], repeats: int) -> dict:
    """Outputs and ratios, this checkout to the other, of one case."""
    sides = dict(old=Worker(base, case, size), new=Worker(ROOT, case, size))
    try:
        with tempfile.TemporaryDirectory() as folder:
            files = {side: os.path.join(folder, f'{side}.pt') for side in sides}
            for side, worker in sides.items():
                worker.ask('outputs', files[side])  # warms up, too
            record = dict(outputs=difference(files['new'], files['old']))
        if record['outputs'] > 1e-3:
            return record | dict(note='not measured, the outputs differ')
        for metric in metrics:
            measured: dict[str, list[float]] = dict(old=[], new=[])
            for _ in range(repeats if metric == 'time' else 1):
                for side, worker in sides.items():
                    measured[side].append(worker.ask(metric))
            old, new = (statistics.median(measured[side]) for side in ('old', 'new'))
            record[metric] = dict(old=old, new=new, unit=UNITS[metric], ratio=new / old)
        return record
    finally:
        for worker in sides.values():
            worker.close()


def difference(new: str, old: str) -> float:
    """Largest difference of an output, as a share of its norm, or of a thousandth of the largest norm of all."""
    import torch

    actual, expected = torch.load(new), torch.load(old)
    assert actual.keys() == expected.keys(), f'other outputs: {sorted(actual.keys() ^ expected.keys())[:5]}'
    norms = {name: float(value.double().norm()) for name, value in expected.items()}
    floor = 1e-3 * max(norms.values())
    return max(
        float((actual[name].double() - value.double()).norm()) / max(norms[name], floor)
        for name, value in expected.items()
    )


@contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """A worktree of the commit, which ends with the context."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / 'checkout'
        git('worktree', 'add', '--detach', '--force', str(root), commit)
        try:
            yield root
        finally:
            git('worktree', 'remove', '--force', str(root))


def git(*arguments: str) -> str:
    """Output of a git command in this checkout."""
    return subprocess.run(
        ['git', '-C', str(ROOT), *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


def table(record: dict) -> str:
    """The record as Markdown."""
    lines = [
        f'{record["new"]} against {record["old"]}',
        '',
        '| case | outputs differ by | memory, MiB | ratio | time, s | ratio |',
        '|---|---|---|---|---|---|',
    ]
    for name, case in record['cases'].items():
        cells = [name, f'{case["outputs"]:.0e}']
        for metric, scale in (('memory', 2**-20), ('time', 1.0)):
            if metric not in case:
                cells += [case.get('note', ''), '']
                continue
            value = case[metric]
            mark = ' (!)' if value['ratio'] > LIMITS[metric] else ''
            digits = 1 if metric == 'memory' else 3
            cells += [f'{value["old"] * scale:.{digits}f} -> {value["new"] * scale:.{digits}f}']
            cells += [f'{value["ratio"]:.3f}{mark}']
        lines.append(f'| {" | ".join(cells)} |')
    return '\n'.join(lines)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--base', default=BASE, help='commit to compare with')
    parser.add_argument('--cases', nargs='+', choices=CASES, default=list(CASES))
    parser.add_argument('--metrics', nargs='+', choices=LIMITS, default=list(LIMITS))
    parser.add_argument('--repeats', type=int, default=7, help='timed runs of each side')
    parser.add_argument('--quick', action='store_true', help='small sizes')
    parser.add_argument('--out', type=Path, default=ROOT / 'benchmarks' / 'results' / 'commits.json')
    return parser.parse_args()


def main() -> None:
    if sys.argv[1:2] == ['--worker']:
        return work(sys.argv[2], int(sys.argv[3]))
    arguments = parse()
    record = dict(old=arguments.base, new=git('describe', '--always', '--dirty'), cases={})
    with checked_out(arguments.base) as base:
        for name in arguments.cases:
            case, size = CASES[name]
            size = 128 if arguments.quick else size
            record['cases'][name] = compare(base, case, size, arguments.metrics, arguments.repeats)
            print(name, json.dumps(record['cases'][name]), file=sys.stderr, flush=True)
            arguments.out.write_text(json.dumps(record, indent=1) + '\n', encoding='utf-8')
    print(table(record))
    return None


if __name__ == '__main__':
    main()
