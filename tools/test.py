"""Evaluate a checkpoint with MMDetection or MMSegmentation; the config's ``default_scope`` decides which of the two.

Usage: python tools/test.py CONFIG CHECKPOINT [--out FILE.pkl | DIR] [--show-dir DIR] [--tta]
"""

import argparse
import os

from mmengine.config import Config, ConfigDict

import m2f_mm  # noqa: F401  tells torch which types a checkpoint may hold
from m2f_mm.apis.command_line import (
    add_common_arguments,
    build_runner,
    disconnect_workers,
    existing_file,
    load_config,
    user_errors,
)
from m2f_mm.checkpoints import safe_loading
from m2f_mm.datasets.locations import require_files
from m2f_mm.datasets.pipelines import type_name
from m2f_mm.datasets.wrappers import iter_datasets
from m2f_mm.engine.class_counts import check_class_counts
from m2f_mm.engine.config_checks import palette_warnings, tta_warnings


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
        draw_predictions(cfg, args)
    if args.tta:
        use_tta(cfg, args.config)
    if args.out is not None:
        keep_predictions(cfg, args.out)
    return cfg


def draw_predictions(cfg: Config, args: argparse.Namespace) -> None:
    """Let the config's visualization hook draw."""
    hook = cfg.get('default_hooks', {}).get('visualization')
    if hook is None or 'visualizer' not in cfg:
        raise ValueError(
            '--show and --show-dir need default_hooks.visualization and visualizer in the config, e.g. '
            "visualization=dict(type='DetVisualizationHook') of mmdet or "
            "dict(type='SegVisualizationHook') of mmseg"
        )
    hook.draw = True
    if args.show:
        hook.show, hook.wait_time = True, args.wait_time
    if args.show_dir:
        if is_segmentor(cfg):  # mmseg's hook has no folder of its own and leaves that to the visualizer
            cfg.visualizer.save_dir = args.show_dir
        else:
            hook.test_out_dir = args.show_dir


def draw_into(cfg: Config, folder: str) -> None:
    """Have images in ``folder`` itself, where the frameworks would make folders of their own: mmdet's hook inside of
    the log's folder, the visualizer for mmseg inside of ``folder``."""
    folder = os.path.abspath(folder)
    if not is_segmentor(cfg):
        cfg.default_hooks.visualization.test_out_dir = folder
        return
    cfg.visualizer.pop('save_dir', None)  # of scalars and config, too
    backends = cfg.visualizer.get('vis_backends') or []
    local = [backend for backend in backends if type_name(backend) == 'LocalVisBackend']
    if not local:
        local = [ConfigDict(type='LocalVisBackend')]
        cfg.visualizer.vis_backends = [*backends, *local]
    for backend in local:
        backend.img_save_dir = folder


def is_segmentor(cfg: Config) -> bool:
    """Whether the config is one of MMSegmentation."""
    return cfg.get('default_scope') == 'mmseg'


def use_tta(cfg: Config, name: str) -> None:
    """Wrap the model for test-time augmentation and take the pipeline that goes with it."""
    missing = [key for key in ('tta_model', 'tta_pipeline') if key not in cfg]
    if missing:
        raise ValueError(
            f'--tta: {name} has no {" and no ".join(missing)}. Add them to the config, e.g. '
            "tta_model = dict(type='SegTTAModel') and a tta_pipeline that ends in TestTimeAug"
        )
    cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)
    for dataset, _ in iter_datasets(cfg.test_dataloader.dataset):
        dataset.pipeline = cfg.tta_pipeline


def keep_predictions(cfg: Config, out: str) -> None:
    """Have the predictions written to ``out`` in the manner of the framework."""
    if not cfg.get('test_evaluator'):
        raise ValueError('--out needs a test_evaluator in the config, which is what writes the predictions')
    several = isinstance(cfg.test_evaluator, list)
    if is_segmentor(cfg):
        for evaluator in cfg.test_evaluator if several else [cfg.test_evaluator]:
            evaluator.output_dir = out
            evaluator.keep_results = True
    elif not out.endswith(('.pkl', '.pickle')):
        raise ValueError(f"--out is {out!r}, but a detector's predictions go to one file that ends in .pkl or .pickle")
    else:
        evaluators = cfg.test_evaluator if several else [cfg.test_evaluator]
        cfg.test_evaluator = [*evaluators, dict(type='m2f_mm.DumpDetResults', out_file_path=out)]


@safe_loading()
def main(args: list[str] | None = None) -> None:
    options = parse_args(args)
    with user_errors():
        cfg = configure(options)
        check_class_counts(cfg, parts=('test',))
        require_files(cfg, parts=('test',))
        if options.show_dir:
            draw_into(cfg, options.show_dir)
        warnings = [*(tta_warnings(cfg) if options.tta else ()), *palette_warnings(cfg)]
    with user_errors(ours=True):
        build_runner(cfg, options, warnings).test()
    disconnect_workers()


if __name__ == '__main__':
    main()
