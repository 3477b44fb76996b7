"""What a training has logged: MMEngine's ``vis_data/scalars.json``, those of resumed runs joined to one history."""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

MAX_POINTS = 400  # of a curve; more are averaged
_BOOKKEEPING = {'iter', 'step', 'epoch'}
_COSTS = ('time', 'data_time', 'memory')
_LOSS = re.compile(r'^(?:decode\.|decode_\d+\.|aux_\d+\.)?(?:(?P<layer>[a-z]*\d+|enc)[._])?(?P<kind>\w*loss\w*)$')


class Curve(NamedTuple):
    """Values of one name. ``steps`` (N,) are iterations, ``values`` (N,) finite."""

    name: str
    steps: list[float]
    values: list[float]


@dataclass
class History:
    """The curves of a training.

    Args:
        runs: folders of the runs that are joined, in their order.
        training: curves of what is logged while training, by name.
        validation: the same of the metrics of validations.
        not_finite: for each name how many values were NaN or infinite.
        broken: lines of the files that are no records, such as a last one that was not written to its end.
    """

    runs: list[str] = field(default_factory=list)
    training: dict[str, Curve] = field(default_factory=dict)
    validation: dict[str, Curve] = field(default_factory=dict)
    not_finite: dict[str, int] = field(default_factory=dict)
    broken: int = 0

    @property
    def last_step(self) -> int:
        """The last iteration that was logged; 0 where none was."""
        curves = (*self.training.values(), *self.validation.values())
        return int(max((curve.steps[-1] for curve in curves if curve.steps), default=0))


def read_history(work_dir: str | Path) -> History:
    """Of the folder of a training; a run without a log of scalars (an evaluation) is passed over.

    A run that was resumed goes on where it starts: what earlier runs have logged from its first iteration on is
    dropped, as their weights were.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    folder = Path(work_dir)
    if not folder.is_dir():
        raise FileNotFoundError(f'there is no folder {str(work_dir)!r}: give the work_dir of a training')
    history, kept = History(), []
    for log in sorted(folder.glob('*/vis_data/scalars.json')):
        records, broken = _records(log)
        history.broken += broken
        placed = list(_placed(records))
        if not placed:
            continue
        history.runs.append(log.parents[1].name)
        first = min((step for step, record in placed if _is_training(record)), default=math.inf)
        kept = [each for each in kept if each[0] < first] + placed
    for step, record in kept:
        curves = history.training if _is_training(record) else history.validation
        for name, value in record.items():
            if name in _BOOKKEEPING or isinstance(value, bool) or not isinstance(value, int | float):
                continue
            if curves is history.validation and (name in _COSTS or value == -1):  # COCO's number for "no such object"
                continue
            if not math.isfinite(value):
                history.not_finite[name] = history.not_finite.get(name, 0) + 1
                continue
            curve = curves.setdefault(name, Curve(name, [], []))
            curve.steps.append(step)
            curve.values.append(value)
    return history


def _records(log: Path) -> tuple[list[dict], int]:
    """The records of a file, and the number of lines that are none."""
    records, broken = [], 0
    for line in log.read_text(errors='replace').splitlines():
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if isinstance(record, dict) and isinstance(record.get('step'), int | float):
            records.append(record)
        else:
            broken += 1
    return records, broken


def _is_training(record: Mapping[str, Any]) -> bool:
    return 'iter' in record or 'loss' in record


def _placed(records: Sequence[dict]) -> Iterator[tuple[float, dict]]:
    """Each record with its iteration. Validations of trainings by epochs count these as ``step``: they belong to the
    iteration that was logged before them."""
    last, by_epoch = 0.0, any('epoch' in record for record in records if _is_training(record))
    for record in records:
        if _is_training(record):
            last = float(record.get('iter', record['step']))
            yield last, record
        else:
            yield (last if by_epoch else float(record['step'])), record


class Chart(NamedTuple):
    """Curves that are drawn together."""

    title: str
    curves: list[Curve]
    log_scale: bool = False


def charts(history: History) -> list[Chart]:
    """What to draw: the loss, its parts after the last layer and layer by layer, learning rates, gradients, costs, and
    the metrics of validations."""
    training = history.training
    total = [curve for name, curve in training.items() if name == 'loss']
    kinds: dict[str, Curve] = {}
    layers: dict[str, list[Curve]] = {}
    for name, curve in training.items():
        match = _LOSS.match(name)
        if name == 'loss' or match is None:
            continue
        layer, kind = match['layer'], match['kind']
        if layer is None:
            kinds[kind] = curve._replace(name=kind)
        layers.setdefault(layer or 'last', []).append(curve)
    found = [Chart('loss', total)]
    found.append(Chart('parts of the loss, after the last layer', list(kinds.values())))
    if len(layers) > 1:
        found.append(Chart('loss of each layer', [_sum(layer, curves) for layer, curves in layers.items()]))
    rates = [curve for name, curve in training.items() if name.endswith('lr') and name != 'base_lr']
    found.append(Chart('learning rate', rates or [curve for name, curve in training.items() if name == 'base_lr']))
    found.append(Chart('norm of the gradients', [training['grad_norm']] if 'grad_norm' in training else [], True))
    seconds = [training[name] for name in ('time', 'data_time') if name in training]
    found.append(Chart('seconds of a step', seconds))
    memory = [training['memory']] if 'memory' in training else []
    found.append(Chart('memory of the GPU in MB', memory))
    groups: dict[str, list[Curve]] = {}
    for name, curve in history.validation.items():
        prefix, _, short = name.rpartition('/')
        if not short.endswith('_precision'):  # of one class each
            groups.setdefault(prefix, []).append(curve._replace(name=short))
    found += [Chart(f'validation{": " if prefix else ""}{prefix}', curves) for prefix, curves in groups.items()]
    return [
        Chart(chart.title, [thinned(curve) for curve in chart.curves], chart.log_scale)
        for chart in found
        if any(curve.steps for curve in chart.curves)
    ]


def _sum(name: str, curves: Sequence[Curve]) -> Curve:
    """Where all of them have a value."""
    values: dict[float, list[float]] = {}
    for curve in curves:
        for step, value in zip(curve.steps, curve.values):
            values.setdefault(step, []).append(value)
    whole = {step: sum(parts) for step, parts in values.items() if len(parts) == len(curves)}
    return Curve(name, list(whole), list(whole.values()))


def thinned(curve: Curve, points: int = MAX_POINTS) -> Curve:
    """The curve with at most ``points`` points, each the mean of as many neighbours."""
    size = -(-len(curve.steps) // points)
    if size <= 1:
        return curve
    parts = [slice(start, start + size) for start in range(0, len(curve.steps), size)]
    return Curve(curve.name, *([sum(each[part]) / len(each[part]) for part in parts] for each in curve[1:]))
