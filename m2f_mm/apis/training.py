"""A training by MMEngine's runner: what ``tools/train.py`` and ``Segmenter.train`` share."""

from argparse import Namespace
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.config import Config
from mmengine.runner import Runner

from m2f_mm.checkpoints import safe_loading
from m2f_mm.datasets.locations import require_files
from m2f_mm.engine.class_counts import check_class_counts
from m2f_mm.engine.config_checks import training_warnings

from .command_line import build_runner
from .work_dir_lock import work_dir_lock


def use_amp(cfg: Config, dtype: str | None) -> None:
    """Switch the config's optimizer wrapper to mixed precision."""
    if not torch.cuda.is_available():
        raise ValueError("--amp needs a GPU, and torch sees none: MMEngine's AmpOptimWrapper does not run on a CPU")
    wrapper = cfg.optim_wrapper
    kind = wrapper.get('type', 'OptimWrapper')
    if kind not in ('OptimWrapper', 'AmpOptimWrapper'):
        raise ValueError(
            f'--amp: optim_wrapper.type is {kind!r}, which has no mixed precision form known here. '
            'Only OptimWrapper and AmpOptimWrapper can be switched; set it in the config'
        )
    wrapper.type = 'AmpOptimWrapper'
    if dtype is not None:
        wrapper.dtype = dtype
    # Only float16 underflows, so only it needs its loss scaled.
    wrapper.loss_scale = 1.0 if wrapper.get('dtype') == 'bfloat16' else wrapper.get('loss_scale', 'dynamic')


def use_auto_scale_lr(cfg: Config, name: str) -> None:
    """Let the learning rate follow the batch size.

    Args:
        cfg: is changed.
        name: of the config, for errors.

    Raises:
        ValueError: the config does not say for which batch size its learning rate is.
    """
    if 'base_batch_size' not in (cfg.get('auto_scale_lr') or {}):
        raise ValueError(
            f'--auto-scale-lr: {name} has no auto_scale_lr.base_batch_size, so there is nothing to scale from. Add '
            'auto_scale_lr = dict(base_batch_size=16) to the config'
        )
    cfg.auto_scale_lr.enable = True


def check_training(cfg: Config, processes: int = 1, cfg_options: dict[str, Any] | None = None) -> list[str]:
    """Look at a config before anything is built.

    Args:
        cfg: complete.
        processes: how many train together.
        cfg_options: what the command line has changed.

    Returns:
        Warnings.

    Raises:
        ValueError: model and data disagree on the classes.
        FileNotFoundError: files of the data sets are missing; names them.
    """
    check_class_counts(cfg, parts=('train', 'val'))
    require_files(cfg, parts=('train', 'val'))
    return training_warnings(cfg, processes, cfg_options)


@safe_loading()
def train(cfg: Config, warnings: Sequence[str] = (), launcher: Namespace | None = None) -> Runner:
    """Train.

    Args:
        cfg: complete, with ``work_dir``.
        warnings: to be shown and logged.
        launcher: arguments ``launcher`` and ``local_rank`` of a command line; by default one process.

    Returns:
        The runner, after the training.

    Raises:
        ValueError: another training writes into ``work_dir``.
    """
    launcher = launcher or Namespace(launcher='none', local_rank=0)
    with work_dir_lock(cfg.work_dir, launcher.launcher):
        runner = build_runner(cfg, launcher, warnings)
        runner.train()
        return runner
