"""The validation data of a training: images, their ground truth as results, predictions of them.

Shapes: H x W the image, N segments.
"""

import copy
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_masks

from m2f_mm.boxes import box_of_mask
from m2f_mm.datasets.id_map import positions
from m2f_mm.datasets.label_maps import default_ignore_index
from m2f_mm.datasets.locations import require_files
from m2f_mm.datasets.panoptic_files import shared_panoptic_ids
from m2f_mm.datasets.wrappers import iter_datasets
from m2f_mm.engine.class_counts import check_class_counts, fill_classes

from .results import Result, result_of_sample
from .segmenter import Segmenter
from .sources import read_image
from .tool_runner import import_framework

TASKS_OF = dict(
    panoptic=('panoptic', 'semantic', 'instance', 'boxes'), instance=('instance', 'boxes'), semantic=('semantic',)
)  # what a kind of annotation can be compared with


@dataclass
class Truth:
    """The ground truth of an image.

    Args:
        result: its segments, those without a mask boxes.
        crowd: for each segment whether it is a region that counts neither as true nor as false, bool (N,).
    """

    result: Result
    crowd: np.ndarray


class ValidationData:
    """The images of ``val_dataloader`` with ground truth.

    Args:
        segmenter: whose config it is.

    Attributes:
        task: what is compared: the first that the model predicts and the annotations are for.

    Raises:
        FileNotFoundError: files of the data set are missing.
        ValueError: the config has no validation data, or the model cannot be compared with its annotations.
    """

    def __init__(self, segmenter: Segmenter):
        from mmengine.registry import DATASETS, DefaultScope

        self.segmenter = segmenter
        cfg = copy.deepcopy(segmenter.cfg)
        if not cfg.get('val_dataloader'):
            raise ValueError(f'the config of {segmenter.name} has no val_dataloader: take --no-predict')
        scope = cfg.get('default_scope') or 'mmdet'
        import_framework(scope)
        fill_classes(cfg)
        check_class_counts(cfg, parts=('val',))
        require_files(cfg, parts=('val',))
        with DefaultScope.overwrite_default_scope(scope):
            self.dataset = DATASETS.build(cfg.val_dataloader.dataset)
        inner = next(iter_datasets(self.dataset))[0]
        classes = tuple(map(str, inner.metainfo.get('classes') or segmenter.classes))
        if classes != tuple(segmenter.classes):
            raise ValueError(
                f'{segmenter.weights} knows the classes {", ".join(segmenter.classes[:5])}, ..., but the validation '
                f'data have {", ".join(classes[:5])}, ...: they do not belong together'
            )
        self.num_things = len(inner.metainfo.get('thing_classes') or ())
        self.ignore_index = getattr(inner, 'ignore_index', None) or default_ignore_index(len(classes))
        if not len(self.dataset):
            raise ValueError('the validation data have no image: take --no-predict')
        self.kind = _kind(self.dataset.get_data_info(0))
        able = [task for task in segmenter.tasks if task in TASKS_OF[self.kind]]
        if not able:
            raise ValueError(
                f'{segmenter.name} predicts {", ".join(segmenter.tasks)}, but the validation data have annotations for '
                f'{", ".join(TASKS_OF[self.kind])}: take --no-predict'
            )
        self.task = able[0]

    def __len__(self) -> int:
        return len(self.dataset)

    def name(self, index: int) -> str:
        """Of an image: the name of its file."""
        return os.path.basename(str(self.dataset.get_data_info(index).get('img_path') or index))

    def image(self, index: int) -> np.ndarray:
        """RGB uint8 (H, W, 3)."""
        return read_image(self.dataset.get_data_info(index)['img_path'])

    def prepared(self, index: int) -> dict:
        """What the validation's pipeline makes of an image: ``inputs`` and ``data_samples``."""
        return self.dataset[index]

    def predict(self, index: int, image: np.ndarray | None = None, **options: Any) -> Result:
        """The prediction of an image, as in validation.

        Args:
            index: of the image.
            image: its pixels, where they are wanted in the result.
            **options: of ``test_cfg``.
        """
        segmenter, prepared = self.segmenter, self.prepared(index)
        size = prepared['data_samples'].ori_shape[:2]
        test_cfg = segmenter.test_options(self.task, options)
        (sample,) = segmenter.predict_prepared([prepared], test_cfg)
        return result_of_sample(
            sample,
            _blank(size) if image is None else image,
            classes=segmenter.classes,
            name=self.name(index),
            kind=self.task,
            is_thing=segmenter.is_thing,
            palette=segmenter.palette,
        )

    def truth(self, index: int, image: np.ndarray | None = None) -> Truth:
        """The ground truth of an image, from the records of the data set.

        Args:
            index: of the image.
            image: its pixels, where they are wanted in the result.
        """
        info = self.dataset.get_data_info(index)
        make = dict(panoptic=self._panoptic, instance=self._instances, semantic=self._semantic)[self.kind]
        truth = make(info)
        truth.result.name = self.name(index)
        if image is not None:
            truth.result.image = image
        return truth

    def _result(self, kind: str, size: tuple[int, int]) -> Result:
        return Result('', _blank(size), kind, [], self.segmenter.classes, palette=self.segmenter.palette)

    def _panoptic(self, info: Mapping) -> Truth:
        """Of ``PanopticDataset``'s records, or MMDetection's, whose crowds are things that are none."""
        result = self._result(self.task, (info['height'], info['width']))
        segments = [
            (each['id'], each['category'], bool(each.get('iscrowd', self._is_stock_crowd(each))))
            for each in info['segments_info']
        ]
        if self.task in ('instance', 'boxes'):
            things = self.segmenter.is_thing or ()
            segments = [each for each in segments if things[each[1]]]
        # Of crowd regions the last counts, as in the metric.
        segments.sort(key=lambda each: (each[2], 0 if each[2] else each[0]))
        if info['seg_map_path'] is None:
            result.panoptic = np.zeros(result.size, np.int32)
        else:
            runs = shared_panoptic_ids(info['seg_map_path'])
            number = positions(runs.values, np.array([each[0] for each in segments], np.int32)) + 1
            result.panoptic = runs.replace(number.astype(np.int32))
        for number, (_, label, _) in enumerate(segments, 1):
            mask = result.panoptic == number
            result.add(label, box_of_mask(mask), self.segmenter.is_thing, ids=result.panoptic, value=number)
        truth = Truth(result, np.array([crowd for *_, crowd in segments], bool))
        return self._semantic_of(truth) if self.task == 'semantic' else truth

    def _is_stock_crowd(self, segment: Mapping) -> bool:
        return segment['category'] < self.num_things and not segment.get('is_thing', True)

    def _semantic_of(self, truth: Truth) -> Truth:
        """Every segment in its class, crowds included."""
        labels = np.array([self.ignore_index, *(segment.label for segment in truth.result)])
        return self._of_label_map(labels[truth.result.panoptic])

    def _instances(self, info: Mapping) -> Truth:
        size = info['height'], info['width']
        result, crowd = self._result(self.task, size), []
        for each in info['instances']:
            rle = None if each.get('mask') is None or self.task == 'boxes' else _rle(each['mask'], size)
            result.add(each['bbox_label'], map(float, each['bbox']), self.segmenter.is_thing, given_rle=rle)
            crowd.append(bool(each.get('ignore_flag')))
        return Truth(result, np.array(crowd, bool))

    def _semantic(self, info: Mapping) -> Truth:
        from m2f_mm.datasets.transforms import LoadLabelMap

        return self._of_label_map(LoadLabelMap()(dict(info))['gt_seg_map'])

    def _of_label_map(self, labels: np.ndarray) -> Truth:
        result = self._result('semantic', labels.shape)
        result.semantic = labels
        result.add_classes(self.segmenter.is_thing)
        return Truth(result, np.zeros(len(result), bool))


