"""What every benchmark shares: a row of the result, equal-or-refused comparison, exact memory, and time.

Memory is the peak of bytes allocated above the start. On a CPU it comes from the allocator's events and repeats to the
byte; what libraries allocate past PyTorch (oneDNN's scratch, NumPy) is not in it. Times are medians of runs that
alternate between the two sides, so that a busy machine slows both.
"""

import gc
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib import metadata

os.environ.setdefault('KINETO_LOG_LEVEL', '99')  # both read when torch is imported: no line per profiled run
os.environ.setdefault('TORCH_CPP_LOG_LEVEL', 'ERROR')

import torch  # noqa: E402

from .syncs import Syncs, count_syncs  # noqa: E402

__all__ = [
    'METRICS',
    'Row',
    'Scale',
    'Syncs',
    'available_memory',
    'compare',
    'count_syncs',
    'environment',
    'kept_memory',
    'left_out',
    'peak_memory',
    'relative_difference',
    'seconds',
]

METRICS = {'time': 's', 'memory': 'bytes', 'syncs': 'count', 'activations': 'bytes'}
ENOUGH = 30  # seconds of timing after which two runs suffice
PACKAGES = (
    'torch',
    'torchvision',
    'numpy',
    'scipy',
    'mmcv',
    'mmengine',
    'mmdet',
    'mmsegmentation',
    'onedl-mmcv',
    'onedl-mmengine',
    'onedl-mmdetection',
    'onedl-mmsegmentation',
    'transformers',
    'deformops',
)


@dataclass
class Scale:
    """How much is measured.

    Args:
        quick: smaller sizes and fewer repetitions, to see whether everything runs.
        device: 'cpu' or 'cuda'.
        dtype: 'float32', or the type of autocast ('bfloat16', 'float16').
        metrics: of those that need separate runs, what to measure: 'memory', 'time'.
        options: of one case, as ``NAME=VALUE`` on the command line, e.g. ``photo=...``.
    """

    quick: bool = False
    device: str = 'cpu'
    dtype: str = 'float32'
    metrics: tuple[str, ...] = ('memory', 'time')
    options: dict[str, str] = field(default_factory=dict)

    @property
    def repeats(self) -> int:
        """Timed runs of each side."""
        return 1 if self.quick else 5

    def sizes(self, *full: int) -> tuple[int, ...]:
        """The sizes to measure at; only one small size when quick."""
        return (min(128, *full),) if self.quick else full


@dataclass
class Row:
    """One number of ours beside one of theirs.

    Args:
        case: name of the module in ``benchmarks/cases``.
        part: what of it was measured, with the size: 'training step, 512 x 512, 20 objects'.
        metric: 'time' (s), 'memory' (peak bytes), 'syncs' (count) or 'activations' (bytes kept for backward).
        peer: whose numbers ``theirs`` are.
        ours, theirs: medians; None where nothing was measured.
        outputs_equal: whether both sides gave the same result within ``tolerance``; None where nothing was compared.
        tolerance: what was compared and the largest difference found.
        target: largest ``ratio`` that the project aims at, None for rows without an aim.
        limit: largest ``ours`` that the project aims at, in units of the metric.
        spread: quartiles of the ratios of the single runs, for times.
        note: the reason for a row without numbers, or what a reader has to know.
    """

    case: str
    part: str
    metric: str
    peer: str
    ours: float | None = None
    theirs: float | None = None
    outputs_equal: bool | None = None
    tolerance: str = ''
    target: float | None = None
    limit: float | None = None
    spread: tuple[float, float] | None = None
    note: str = ''

    @property
    def ratio(self) -> float | None:
        return None if self.ours is None or not self.theirs else self.ours / self.theirs

    @property
    def unit(self) -> str:
        return METRICS[self.metric]

    @property
    def reached(self) -> bool | None:
        """Whether target and limit are met; None for rows without one, and for rows without numbers."""
        checks = [
            value <= bound
            for value, bound in ((self.ratio, self.target), (self.ours, self.limit))
            if value is not None and bound is not None
        ]
        return all(checks) if checks else None

    def to_dict(self) -> dict:
        return asdict(self) | dict(ratio=self.ratio, unit=self.unit, reached=self.reached)


