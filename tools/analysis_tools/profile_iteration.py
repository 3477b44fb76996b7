"""Where the time of a training iteration goes, data loader included; for any training config.

    python tools/analysis_tools/profile_iteration.py CONFIG [--iters N] [--warmup N] [--out FILE.json] [--trace FILE]
        [--cfg-options train_dataloader.num_workers=2 ...]

Weights are random and nothing is written but what is asked for. The parts are those of ``train_step``, each without the
parts within it; hooks of the runner (logs, checkpoints, EMA) are left out. On a GPU every part begins and ends with a
wait for the device, so that the sum is an upper bound of an undisturbed iteration.

Workers fill their queues during the first iterations, so the waiting of a short run says little. Whether the loader
keeps up follows from the time of its pipeline, measured alone in one thread.
"""

import argparse
import math
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial, wraps
from itertools import islice
from pathlib import Path
from unittest.mock import patch

import torch
from mmengine.config import Config, DictAction
from mmengine.registry import DATA_SAMPLERS
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader, Dataset

from m2f_mm.apis.command_line import build_runner, load_config, user_errors
from m2f_mm.datasets.io import write_file, write_json
from m2f_mm.datasets.wrappers import iter_datasets
from m2f_mm.engine.class_counts import check_class_counts

WAIT, REST = 'waiting for the loader', 'the rest'
OF_MODEL = dict(data_preprocessor='data preprocessor', backbone='backbone', neck='neck')
OF_HEAD = dict(  # of ours and, from preprocess_gt on, of the stock heads; what a head lacks is skipped
    pixel_decoder='pixel decoder',
    transformer_decoder='transformer decoder',
    criterion='losses',
    preprocess_gt='targets',
    get_targets='matching',
    loss_by_feat='losses',
    loss='head, the rest',
)
OF_OPTIMIZER = dict(backward='backward', _clip_grad='clip gradients', step='optimizer')
TARGETS = {'m2f_mm.integrations.mmdet': 'to_targets', 'm2f_mm.integrations.mmseg': 'semantic_targets'}


class Stopwatch:
    """Seconds of nested parts, each without the parts within it.

    Args:
        cuda: wait for the device at the borders of the parts.
    """

    def __init__(self, cuda: bool):
        self.wait = torch.cuda.synchronize if cuda else lambda: None
        self.seconds = Counter()
        self.inside = []  # for each open part the seconds of the parts within it

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        self.wait()
        self.inside.append(0.0)
        start = time.perf_counter()
        with torch.profiler.record_function(name):
            yield
            self.wait()
        spent = time.perf_counter() - start
        self.seconds[name] += spent - self.inside.pop()
        if self.inside:
            self.inside[-1] += spent

    def timed(self, function: Callable, name: str) -> Callable:
        """``function`` as a part."""

        @wraps(function)
        def run(*args, **kwargs):
            with self.part(name):
                return function(*args, **kwargs)

        return run

    def lap(self) -> dict[str, float]:
        """Seconds by part since the last lap."""
        seconds, self.seconds = dict(self.seconds), Counter()
        return seconds


def parse_args(args: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file, or the name of one that m2f_mm ships')
    parser.add_argument('--iters', type=int, default=10, metavar='N', help='iterations to measure (10)')
    parser.add_argument('--warmup', type=int, default=2, metavar='N', help='iterations before them (2)')
    parser.add_argument('--out', metavar='FILE', help='write everything as JSON, the single iterations too')
    parser.add_argument('--trace', metavar='FILE', help='write one more iteration as a trace for chrome://tracing')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='override entries of the config, e.g. train_dataloader.num_workers=2',
    )
    parser.set_defaults(launcher='none', work_dir=None, local_rank=0)
    return parser.parse_args(args)


def configure(args: argparse.Namespace) -> Config:
    """The config, without what would write, read weights or restart workers.

    Raises FileNotFoundError and ValueError with a message that names what to change.
    """
    if args.iters < 1 or args.warmup < 0:
        raise ValueError(f'--iters must be at least 1 and --warmup at least 0, got {args.iters} and {args.warmup}')
    for name in ('out', 'trace'):
        path = getattr(args, name)
        if path and not Path(path).resolve().parent.is_dir():
            raise FileNotFoundError(f'--{name}: there is no folder {str(Path(path).parent)!r} to write {path!r} into')
    cfg = load_config(args)
    for name in ('model', 'train_dataloader', 'train_cfg', 'optim_wrapper'):
        if cfg.get(name) is None:
            raise ValueError(
                f'{args.config} has no {name}, so there is no training iteration to measure. Give a '
                'training config, one that tools/train.py takes'
            )
    check_class_counts(cfg, parts=('train',))
    if not cfg.train_dataloader.get('num_workers', 0):  # DataLoader refuses options of workers that are not there
        cfg.train_dataloader.pop('prefetch_factor', None)
        cfg.train_dataloader.persistent_workers = False
    without_pretrained(cfg.model)
    cfg.load_from, cfg.resume, cfg.log_level = None, False, 'WARNING'
    return cfg


