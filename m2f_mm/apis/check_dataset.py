"""Read a data set as training would, and say what is wrong with which file."""

import os
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np
from mmengine.config import Config, ConfigDict
from mmengine.dataset import Compose
from mmengine.registry import DATASETS, TRANSFORMS, DefaultScope
from mmengine.utils import ProgressBar
from torch.utils.data import DataLoader, Dataset

from m2f_mm.datasets.faults import Fault, FaultsError, collected_faults
from m2f_mm.datasets.inspection import dataset_faults
from m2f_mm.datasets.locations import cure
from m2f_mm.datasets.pipelines import frame_steps, loads, type_name
from m2f_mm.datasets.wrappers import iter_datasets
from m2f_mm.engine.ignored_label import use_one_ignored_label


class CheckedItems(Dataset):
    """The faults of each item of a data set that loading finds; of a video, those of all its frames.

    Args:
        dataset: of MMDetection, MMSegmentation or this package.
        pipeline: its pipeline's configs.
    """

    def __init__(self, dataset: Any, pipeline: list[dict]):
        self.dataset = dataset
        steps = frame_steps(pipeline)
        last = max((i for i, step in enumerate(steps) if loads(step)), default=-1) + 1
        self.loading, self.rest = (
            Compose([TRANSFORMS.build(step) for step in part]) for part in (steps[:last], steps[last:])
        )

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> list[Fault]:
        info = self.dataset.get_data_info(index)
        return [fault for item in info.get('images', [info]) for fault in self._faults(item)]

    def _faults(self, info: dict) -> list[Fault]:
        """Of an image or frame."""
        path, results = info['img_path'], info
        for step in self.loading.transforms:
            try:
                results = step(results)
            except Exception as error:  # whatever a loader raises: of files, decoders, annotations
                labels = info.get('seg_map_path') if loads(step) and 'Image' not in type_name(step) else None
                return [Fault('items that cannot be loaded', labels or path, '', error_text(error))]
            if results is None:
                return [Fault('items of which the pipeline leaves nothing', path)]
        faults = list(loaded_faults(results, path, self.dataset.metainfo))
        if not any(fault.fatal for fault in faults):
            try:
                self.rest(results)
            except Exception as error:
                faults.append(Fault('items that fail after loading', path, '', f'after loading: {error_text(error)}'))
        return faults


def error_text(error: Exception) -> str:
    """The message of an error, with its type where that says more than a wrong value."""
    text = str(error)
    return text if isinstance(error, ValueError | OSError) and text else f'{type(error).__name__}: {text}'


def loaded_faults(results: dict, path: str, metainfo: dict) -> Iterator[Fault]:
    """Contradictions in what a pipeline has loaded of an image."""
    height, width = results.get('ori_shape') or results['img'].shape[:2]  # tests resize before they load
    listed = tuple(results.get(key) for key in ('height', 'width'))
    if None not in listed and listed != (height, width):
        yield Fault(
            'images of another size than their annotations say',
            path,
            '',
            f'it has {height}x{width} pixels (HxW), but its annotation says {listed[0]}x{listed[1]}',
        )
    names = metainfo.get('classes', ())
    masks = results.get('gt_masks')
    if masks is not None:
        labels = results.get('gt_bboxes_labels', np.zeros(len(masks), int))
        for number in np.flatnonzero(masks.areas == 0):
            label = int(labels[number])
            yield Fault(
                'objects with an empty mask',
                path,
                f'instance {number}',
                f'{names[label] if label < len(names) else label} has an empty mask',
                fatal=False,
            )
    seg_map = results.get('gt_seg_map')
    if seg_map is not None and seg_map.shape != (height, width):
        yield Fault(
            'label maps of another size than their images',
            path,
            '',
            f'the image has {height}x{width} pixels (HxW), but its label map {"x".join(map(str, seg_map.shape))}',
        )


def check_dataset(cfg: Config, split: str, workers: int, progress: bool = True) -> tuple[int, list[Fault]]:
    """Number of items and all faults of the data set of a split, or of those that wrappers such as ``ConcatDataset``
    have inside.

    Args:
        cfg: a whole config.
        split: 'train', 'val' or 'test'.
        workers: processes; 0 for this one.
        progress: show a bar.
    """
    if find_spec('mmdet') is not None:
        from m2f_mm.integrations.mmdet_datasets import check_stock_types

        check_stock_types()
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope') or 'mmengine'):
        results = [
            check_part(part, workers, progress, cfg.get('model'))
            for part, _ in iter_datasets(cfg[f'{split}_dataloader'].dataset)
        ]
    return sum(count for count, _ in results), [fault for _, faults in results for fault in faults]


def check_part(
    dataset_cfg: ConfigDict, workers: int, progress: bool, model: ConfigDict | None = None
) -> tuple[int, list[Fault]]:
    """The same of one data set; the model's config says which label is ignored."""
    try:
        with collected_faults() as notes:
            dataset = DATASETS.build(dataset_cfg)
        use_one_ignored_label(model, dataset, 'dataset')
        faults = notes + [fault for fault in dataset_faults(dataset) if fault not in notes]
    except FaultsError as error:
        return 0, error.faults
    except Exception as error:
        root = str(dataset_cfg.get('data_root') or '')
        place = os.path.join(root, str(dataset_cfg.get('ann_file') or ''))
        missing = isinstance(error, FileNotFoundError)
        return 0, [
            Fault('a data set that cannot be built', place, '', error_text(error), cure(place, '') if missing else '')
        ]
    known = {fault.file for fault in faults if fault.fatal and not os.path.isdir(fault.file)}  # said once for a file
    items = CheckedItems(dataset, dataset_cfg.pipeline)
    bar = ProgressBar(len(items)) if progress and len(items) else None
    for item_faults in DataLoader(items, batch_size=None, num_workers=workers):
        faults += [
            fault
            for fault in item_faults
            if fault.file not in known and not any(file in fault.detail for file in known)
        ]
        if bar:
            bar.update()
    if bar:
        print()
    return len(items), faults
