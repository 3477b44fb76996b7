"""mIoU of models that give semantic maps beside panoptic ones, as detectron2's ``SemSegEvaluator`` counts it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger

from ...datasets.id_map import positions
from ...datasets.io import read_label_png
from ...datasets.panoptic_files import shared_panoptic_ids
from ...registry import METRICS
from .completeness import require_each_once, require_listed
from .panoptic_gt import PanopticGt, panoptic_gt, require_listed_size


@METRICS.register_module()
class SemanticMetric(BaseMetric):
    """Mean IoU, mean and pixel accuracy of ``pred_sem_seg`` of MMDetection's data samples.

    The ground truth is either the panoptic annotation, every segment in its class, crowds included (COCO's
    ``panoptic_semseg``), or label maps. Ignored pixels count nowhere; a class without a true pixel is left out of
    the mean, even where it is predicted (MMSegmentation's ``IoUMetric`` counts it as 0 then).

    Gives ``semantic/mIoU``, ``mAcc`` and ``aAcc`` in per cent.

    Args:
        ann_file, seg_prefix: COCO panoptic JSON and the folder of its PNGs.
        label_files: instead of these, what to replace in the path of an image to get that of its label map,
            for instance ``{'/images/': '/annotations/', '.jpg': '.png'}``. The last occurrence of each is replaced.
        first_label: value of the first class in the label maps; classes are in the published order there, which
            ``class_ids`` of the metainfo translates. Other values are ignored.
        classwise: print the IoU of every class, too.
        backend_args: how to read files, see ``mmengine.fileio``.
        collect_device: 'cpu' or 'gpu', see ``mmengine.evaluator.BaseMetric``.
        prefix: replaces ``semantic``.

    Raises:
        ValueError: an image is not in the JSON, or its prediction has another size.
    """

    default_prefix = 'semantic'

    def __init__(
        self,
        ann_file: str | None = None,
        seg_prefix: str = '',
        label_files: Mapping[str, str] | None = None,
        first_label: int = 0,
        classwise: bool = False,
        backend_args: dict | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ):
        super().__init__(collect_device=collect_device, prefix=prefix)
        if (ann_file is None) == (label_files is None):
            raise ValueError('SemanticMetric needs either ann_file, with seg_prefix, or label_files, as ground truth')
        self.ann_file = ann_file
        self.seg_prefix = seg_prefix
        self.label_files = label_files
        self.first_label = first_label
        self.classwise = classwise
        self.backend_args = backend_args
        self._gt: PanopticGt | None = None

    def check_dataset(self, dataset: Any) -> None:
        """Raise ValueError unless the annotations are right, and the images of a data set are those of them."""
        if self.ann_file is not None:
            require_listed(dataset, self._load_gt().sizes(), self.ann_file)

    def _load_gt(self) -> PanopticGt:
        if self._gt is None:
            self._gt = panoptic_gt(self.dataset_meta, self.ann_file, self.seg_prefix, self.backend_args)
        return self._gt

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Count the pixels of each image."""
        num_classes = len(self.dataset_meta['classes'])
        for sample in data_samples:
            if 'pred_sem_seg' not in sample:
                raise ValueError('the model gives no pred_sem_seg; switch it on: model.test_cfg.semantic_on=True')
            predicted = sample['pred_sem_seg']['sem_seg'].cpu().numpy()
            predicted = predicted.reshape(predicted.shape[-2:])
            gt = self._from_labels(sample) if self.ann_file is None else self._from_segments(sample)
            if gt.shape != predicted.shape:
                raise ValueError(
                    f'{sample.get("img_path")}: ground truth is {gt.shape[0]}x{gt.shape[1]} pixels '
                    f'(HxW), but the prediction {predicted.shape[0]}x{predicted.shape[1]}'
                )
            if self.ann_file is not None:
                require_listed_size(self._load_gt().items[sample['img_id']], predicted.shape, self.ann_file)
            counted = gt >= 0
            gt, predicted = gt[counted], predicted[counted]
            counts = np.stack(
                [np.bincount(labels, minlength=num_classes) for labels in (gt[gt == predicted], gt, predicted)]
            )  # (3, C)
            present = np.flatnonzero(counts.any(0))  # an image shows a few of a hundred classes
            self.results.append((present, counts[:, present], sample.get('img_id', sample.get('img_path'))))

    def compute_metrics(self, results: list[tuple]) -> dict[str, float]:
        """The numbers in per cent from the counts of all images."""
        classes = self.dataset_meta['classes']
        totals = np.zeros((3, len(classes)), np.int64)
        require_each_once([key for *_, key in results], self._gt and self._gt.items, self.ann_file)
        for present, counts, _ in results:
            totals[:, present] += counts
        right, true, predicted = totals
        with np.errstate(invalid='ignore', divide='ignore'):
            iou, accuracy = 100 * right / (true + predicted - right), 100 * right / true
        shown = true > 0
        if self.classwise:
            width = max(map(len, classes))
            MMLogger.get_current_instance().info(
                'IoU\n'
                + '\n'.join(f'{name:{width}}{value:8.2f}' for name, value, here in zip(classes, iou, shown) if here)
            )
        if not shown.any():
            return dict(mIoU=float('nan'), mAcc=float('nan'), aAcc=float('nan'))
        return dict(
            mIoU=float(iou[shown].mean()),
            mAcc=float(accuracy[shown].mean()),
            aAcc=float(100 * right.sum() / true.sum()),
        )

    def _from_segments(self, sample: dict) -> np.ndarray:
        item = self._load_gt().items.get(sample['img_id'])
        if item is None:
            raise ValueError(
                f'image {sample["img_id"]!r} ({sample.get("img_path")}) is not in {self.ann_file}; '
                f'evaluator and data loader must use the same annotation file'
            )
        if item['seg_map_path'] is None:
            return np.full((item['height'], item['width']), -1)
        runs = shared_panoptic_ids(item['seg_map_path'], self.backend_args, sample)
        index = positions(runs.values, np.array([segment['id'] for segment in item['segments_info']], np.int32))
        return runs.replace(np.array([segment['category'] for segment in item['segments_info']] + [-1])[index])

    def _from_labels(self, sample: dict) -> np.ndarray:
        path = sample['img_path']
        for old, new in self.label_files.items():
            before, match, after = path.rpartition(old)
            if not match:
                raise ValueError(f'{path} has no {old!r} that label_files could replace')
            path = before + new + after
        values = read_label_png(path, self.backend_args)
        classes = self.dataset_meta['classes']
        order = self.dataset_meta.get('class_ids', range(len(classes)))
        if len(order) != len(classes):
            raise ValueError(
                f'SemanticMetric cannot tell which values of {path} are which of the {len(classes)} '
                f'classes: class_ids of the metainfo has {len(order)} entries'
            )
        table = np.full(256, -1)
        table[self.first_label + np.asarray(order)] = np.arange(len(order))
        return table[values]
