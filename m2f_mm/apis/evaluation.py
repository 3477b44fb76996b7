"""Evaluation of a checkpoint by MMEngine's runner: what ``tools/test.py`` and ``Segmenter.evaluate`` share."""

import os
from argparse import Namespace
from collections.abc import Sequence

from mmengine.config import Config, ConfigDict

from m2f_mm.checkpoints import safe_loading
from m2f_mm.datasets.locations import require_files
from m2f_mm.datasets.pipelines import type_name
from m2f_mm.datasets.wrappers import iter_datasets
from m2f_mm.engine.class_counts import check_class_counts
from m2f_mm.engine.config_checks import palette_warnings, tta_warnings

from .command_line import build_runner


def draw_predictions(cfg: Config, show: bool = False, show_dir: str | None = None, wait_time: float = 2) -> None:
    """Let the config's visualization hook draw.

    Args:
        cfg: is changed.
        show: in a window.
        show_dir: into a folder.
        wait_time: seconds that the window stays.

    Raises:
        ValueError: the config has no such hook.
    """
    hook = cfg.get('default_hooks', {}).get('visualization')
    if hook is None or 'visualizer' not in cfg:
        raise ValueError(
            '--show and --show-dir need default_hooks.visualization and visualizer in the config, e.g. '
            "visualization=dict(type='DetVisualizationHook') of mmdet or "
            "dict(type='SegVisualizationHook') of mmseg"
        )
    hook.draw = True
    if show:
        hook.show, hook.wait_time = True, wait_time
    if show_dir:
        if is_segmentor(cfg):  # mmseg's hook has no folder of its own and leaves that to the visualizer
            cfg.visualizer.save_dir = show_dir
        else:
            hook.test_out_dir = show_dir


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


def check_evaluation(cfg: Config, tta: bool = False) -> list[str]:
    """Look at a config before anything is built.

    Returns:
        Warnings.

    Raises:
        ValueError: there is nothing to test on, or model and data disagree on the classes.
        FileNotFoundError: files of the data set are missing; names them.
    """
    if not cfg.get('test_dataloader'):
        raise ValueError(f'{cfg.filename or "the config"} has no test_dataloader, so there is nothing to test on')
    check_class_counts(cfg, parts=('test',))
    require_files(cfg, parts=('test',))
    return [*(tta_warnings(cfg) if tta else ()), *palette_warnings(cfg)]


@safe_loading()
def evaluate(cfg: Config, warnings: Sequence[str] = (), launcher: Namespace | None = None) -> dict:
    """Test the checkpoint ``cfg.load_from`` on the test data.

    Args:
        cfg: complete, with ``work_dir``.
        warnings: to be shown and logged.
        launcher: arguments ``launcher`` and ``local_rank`` of a command line; by default one process.

    Returns:
        The metrics by name.
    """
    return build_runner(cfg, launcher or Namespace(launcher='none', local_rank=0), warnings).test()