def without_pretrained(model: dict) -> None:
    """Drop every ``init_cfg`` that reads a file: times do not depend on the weights."""
    for key, value in model.items():
        if key == 'init_cfg' and isinstance(value, dict) and value.get('type') == 'Pretrained':
            model[key] = None
        elif isinstance(value, dict):
            without_pretrained(value)


@contextmanager
def instrumented(runner: Runner, watch: Stopwatch) -> Iterator[None]:
    """The parts of the runner's model and optimizer wrapper report to ``watch`` while this lasts."""
    with ExitStack() as stack:

        def watch_all(owner: object, parts: dict[str, str]) -> None:
            for attribute, part in parts.items():
                holder, name, target = owner, attribute, getattr(owner, attribute, None)
                if isinstance(target, nn.Module):
                    holder, name, target = target, 'forward', target.forward
                if target is not None:
                    stack.enter_context(patch.object(holder, name, watch.timed(target, part)))

        watch_all(runner.model, OF_MODEL)
        watch_all(runner.optim_wrapper, OF_OPTIMIZER)
        for name, head in runner.model.named_children():
            if name.endswith('_head'):
                watch_all(head, OF_HEAD)
                watch_all(getattr(head, 'criterion', None), dict(assigner='matching'))
        for module, function in TARGETS.items():
            watch_all(sys.modules.get(module), {function: 'targets'})
        yield


def endless(loader: DataLoader) -> Iterator[dict]:
    """Batches of epoch after epoch."""
    if not len(loader):
        raise ValueError(
            f'train_dataloader gives no batch: its data set has {len(loader.dataset)} images. Check '
            'batch_size, drop_last and the paths of the data set'
        )
    while True:
        yield from loader


def measure_iterations(runner: Runner, batches: Iterator[dict], args: argparse.Namespace) -> list[dict[str, float]]:
    """Seconds by part of every iteration after the warm-up."""
    watch, laps = Stopwatch(torch.cuda.is_available()), []
    with instrumented(runner, watch):
        for _ in range(args.warmup + args.iters):
            with watch.part(REST):
                with watch.part(WAIT):
                    batch = next(batches)
                runner.model.train_step(batch, optim_wrapper=runner.optim_wrapper)
            laps.append(watch.lap())
        if args.trace:
            with torch.profiler.profile() as trace:
                runner.model.train_step(next(batches), optim_wrapper=runner.optim_wrapper)
            with tempfile.TemporaryDirectory() as folder:
                trace.export_chrome_trace(f'{folder}/trace.json')
                write_file(args.trace, Path(folder, 'trace.json').read_bytes())
    return laps[args.warmup :]


def count(runner: Runner, batch: dict) -> dict:
    """What one more step allocates at its peak (bytes above the start), and where it waits for the device.

    Without the optimizer: its counters are on the host, which the counter of waits cannot know.
    """
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # benchmarks is in the repository only
    from benchmarks.harness import count_syncs, peak_memory

    step = partial(runner.model.train_step, batch, optim_wrapper=runner.optim_wrapper)
    measured = []
    with patch.object(runner.optim_wrapper.optimizer, 'step', lambda *_, **__: None):
        peak = peak_memory(lambda: measured.append(count_syncs(step)))
    return dict(peak_memory=peak, syncs=measured[0].total, syncs_where=dict(measured[0].where.most_common()))


def pipelines(dataset: Dataset) -> Iterator[list]:
    """The transforms of the data set and of those that it wraps, as lists that can be changed."""
    for part, _ in iter_datasets(dataset, wrappers=True):
        transforms = getattr(getattr(part, 'pipeline', None), 'transforms', None)
        if isinstance(transforms, list):
            yield transforms


def measure_samples(dataset: Dataset, indices: list[int]) -> list[dict[str, float]]:
    """Seconds by transform of the samples, made here and now as a worker makes them: in one thread."""
    watch, laps, threads = Stopwatch(cuda=False), [], torch.get_num_threads()
    torch.set_num_threads(1)
    for transforms in pipelines(dataset):
        transforms[:] = [watch.timed(transform, type(transform).__name__) for transform in transforms]
    for index in [indices[0], *indices]:
        with watch.part(REST):
            dataset[index]
        laps.append(watch.lap())
    torch.set_num_threads(threads)
    return laps[1:]  # the first one loads libraries


