"""Train a model of MMDetection or MMSegmentation from a config; its ``default_scope`` decides which of the two.

Usage: python tools/train.py CONFIG [--work-dir DIR] [--amp] [--resume [CHECKPOINT]] [--cfg-options key=value ...]
"""

import argparse

import torch
from mmengine.config import Config

import m2f_mm  # noqa: F401  tells torch which types a checkpoint may hold
from m2f_mm.apis.command_line import (
    add_common_arguments,
    build_runner,
    disconnect_workers,
    existing_file,
    launched_processes,
    load_config,
    user_errors,
)
from m2f_mm.apis.work_dir_lock import work_dir_lock
from m2f_mm.checkpoints import safe_loading
from m2f_mm.datasets.locations import require_files
from m2f_mm.engine.class_counts import check_class_counts
from m2f_mm.engine.config_checks import training_warnings
from m2f_mm.engine.resume import prepare_resume, use_whole_checkpoints


def parse_args(args: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_common_arguments(parser)
    parser.add_argument('--amp', action='store_true', help='automatic mixed precision')
    parser.add_argument(
        '--amp-dtype',
        choices=['float16', 'bfloat16'],
        help="its number format (default: the config's, or float16); implies --amp",
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='go on from this checkpoint; without a value from the newest in the work directory',
    )
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate with the batch size, as auto_scale_lr of the config says',
    )
    return parser.parse_args(args)


def configure(args: argparse.Namespace) -> Config:
    """The config with all arguments applied.

    Raises FileNotFoundError and ValueError with a message that names the argument.
    """
    cfg = load_config(args)
    if args.amp or args.amp_dtype:
        use_amp(cfg, args.amp_dtype)
    if args.auto_scale_lr:
        if 'base_batch_size' not in (cfg.get('auto_scale_lr') or {}):
            raise ValueError(
                f'--auto-scale-lr: {args.config} has no auto_scale_lr.base_batch_size, so there is '
                'nothing to scale from. Add auto_scale_lr = dict(base_batch_size=16) to the config'
            )
        cfg.auto_scale_lr.enable = True
    if args.resume == 'auto':
        cfg.resume, cfg.load_from = True, None
    elif args.resume is not None:
        cfg.resume, cfg.load_from = True, existing_file(args.resume, '--resume')
    use_whole_checkpoints(cfg)
    prepare_resume(cfg)
    return cfg


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


@safe_loading()
def main(args: list[str] | None = None) -> None:
    options = parse_args(args)
    with user_errors():
        cfg = configure(options)
        check_class_counts(cfg, parts=('train', 'val'))
        require_files(cfg, parts=('train', 'val'))
        warnings = training_warnings(cfg, launched_processes(options.launcher), options.cfg_options)
    with user_errors(ours=True), work_dir_lock(cfg.work_dir, options.launcher):
        build_runner(cfg, options, warnings).train()
        disconnect_workers()


if __name__ == '__main__':
    main()
