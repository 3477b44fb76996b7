"""Read a data set as training would, and say what is wrong with which picture."""
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from mmengine import fileio
from mmengine.config import Config, ConfigDict
from mmengine.dataset import Compose
from mmengine.registry import DATASETS, TRANSFORMS, init_default_scope
from mmengine.utils import ProgressBar
from torch.utils.data import DataLoader, Dataset

from m2f_mm.datasets.id_map import IGNORE


class Problem(NamedTuple):
    """What is wrong; ``where`` is a picture's path, or the annotation file."""
    where: str
    what: str


class CheckedItems(Dataset):
    """The problems of each item of a data set; of a video, those of all its frames.

    Args:
        dataset: of MMDetection, MMSegmentation or this package.
        pipeline: its pipeline's configs.
    """

    def __init__(self, dataset: Any, pipeline: list[dict]):
        self.dataset = dataset
        pipeline = next((step['transforms'] for step in pipeline if 'TransformBroadcaster' in str(step['type'])),
                        pipeline)  # what is done with each frame
        last = max((i for i, step in enumerate(pipeline) if 'Load' in str(step['type'])), default=-1) + 1
        self.loading, self.rest = (Compose([TRANSFORMS.build(step) for step in part])
                                   for part in (pipeline[:last], pipeline[last:]))

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> list[Problem]:
        info = self.dataset.get_data_info(index)
        return [problem for item in info.get('images', [info]) for problem in self._problems(item)]

    def _problems(self, info: dict) -> list[Problem]:
        """Of a picture or frame."""
        path, results = info['img_path'], info
        for step in self.loading.transforms:
            try:
                results = step(results)
            except Exception as error:  # whatever a loader raises: of files, decoders, annotations
                of_labels = type(step).__name__ in ('LoadAnnotations', 'LoadLabelMap')
                labels = info.get('seg_map_path') if of_labels else None
                return [Problem(labels or path, said(error))]  # MMSegmentation's loader does not name its file
            if results is None:
                return [Problem(path, 'the pipeline leaves nothing of it')]
        ignored = getattr(self.dataset, 'ignore_index', IGNORE)
        problems = [Problem(path, what) for what in loaded_problems(results, self.dataset.metainfo, ignored)]
        if not problems:
            try:
                self.rest(results)
            except Exception as error:
                problems.append(Problem(path, f'after loading: {said(error)}'))
        return problems


def said(error: Exception) -> str:
    text = str(error)
    return text if isinstance(error, ValueError | OSError) and text else f'{type(error).__name__}: {text}'


def loaded_problems(results: dict, metainfo: dict, ignored: int) -> Iterator[str]:
    """Contradictions in what a pipeline has loaded of a picture."""
    height, width = results.get('ori_shape') or results['img'].shape[:2]  # tests resize before they load the truth
    listed = tuple(results.get(key) for key in ('height', 'width'))
    if None not in listed and listed != (height, width):
        yield f'the picture is {height}x{width} pixels (HxW), but its annotation says {listed[0]}x{listed[1]}'
    names = metainfo.get('classes', ())
    masks = results.get('gt_masks')
    if masks is not None:
        labels = results.get('gt_bboxes_labels', np.zeros(len(masks), int))
        for number in np.flatnonzero(masks.areas == 0):
            label = int(labels[number])
            yield f'instance {number} ({names[label] if label < len(names) else label}) has an empty mask'
    seg_map = results.get('gt_seg_map')
    if seg_map is None:
        return
    if seg_map.shape != (height, width):
        yield f'the picture is {height}x{width} pixels (HxW), but its label map {seg_map.shape[0]}x{seg_map.shape[1]}'
    if 'gt_segment_labels' in results:  # a panoptic map was compared with its JSON when it was loaded
        return
    unknown = [int(label) for label in np.unique(seg_map) if label != ignored and label >= len(names)]
    if unknown:
        yield f'its label map has the values {unknown[:10]}, but there are {len(names)} classes'
    elif (seg_map == ignored).all():
        yield 'its label map is ignored everywhere'


def annotation_problems(dataset: Any) -> Iterator[Problem]:
    """What a COCO file holds and MMDetection's ``CocoDataset`` passes over without a word."""
    if not hasattr(dataset, 'cat_ids'):
        return
    content = json.loads(fileio.get(dataset.ann_file))
    if any('segments_info' in annotation for annotation in content['annotations']):  # panoptic
        return
    names = {category['id']: category['name'] for category in content['categories']}
    pictures = {image['id'] for image in content['images']}
    asked = set(dataset.cat_ids)
    others = Counter(annotation['category_id'] for annotation in content['annotations']
                     if annotation['category_id'] not in asked)
    for category, count in sorted(others.items()):
        what = f'{names[category]!r}, which is not among the classes' if category in names else 'which it does not list'
        yield Problem(dataset.ann_file, f'{count} annotations of category {category}, {what}')
    lost = sum(annotation['image_id'] not in pictures for annotation in content['annotations'])
    if lost:
        yield Problem(dataset.ann_file, f'{lost} annotations of pictures that the file does not list')
    missing = [name for name in dataset.metainfo['classes'] if name not in names.values()]
    if missing:
        yield Problem(dataset.ann_file, f'no category {", ".join(map(repr, missing[:10]))}')


def check_dataset(cfg: Config, split: str, workers: int, progress: bool = True) -> tuple[int, list[Problem]]:
    """Number of items and all problems of the data set of a split, or of those that wrappers such as ``ConcatDataset``
    have inside.

    Args:
        cfg: a whole config.
        split: 'train', 'val' or 'test'.
        workers: processes; 0 for this one.
    """
    init_default_scope(cfg.get('default_scope') or 'mmengine')
    found = [check_part(part, workers, progress) for part in parts_of(cfg[f'{split}_dataloader'].dataset)]
    return sum(count for count, _ in found), [problem for _, problems in found for problem in problems]


def parts_of(dataset_cfg: ConfigDict) -> list[ConfigDict]:
    """The data sets inside of wrappers."""
    inner = dataset_cfg.get('datasets') or ([dataset_cfg['dataset']] if 'dataset' in dataset_cfg else [])
    return [part for each in inner for part in parts_of(each)] or [dataset_cfg]


def check_part(dataset_cfg: ConfigDict, workers: int, progress: bool) -> tuple[int, list[Problem]]:
    """The same of one data set."""
    try:
        dataset = DATASETS.build(dataset_cfg)
    except Exception as error:
        return 0, [Problem(str(dataset_cfg.get('ann_file') or dataset_cfg.get('data_root')), said(error))]
    problems = list(annotation_problems(dataset))
    items = CheckedItems(dataset, dataset_cfg.pipeline)
    bar = ProgressBar(len(items)) if progress and len(items) else None
    for found in DataLoader(items, batch_size=None, num_workers=workers):
        problems += found
        if bar:
            bar.update()
    if bar:
        print()
    return len(items), problems
