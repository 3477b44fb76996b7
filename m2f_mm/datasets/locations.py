"""Where the data sets of the shipped configs lie, and how to get what is not there."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config

from .wrappers import iter_datasets


class Location(NamedTuple):
    """A folder that the shipped configs read.

    Args:
        variable: names another folder.
        default: the folder without it.
        command: makes the data, or prepares a download, in the folder that takes the place of ``{}``; empty where a
            download is taken as it is.
    """

    variable: str
    default: str
    command: str = ''

    @property
    def folder(self) -> str:
        """The folder that the variable names, else the default."""
        return os.environ.get(self.variable, self.default)


LOCATIONS = (
    Location('SHAPES_ROOT', 'data/shapes', 'python tools/dataset_converters/make_shapes.py --out {}'),
    Location('SHAPE_VIDEOS_ROOT', 'data/shape_videos', 'python tools/dataset_converters/make_shape_videos.py --out {}'),
    Location('ADE_ROOT', 'data/ade/ADEChallengeData2016', 'python tools/dataset_converters/ade20k.py {}'),
    Location('ADE_FULL_ROOT', 'data/ade/ADE20K_2021_17_01', 'python tools/dataset_converters/ade20k_full.py {}'),
    Location('CITYSCAPES_ROOT', 'data/cityscapes', 'python tools/dataset_converters/cityscapes.py {}'),
    Location('COCO_STUFF_ROOT', 'data/coco/coco_stuff_10k', 'python tools/dataset_converters/coco_stuff10k.py {}'),
    Location('COCO_ROOT', 'data/coco'),
    Location('MAPILLARY_ROOT', 'data/mapillary_vistas'),
    Location('OBJECTS365_ROOT', 'data/objects365'),
    Location('YTVIS_2019_ROOT', 'data/ytvis_2019'),
    Location('YTVIS_2021_ROOT', 'data/ytvis_2021'),
    Location('OVIS_ROOT', 'data/ovis'),
    Location('DAVIS_ROOT', 'data/davis'),
)


def require_files(cfg: Config, parts: Sequence[str] = ('train', 'val', 'test')) -> None:
    """See that folders and annotation files of a config's data sets and evaluators are there, before anything is built.

    Args:
        cfg: a whole config.
        parts: which loaders and evaluators will be used: ``train`` for ``train_dataloader`` and so on.

    Raises:
        FileNotFoundError: one is missing; names it, its place in the config, and the command that makes it.
    """
    for part in parts:
        for place, entry in _entries(cfg, part):
            root = entry.get('data_root') or ''
            if entry.get('backend_args') or '://' in root:
                continue  # not on this computer's disks
            known = _location(root or entry.get('ann_file'))
            keys = ['ann_file', 'seg_prefix'] if known or 'data_prefix' not in entry else ['ann_file']
            paths = {'data_root': root, **{key: entry.get(key) for key in keys}}
            if known:  # the layout of others' data sets is theirs
                paths.update({f'data_prefix.{key}': path for key, path in (entry.get('data_prefix') or {}).items()})
            for key, path in paths.items():
                if isinstance(path, str) and path and '://' not in path:
                    path = os.path.normpath(path if key == 'data_root' else os.path.join(root, path))
                    if not os.path.exists(path):
                        raise FileNotFoundError(
                            f'{place}.{key}: {path} does not exist (looked in {Path.cwd()}). {cure(path)}'
                        )


def cure(path: str, others: str = 'Check data_root, ann_file and data_prefix of the config') -> str:
    """What to do about a file or folder of a data set that is missing; ``others`` is said of data that are no shipped
    config's."""
    known = _location(path)
    if known is None:
        return others
    elsewhere = f'the variable {known.variable} names another folder'
    command = known.command.format(known.folder.rstrip('/'))
    if '--out' in command:
        return f'Make it with `{command}`; {elsewhere}'
    prepare = f' and prepare it with `{command}`' if command else ''
    return f'Put the download into {known.folder}, in the layout of its publisher{prepare}; {elsewhere}'


def _location(path: str | None) -> Location | None:
    """Of a file or folder; None for data of others."""
    if not path:
        return None
    path = Path(os.path.abspath(path))
    # COCO-Stuff lies inside of COCO by default and stands before it.
    return next((known for known in LOCATIONS if path.is_relative_to(os.path.abspath(known.folder))), None)


def _entries(cfg: Config, part: str) -> Iterator[tuple[str, dict]]:
    """Places and configs of the data sets, those inside of wrappers, and of the evaluators."""
    loader = cfg.get(f'{part}_dataloader')
    if isinstance(loader, dict) and isinstance(loader.get('dataset'), dict):
        for dataset, place in iter_datasets(loader['dataset'], f'{part}_dataloader.dataset'):
            yield place, dataset
    evaluators = cfg.get(f'{part}_evaluator') or []
    for index, evaluator in enumerate(evaluators if isinstance(evaluators, list | tuple) else [evaluators]):
        if isinstance(evaluator, dict):
            place = f'{part}_evaluator[{index}]' if isinstance(evaluators, list | tuple) else f'{part}_evaluator'
            yield place, evaluator