def summary(laps: list[dict[str, float]]) -> list[dict]:
    """Each part's median seconds and its share of all the time, the largest first."""
    names = {name for lap in laps for name in lap}
    total = sum(sum(lap.values()) for lap in laps)
    parts = [
        dict(
            part=name,
            seconds=statistics.median(lap.get(name, 0.0) for lap in laps),
            share=sum(lap.get(name, 0.0) for lap in laps) / total,
        )
        for name in names
    ]
    return sorted(parts, key=lambda part: -part['share'])


def throughput(iterations: list[dict], samples: list[dict], batch_size: int, workers: int) -> dict:
    """Whether workers with a core each make batches as fast as the steps use them up."""
    sample = statistics.mean(sum(lap.values()) for lap in samples)
    step = statistics.median(sum(lap.values()) - lap[WAIT] for lap in iterations)
    batch = sample * batch_size / max(workers, 1)
    return dict(
        workers=workers,
        seconds_per_sample=sample,
        seconds_per_batch=batch,
        seconds_per_step=step,
        keeps_up=workers > 0 and batch <= step,
        workers_needed=math.ceil(sample * batch_size / step),
    )


def report(measured: dict) -> str:
    """What was found, for people."""

    def table(parts: list[dict]) -> list[str]:
        return [f'  {part["part"]:24s}{part["seconds"] * 1e3:10.1f} ms{part["share"]:8.1%}' for part in parts]

    loader = measured['loader']
    total = statistics.median(sum(lap.values()) for lap in measured['iterations'])
    verdict = 'keeps up' if loader['keeps_up'] else 'does not keep up'
    if not loader['workers']:
        verdict = 'has no worker, so that every step waits for its batch'
    return '\n'.join(
        [
            f'An iteration takes {total:.3f} s (median of {len(measured["iterations"])}) on {measured["device"]} with '
            f'{measured["batch_size"]} images',
            *table(measured['parts']),
            f'\nA sample takes {loader["seconds_per_sample"]:.3f} s (mean of {len(measured["samples"])}) in one thread',
            *table(measured['transforms']),
            f'\nThe loader {verdict}: with a core for each of its {loader["workers"]} workers it makes a batch in '
            f'{loader["seconds_per_batch"]:.3f} s, a step takes {loader["seconds_per_step"]:.3f} s.',
            f'Workers needed: {loader["workers_needed"]}; cores here: {os.cpu_count()}.',
            f'\nA step, without the optimizer, allocates {measured["peak_memory"] / 2**20:.1f} MiB above its start. '
            f'It would wait for a device {measured["syncs"]} times:',
            *(f'  {times:4d}  {place}' for place, times in measured['syncs_where'].items()),
        ]
    )


def profile(cfg: Config, args: argparse.Namespace) -> dict:
    """Everything that is measured, as it goes into the JSON."""
    with tempfile.TemporaryDirectory() as cfg.work_dir:
        runner = build_runner(cfg, args)
    loader = runner.build_dataloader(cfg.train_dataloader, seed=runner.seed)
    runner.model.init_weights()
    runner.model.train()
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    batches = endless(loader)
    iterations = measure_iterations(runner, batches, args)
    measured = count(runner, next(batches))
    dataset, batch_size = loader.dataset, loader.batch_sampler.batch_size
    del batches, loader  # ends the workers, which would take time from what is measured next
    # The same seed gives the same images; what chance does to them is drawn anew.
    sampler = DATA_SAMPLERS.build(cfg.train_dataloader.sampler, default_args=dict(dataset=dataset, seed=runner.seed))
    samples = measure_samples(dataset, list(islice(sampler, batch_size * (args.warmup + args.iters))))
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else 'cpu'
    return dict(
        config=args.config,
        device=device,
        threads=torch.get_num_threads(),
        batch_size=batch_size,
        iterations=iterations,
        parts=summary(iterations),
        samples=samples,
        transforms=summary(samples),
        **measured,
        loader=throughput(iterations, samples, batch_size, cfg.train_dataloader.get('num_workers', 0)),
    )


def main(args: list[str] | None = None) -> None:
    options = parse_args(args)
    with user_errors():
        measured = profile(configure(options), options)
    print(report(measured))
    if options.out:
        write_json(options.out, measured)
        print(f'wrote {options.out}')


if __name__ == '__main__':
    main()
