"""That no tool writes over the data of its config."""

import os
from collections.abc import Iterator

from mmengine.config import Config

from m2f_mm.datasets.io import refuse_inputs
from m2f_mm.datasets.wrappers import iter_datasets

_SUFFIXES = (
    '',
    '.bbox.json',
    '.segm.json',
    '.proposal.json',
    '.keypoints.json',
    '.gt.json',
    '.panoptic.json',
    '.panoptic',
    '.submission_file.zip',
)  # of what metrics write, behind their outfile_prefix


def refuse_data_outputs(cfg: Config) -> None:
    """Refuse a config whose results would replace its data sets or annotations, or lie among them.

    Raises:
        ValueError: names the option, what it would write, and the data.
    """
    read = list(dict.fromkeys(inputs(cfg)))
    for option, path in outputs(cfg):
        refuse_inputs([path], read, option, around=option != 'work_dir')  # which may be the folder of a whole project


def inputs(cfg: Config) -> Iterator[str]:
    """Files and folders that data sets and evaluators of a config read, and its weights.

    A data set whose images lie in ``data_root`` itself stands for its annotation file only.
    """
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        for dataset, _ in iter_datasets((cfg.get(loader) or {}).get('dataset') or {}):
            root = dataset.get('data_root') or ''
            prefixes = dataset.get('data_prefix') or {}
            parts = [dataset.get('ann_file'), *(prefixes.values() if isinstance(prefixes, dict) else [prefixes])]
            yield from (os.path.join(root, part) for part in parts if part and isinstance(part, str))
    for evaluator in _evaluators(cfg):
        yield from (evaluator[key] for key in ('ann_file', 'seg_prefix') if evaluator.get(key))
    if cfg.get('load_from'):
        yield cfg.load_from


def outputs(cfg: Config) -> Iterator[tuple[str, str]]:
    """Options and the files or folders that they have written."""
    work_dir = cfg.get('work_dir') or 'work_dirs'
    yield 'work_dir', work_dir
    for evaluator in _evaluators(cfg):
        prefix = evaluator.get('outfile_prefix')
        if prefix:
            video = ('.json',) if str(evaluator.get('type')).endswith('YouTubeVISMetric') else ()
            yield from (('outfile_prefix', f'{prefix}{suffix}') for suffix in (*_SUFFIXES, *video))
        yield from ((f'{key} (--out)', evaluator[key]) for key in ('output_dir', 'out_file_path') if evaluator.get(key))
    folder = ((cfg.get('default_hooks') or {}).get('visualization') or {}).get('test_out_dir')
    if folder:  # mmdet's hook puts it into the folder of the log, unless it is absolute
        yield 'test_out_dir (--show-dir)', os.path.join(work_dir, 'TIMESTAMP', folder)
    visualizer = cfg.get('visualizer') or {}
    for part in (visualizer, *(visualizer.get('vis_backends') or ())):
        for key in ('save_dir', 'img_save_dir'):
            if isinstance(part, dict) and part.get(key):
                yield f'{key} (--show-dir)', part[key]


def _evaluators(cfg: Config) -> Iterator[dict]:
    for key in ('val_evaluator', 'test_evaluator'):
        evaluator = cfg.get(key)
        for each in evaluator if isinstance(evaluator, list | tuple) else [evaluator]:
            if isinstance(each, dict):
                yield each
                if isinstance(each.get('metrics'), list | tuple):
                    yield from (metric for metric in each['metrics'] if isinstance(metric, dict))
