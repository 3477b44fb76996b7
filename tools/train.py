"""Train a model of MMDetection or MMSegmentation from a config; its ``default_scope`` decides which of the two.

Usage: python tools/train.py CONFIG [--work-dir DIR] [--amp] [--resume [CHECKPOINT]] [--cfg-options key=value ...]
"""

import argparse

from mmengine.config import Config

import m2f_mm  # noqa: F401  tells torch which types a checkpoint may hold
from m2f_mm.apis.command_line import (
    add_common_arguments,
    disconnect_workers,
    existing_file,
    launched_processes,
    load_config,
    user_errors,
)
from m2f_mm.apis.training import check_training, train, use_amp, use_auto_scale_lr
from m2f_mm.checkpoints import safe_loading
from m2f_mm.engine.resume import prepare_resume, resume_newest, use_whole_checkpoints


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
        use_auto_scale_lr(cfg, args.config)
    use_whole_checkpoints(cfg)
    if args.resume == 'auto':
        resume_newest(cfg)
    else:
        if args.resume is not None:
            cfg.resume, cfg.load_from = True, existing_file(args.resume, '--resume')
        prepare_resume(cfg)
    return cfg


@safe_loading()
def main(args: list[str] | None = None) -> None:
    options = parse_args(args)
    with user_errors():
        cfg = configure(options)
        warnings = check_training(cfg, launched_processes(options.launcher), options.cfg_options)
    with user_errors(ours=True):
        train(cfg, warnings, options)
        disconnect_workers()


if __name__ == '__main__':
    main()
