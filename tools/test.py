"""Evaluate a checkpoint with MMDetection or MMSegmentation; the config's ``default_scope`` decides which of the two.

Usage: python tools/test.py CONFIG CHECKPOINT [--out FILE.pkl | DIR] [--show-dir DIR] [--tta]
"""

import argparse

from mmengine.config import Config

import m2f_mm  # noqa: F401  tells torch which types a checkpoint may hold
from m2f_mm.apis.command_line import (
    add_common_arguments,
    disconnect_workers,
    existing_file,
    load_config,
    user_errors,
)
from m2f_mm.apis.evaluation import check_evaluation, draw_into, draw_predictions, evaluate, keep_predictions, use_tta
from m2f_mm.checkpoints import safe_loading


def parse_args(args: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_common_arguments(parser, checkpoint=True)
    parser.add_argument('--out', help='detectors: a .pkl file for all predictions; segmentors: a folder for label maps')
    parser.add_argument('--show', action='store_true', help='show every prediction in a window')
    parser.add_argument('--show-dir', help='folder for an image of every prediction')
    parser.add_argument('--wait-time', type=float, default=2, help='seconds that --show leaves an image (default 2)')
    parser.add_argument('--tta', action='store_true', help='test-time augmentation, as the config describes it')
    return parser.parse_args(args)


def configure(args: argparse.Namespace) -> Config:
    """The config with all arguments applied.

    Raises FileNotFoundError and ValueError with a message that names the argument.
    """
    cfg = load_config(args)
    cfg.load_from = existing_file(args.checkpoint, 'checkpoint')
    if not cfg.get('test_dataloader'):
        raise ValueError(f'{args.config} has no test_dataloader, so there is nothing to test on')
    if args.show or args.show_dir:
        draw_predictions(cfg, args.show, args.show_dir, args.wait_time)
    if args.tta:
        use_tta(cfg, args.config)
    if args.out is not None:
        keep_predictions(cfg, args.out)
    return cfg


@safe_loading()
def main(args: list[str] | None = None) -> None:
    options = parse_args(args)
    with user_errors():
        cfg = configure(options)
        warnings = check_evaluation(cfg, options.tta)
        if options.show_dir:
            draw_into(cfg, options.show_dir)
    with user_errors(ours=True):
        evaluate(cfg, warnings, options)
    disconnect_workers()


if __name__ == '__main__':
    main()