def compare(
    case: str,
    part: str,
    peer: str,
    ours: Callable[[], object],
    theirs: Callable[[], object],
    equal: Callable[[object, object], str],
    metrics: Sequence[str] = ('memory', 'time'),
    repeats: int = 5,
    before: Callable[[], None] = lambda: None,
    targets: dict[str, float] | None = None,
    limits: dict[str, float] | None = None,
    note: str = '',
) -> list[Row]:
    """Rows for two functions that must do the same.

    Args:
        case, part, peer, note: as in ``Row``.
        ours, theirs: run once to compare and to warm up, then once for memory, then ``repeats`` times in turn.
        equal: gets both results; says in words what was compared and how far apart it was, and raises AssertionError
            where that is too far. Then nothing is measured and the rows say so.
        metrics: of 'memory', 'time', 'syncs'.
        repeats: timed runs of each side; two suffice once they have taken half a minute.
        before: called before every run, neither timed nor counted; frees the gradients of both sides, for example.
        targets, limits: by metric, see ``Row``.
    """
    base = dict(case=case, part=part, peer=peer, note=note)

    def row(metric: str, **values) -> Row:
        return Row(metric=metric, target=(targets or {}).get(metric), limit=(limits or {}).get(metric), **base | values)

    def measure(what: Callable[[Callable], float], run: Callable[[], object]) -> float:
        before()
        return what(run)

    try:
        before()
        tolerance = equal(ours(), theirs())
    except AssertionError as error:
        return [
            row(metric, outputs_equal=False, note=f'not measured, the results differ: {error}') for metric in metrics
        ]
    rows = []
    for metric in metrics:
        values = dict(outputs_equal=True, tolerance=tolerance)
        if metric == 'time':
            pairs, end = [], time.perf_counter() + ENOUGH
            while len(pairs) < min(repeats, 2) or len(pairs) < repeats and time.perf_counter() < end:
                pairs.append((measure(seconds, ours), measure(seconds, theirs)))
            mine, others = (statistics.median(side) for side in zip(*pairs))
            rows.append(row(metric, ours=mine, theirs=others, spread=quartiles([a / b for a, b in pairs]), **values))
        else:
            what = peak_memory if metric == 'memory' else lambda run: count_syncs(run).total
            rows.append(row(metric, ours=measure(what, ours), theirs=measure(what, theirs), **values))
    return rows


def left_out(case: str, part: str, metric: str, peer: str, reason: str, **values) -> Row:
    """A row that could not be measured here, and why."""
    return Row(case, part, metric, peer, note=f'left out: {reason}', **values)


def peak_memory(run: Callable[[], object]) -> int:
    """Peak of bytes allocated above the start while ``run`` runs; its result is alive until it returns."""
    return max_and_last(run)[0]


def kept_memory(run: Callable[[], object]) -> int:
    """Bytes that are allocated when ``run`` is done, with its result alive, and were not at the start."""
    return max_and_last(run)[1]


def max_and_last(run: Callable[[], object]) -> tuple[int, int]:
    """Bytes allocated above the start: the most at any time, and at the end."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        start = torch.cuda.memory_allocated()
        result = run()
        torch.cuda.synchronize()
        last = torch.cuda.memory_allocated() - start
        del result
        return torch.cuda.max_memory_allocated() - start, last
    with collector_off(), torch.autograd.profiler.profile(use_kineto=True, profile_memory=True) as profile:
        result = run()
    del result
    now = peak = 0
    alive = set()
    for address, size in allocations(profile.kineto_results):
        if size > 0:
            alive.add(address)
        elif address not in alive:  # from before the start
            continue
        else:
            alive.remove(address)
        now += size
        peak = max(peak, now)
    return peak, now


def allocations(results) -> list[tuple[int, int]]:
    """Address and bytes of what was allocated, and freed (negative), in the order of time."""
    addresses, events = [], list(results.experimental_event_tree())
    while events:
        event = events.pop()
        events.extend(event.children)
        if event.tag == torch._C._profiler._EventType.Allocation:
            addresses.append((event.start_time_ns, event.extra_fields.ptr, event.extra_fields.alloc_size))
    return [(address, size) for _, address, size in sorted(addresses, key=lambda item: item[0])]


@contextmanager
def collector_off() -> Iterator[None]:
    """Without Python's collector of cycles, whose moments would show in the peak."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def seconds(run: Callable[[], object]) -> float:
    gc.collect()
    start = synchronized_clock()
    run()
    return synchronized_clock() - start


def synchronized_clock() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    """First and third; both the value itself where there is one only."""
    if len(values) == 1:
        return values[0], values[0]
    first, _, third = statistics.quantiles(values, n=4, method='inclusive')
    return first, third


def relative_difference(actual: torch.Tensor, expected: torch.Tensor) -> float:
    """Largest difference as a share of the largest expected value."""
    assert actual.shape == expected.shape, f'shape {tuple(actual.shape)} is not {tuple(expected.shape)}'
    if not expected.numel():
        return 0.0
    actual, expected = actual.detach().double(), expected.detach().double()
    return float((actual - expected).abs().max() / expected.abs().max().clamp(min=1e-30))


def environment(device: str = 'cpu') -> dict:
    """Where the numbers were taken."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    place = dict(
        python=platform.python_version(),
        machine=platform.machine(),
        processor=processor(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count(),
        threads=torch.get_num_threads(),
        packages=versions,
    )
    if device == 'cuda':
        place.update(gpu=torch.cuda.get_device_name(), cuda=torch.version.cuda, cudnn=torch.backends.cudnn.version())
    return place


def processor() -> str:
    try:
        with open('/proc/cpuinfo') as file:
            return next(line.split(':', 1)[1].strip() for line in file if line.startswith('model name'))
    except (OSError, StopIteration):
        return platform.processor()


def available_memory() -> int:
    """Bytes that programs can still take, by the kernel's estimate; very many where it gives none."""
    try:
        with open('/proc/meminfo') as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith('MemAvailable'))
    except (OSError, StopIteration):
        return 2**60
