"""From a folder of annotated images to a short, complete config: data, model, size, batch, learning rate, length.

Every number is picked by a rule that is said aloud, and can be given instead.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine.config import Config

from m2f_mm.datasets.formats import OwnData, TrainingForm, recognise, write_training_form
from m2f_mm.datasets.io import write_file

from .command_line import config_file
from .models import choose_device, nearest_names, released_named
from .own_config import METRICS, SMALL, training_config

# With a GPU: a published model, whose weights are the start.
PUBLISHED = dict(
    panoptic='mask2former_r50_8xb2-lsj-50e_coco-panoptic',
    instance='mask2former_r50_8xb2-lsj-50e_coco',
    semantic='mask2former_r50_8xb2-160k_ade20k-512x512',
    boxes='mask-dino-4scale_r50_8xb2-lsj-50e_coco',
)
BASE_BATCH = 16  # of the published learning rates
GPU_BYTES_A_PIXEL = 2900  # of a training step of an R50: 512 x 512 take 701 MiB, see docs/benchmarks.md
GPU_BYTES_FIXED = 2**30  # weights, gradients, the optimizer's moments
MIN_SIDE, MAX_SIDE = dict(cpu=192, cuda=512), dict(cpu=256, cuda=1024)


@dataclass
class TrainingPlan:
    """What a training on own data is to be.

    Args:
        task: 'panoptic', 'instance', 'semantic' or 'boxes'.
        model: ``SMALL``, or the path of a config.
        size: of the crops, height and width in pixels; the longer side of an image in evaluation.
        batch_size: images of a step on one device.
        accumulate: steps whose gradients are added before the weights change.
        lr: learning rate of the head; the backbone's is ``backbone_lr_mult`` times that.
        backbone_lr_mult: see ``lr``.
        max_iters: steps.
        val_interval: steps between two validations.
        num_queries: objects that an image can have, at most.
        load_from: weights to start from; None for those of the backbone alone.
        workers: processes of the loader.
        seed: of the split and of the training.
        reasons: why each is what it is.
    """

    task: str
    model: str
    size: int
    batch_size: int
    accumulate: int
    lr: float
    backbone_lr_mult: float
    max_iters: int
    val_interval: int
    num_queries: int
    load_from: str | None
    workers: int
    seed: int
    reasons: dict[str, str] = field(default_factory=dict)

    def describe(self) -> str:
        """A line for each number, with the reason."""
        return '\n'.join(f'{name:<17}{getattr(self, name)!s:<12}{why}' for name, why in self.reasons.items())


def plan_training(
    data: OwnData,
    form: TrainingForm,
    model: str = 'auto',
    device: str = 'auto',
    **given: Any,
) -> TrainingPlan:
    """Pick what is not given.

    Args:
        data: that is trained on.
        form: its training form, of the task.
        model: 'auto'; ``SMALL``; or the name of a shipped config of the task, whose released weights are the start, or
            the path of a config.
        device: see ``choose_device``.
        **given: fields of ``TrainingPlan`` that are not to be picked.

    Raises:
        ValueError: the task cannot be trained this way, a field does not exist, or the model is not known.
    """
    task = form.task
    known = [name for name in TrainingPlan.__dataclass_fields__ if name not in ('task', 'model', 'reasons')]
    for name in given:
        if name not in known:
            near = nearest_names(name, known, 1)
            hint = f'; did you mean {near[0]}?' if near else f'; there are {", ".join(known)}'
            raise ValueError(f'unknown option {name}={given[name]!r}{hint}')
    given = {name: value for name, value in given.items() if value is not None}
    kind = torch.device(choose_device(device)).type
    kind = kind if kind == 'cuda' else 'cpu'
    plan = TrainingPlan(task, model, 0, 0, 1, 0.0, 0.1, 0, 0, 100, None, 2, 0)
    reasons: dict[str, str] = {}

    def pick(name: str, value: Any, why: str) -> None:
        setattr(plan, name, given.get(name, value))
        reasons[name] = 'as given' if name in given else why

    if model == 'auto':
        plan.model = SMALL if kind == 'cpu' else PUBLISHED[task]
        reasons['model'] = (
            'a small network for a CPU' if kind == 'cpu' else 'the published model of the task with an R50, on a GPU'
        )
    else:
        reasons['model'] = 'as given'
    small = plan.model == SMALL
    if small:
        pick('load_from', None, 'the backbone has ImageNet weights, the rest starts anew')
    else:
        plan.model = config_file(plan.model)  # raises for an unknown name
        released = released_named(Path(plan.model).stem)
        weights = f'm2f_mm://{released.name}' if released else None
        license_ = f'; their license: {released.license}' if released else ''
        pick('load_from', weights, f'weights of {Path(plan.model).stem}{license_}' if weights else 'there are none')
    images = form.splits['train'].images
    sides = sorted(max(record.size) for record in data.records)
    longest = sides[len(sides) // 2]
    side = min(max(longest // 32 * 32, MIN_SIDE[kind]), MAX_SIDE[kind])
    pick(
        'size', side, f'images have {longest} pixels on the longer side; {MIN_SIDE[kind]} to {MAX_SIDE[kind]} on {kind}'
    )
    if kind == 'cuda':
        memory = torch.cuda.mem_get_info()[0]
        fitting = max(1, int((0.8 * memory - GPU_BYTES_FIXED) / (GPU_BYTES_A_PIXEL * plan.size**2)))
        pick('batch_size', min(fitting, 8, images), f'{memory / 2**30:.0f} GiB are free on the GPU')
        accumulate = max(1, round(8 / plan.batch_size)) if images >= 8 else 1
        pick('accumulate', accumulate, 'a step of about 8 images')
    else:
        pick('batch_size', min(4, images), 'few images a step, more steps: a CPU computes no faster in larger ones')
        pick('accumulate', 1, 'steps are taken one by one')
    effective = plan.batch_size * plan.accumulate
    if small:
        pick('lr', 1e-3, 'a head that starts anew takes larger steps')
        pick('backbone_lr_mult', 0.2, 'the backbone is pretrained')
    else:
        lr = 1e-4 * (effective / BASE_BATCH) ** 0.5
        pick('lr', float(f'{lr:.1g}'), f'1e-4 at {BASE_BATCH} images, with the square root of the batch')
        pick('backbone_lr_mult', 0.1, "the paper's")
    epochs = 120 if small else 40
    low, high = (600, 2000) if small else (1000, 20000)
    steps = min(max(images * epochs // plan.batch_size, low * plan.accumulate), high * plan.accumulate)
    steps = -(-steps // 50) * 50
    pick('max_iters', steps, f'{epochs} times the {images} images, but {low} to {high} steps')
    pick('val_interval', max(plan.max_iters // 8, 1), '8 validations')
    most = max((len(record.objects) + len(record.segments) for record in data.records), default=0)
    needed = max(100, -(-most * 3 // 2 // 50) * 50) if task != 'semantic' else 100
    pick('num_queries', 300 if task == 'boxes' and not small else needed, f'an image has {most} objects at most')
    pick('workers', min(4, max(os.cpu_count() or 1, 1) - 1) or 1, 'processors of this machine, but one')
    pick('seed', 0, 'of split and training')
    plan.reasons = reasons
    return plan


class PreparedTraining(NamedTuple):
    """What ``prepare_training`` made: the data, their training form, the plan, and the path of the config."""

    data: OwnData
    form: TrainingForm
    plan: TrainingPlan
    config: str


def prepare_training(
    folder: str | Path,
    work_dir: str | Path | None = None,
    task: str | None = None,
    model: str = 'auto',
    device: str = 'auto',
    val_share: float = 0.2,
    reading: Mapping[str, Any] | None = None,
    **given: Any,
) -> PreparedTraining:
    """Recognise a folder of annotated images, and write annotations for training and a config.

    Args:
        folder: of the data, which stays as it is.
        work_dir: where files are written, below ``own_data``; by default ``work_dirs/FOLDER_TASK``.
        task: 'panoptic', 'instance', 'semantic' or 'boxes'; by default what the data are for.
        model: see ``plan_training``.
        device: see ``choose_device``.
        val_share: share of the images for validation, where the data have no split.
        reading: further arguments of ``formats.recognise``, such as ``background``.
        **given: fields of ``TrainingPlan`` that are not to be picked.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: the folder is not recognised, is broken, or cannot be trained this way.
    """
    data = recognise(os.fspath(folder), **(reading or {}))
    task = data.task(task)
    if task not in METRICS:
        raise ValueError(
            f'{folder} has annotations for {task}: train it by a config, see docs/videos.md; `m2f train` does '
            f'{", ".join(METRICS)}'
        )
    name = f'{Path(folder).resolve().name}_{task}'.replace(' ', '_')
    work_dir = Path(work_dir or Path('work_dirs') / name)
    own = work_dir / 'own_data'
    form = write_training_form(data, str(own), task, val_share=val_share, seed=given.get('seed') or 0)
    plan = plan_training(data, form, model, device, **given)
    config = own / f'{re.sub("[^0-9a-zA-Z_-]", "_", name)}.py'
    write_file(str(config), training_config(plan, data, form).encode())
    return PreparedTraining(data, form, plan, str(config))


def train_prepared(prepared: PreparedTraining, work_dir: str | Path | None = None, resume: bool = False) -> str:
    """Train what was prepared.

    Args:
        prepared: of ``prepare_training``.
        work_dir: by default the one for which it was prepared.
        resume: go on from the newest checkpoint.

    Returns:
        The folder of the training, which ``Segmenter`` takes.

    Raises:
        ValueError: data and model disagree, or another training writes there.
    """
    from m2f_mm.engine.resume import resume_newest, use_whole_checkpoints

    from .tool_runner import import_framework
    from .training import check_training, train

    cfg = Config.fromfile(prepared.config)
    cfg.launcher = 'none'
    cfg.work_dir = str(work_dir or Path(prepared.config).parents[1])
    import_framework(cfg.default_scope)
    use_whole_checkpoints(cfg)
    if resume:
        resume_newest(cfg)
    train(cfg, check_training(cfg))
    return cfg.work_dir


def best_result(work_dir: str | Path, metric: str) -> tuple[str, float] | None:
    """The best checkpoint of a training and its metric; None where there was no validation."""
    import json

    best = sorted(Path(work_dir).glob('best_*.pth'), key=lambda path: path.stat().st_mtime)
    values = []
    for log in sorted(Path(work_dir).glob('*/vis_data/scalars.json')):
        records: Sequence[dict] = [json.loads(line) for line in log.read_text().splitlines() if line.strip()]
        values += [record[metric] for record in records if metric in record]
    return (str(best[-1]), max(values)) if best and values else None