def _kind(info: Mapping) -> str:
    """What the annotations of a record are.

    Raises:
        ValueError: they are none of an image.
    """
    if 'segments_info' in info:
        return 'panoptic'
    if 'instances' in info and 'img_path' in info:
        return 'instance'
    if 'seg_map_path' in info:
        return 'semantic'
    raise ValueError('the validation data are not images with annotations (videos, for instance): take --no-predict')


def _rle(mask: Any, size: tuple[int, int]) -> dict:
    """COCO's compressed RLE of polygons or of an RLE."""
    if isinstance(mask, list):
        return coco_masks.merge(coco_masks.frPyObjects(mask, *size))
    return coco_masks.frPyObjects(mask, *size) if isinstance(mask['counts'], list) else mask


def _blank(size: tuple[int, int]) -> np.ndarray:
    """An image (H, W, 3) that takes no memory."""
    return np.broadcast_to(np.uint8(0), (*size, 3))


def fitted(result: Result, side: int) -> Result:
    """The result at another size, to be drawn: its longer side is at most ``side`` pixels; a small one is enlarged by a
    whole number, so that texts fit in."""
    height, width = result.size
    factor = side / max(height, width)
    factor = float(int(factor)) if factor > 1 else factor
    if factor == 1:
        return result
    size = max(round(width * factor), 1), max(round(height * factor), 1)  # as OpenCV has it
    small = copy.copy(result)
    small.image = cv2.resize(result.image, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC)

    def nearest(pixels: np.ndarray) -> np.ndarray:
        wide = pixels if pixels.dtype == np.uint8 else pixels.astype(np.int32)
        return cv2.resize(wide, size, interpolation=cv2.INTER_NEAREST)

    if result.panoptic is not None:
        small.panoptic = nearest(result.panoptic)
    if result.semantic is not None:
        small.semantic = nearest(result.semantic)
    maps = {id(result.panoptic): small.panoptic, id(result.semantic): small.semantic}  # most segments have one of them
    small.segments = []
    for segment in result:
        each = copy.copy(segment)
        each.__dict__.pop('area', None)  # a cached property
        each.size = size[::-1]
        each.box = tuple(value * factor for value in segment.box)
        if segment.ids is not None:
            known = maps.get(id(segment.ids))
            each.ids = nearest(segment.ids) if known is None else known
        elif segment.given_rle is not None:
            mask = nearest(coco_masks.decode(segment.given_rle))
            each.given_rle = coco_masks.encode(np.asfortranarray(mask))
        small.segments.append(each)
    return small
