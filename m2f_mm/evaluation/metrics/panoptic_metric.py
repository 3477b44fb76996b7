"""Panoptic quality as a metric of MMEngine, and COCO panoptic result files; panopticapi is not needed."""

import os
import warnings
from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger

from ...datasets.id_map import IdRuns, positions
from ...datasets.io import inside, refuse_inputs, write_json, write_panoptic_png
from ...datasets.panoptic_files import shared_panoptic_ids, shared_panoptic_json
from ...registry import METRICS
from ..functional import (
    PanopticStats,
    decode_panoptic_ids,
    decode_panoptic_seg,
    match_segments,
    mean_quality,
    panoptic_quality,
    require_equal_sizes,
    segment_overlap,
)
from .completeness import require_each_once, require_listed
from .panoptic_gt import PanopticGt, panoptic_gt, require_listed_size


@METRICS.register_module()
class PanopticMetric(BaseMetric):
    """PQ, SQ and RQ of all classes, things and stuff, as panopticapi computes them.

    Reads ``pred_panoptic_seg`` of the data samples (MMDetection's encoding, at the size of the original image) and
    the ground truth from the files that the JSON names. Each image is reduced to a few numbers where it was
    predicted, so that distributed evaluation exchanges no maps.

    Gives ``coco_panoptic/PQ``, ``SQ``, ``RQ`` in per cent, and each with ``_th`` (things) and ``_st`` (stuff). A
    mean over no class at all is NaN.

    Args:
        ann_file: COCO panoptic JSON of the evaluated images. Without it the ground truth is that of the data samples:
            ``seg_map_path`` and ``segments_info``, which the ``meta_keys`` of the packing must have.
        seg_prefix: folder of its PNGs.
        classwise: print the three numbers of every class, too.
        outfile_prefix: also write the predictions as a COCO panoptic result, ``{outfile_prefix}.panoptic.json`` and
            the folder ``{outfile_prefix}.panoptic``.
        format_only: write the result and compute nothing; the JSON then needs no annotations.
        backend_args: how to read files, see ``mmengine.fileio``.
        collect_device: 'cpu' or 'gpu', see ``mmengine.evaluator.BaseMetric``.
        prefix: replaces ``coco_panoptic``.
        nproc: the stock option, without use: images are counted where they are predicted.
        file_client_args: the stock option; only None.

    Raises:
        ValueError: an image is not in the JSON, its prediction has another size, or it was predicted twice; the result
            would replace what is read, or lie outside of its folder.
    """

    default_prefix = 'coco_panoptic'

    def __init__(
        self,
        ann_file: str | None = None,
        seg_prefix: str | None = '',
        classwise: bool = False,
        outfile_prefix: str | None = None,
        format_only: bool = False,
        backend_args: dict | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
        nproc: int | None = None,
        file_client_args: None = None,
    ):
        super().__init__(collect_device=collect_device, prefix=prefix)
        if file_client_args is not None:
            raise ValueError('PanopticMetric: file_client_args is not supported, take backend_args')
        if format_only and not outfile_prefix:
            raise ValueError('PanopticMetric(format_only=True) writes files only; say where with outfile_prefix=...')
        if outfile_prefix:
            refuse_inputs(
                [f'{outfile_prefix}.panoptic.json', f'{outfile_prefix}.panoptic'],
                [ann_file, seg_prefix],
                'outfile_prefix',
            )
        self.ann_file = ann_file
        self.seg_prefix = seg_prefix or ''
        self.classwise = classwise
        self.outfile_prefix = outfile_prefix
        self.format_only = format_only
        self.backend_args = backend_args
        self._gt: PanopticGt | None = None
        self._names: dict = {}  # of the PNG that is written, by the id of its image
        self._category_ids: list[int] = []

    def check_dataset(self, dataset: Any) -> None:
        """Raise ValueError unless the annotations are right, and the images of a data set are those of them."""
        require_listed(dataset, self._load_gt().sizes(), self.ann_file)

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Count the segments of each image, and write its PNG."""
        items = self._load_gt().items if self.ann_file else None
        num_classes = len(self.dataset_meta['classes'])
        for sample in data_samples:
            item = self._from_sample(sample) if items is None else items.get(sample['img_id'])
            if item is None:
                raise ValueError(
                    f'image {sample["img_id"]!r} ({sample.get("img_path")}) is not in {self.ann_file}; '
                    f'evaluator and data loader must use the same annotation file'
                )
            if 'pred_panoptic_seg' not in sample:
                raise ValueError('the model gives no pred_panoptic_seg; switch it on: model.test_cfg.panoptic_on=True')
            predicted = sample['pred_panoptic_seg']['sem_seg'].cpu().numpy()
            predicted = predicted.reshape(predicted.shape[-2:])
            stats = None if self.format_only else _sparse(self._stats(item, sample, predicted, num_classes))
            require_listed_size(item, predicted.shape, self.ann_file)
            record = self._write_prediction(item, sample, predicted, num_classes) if self.outfile_prefix else None
            self.results.append((stats, (sample['img_id'], record)))

    def compute_metrics(self, results: list[tuple]) -> dict[str, float]:
        """The qualities in per cent from the counts of all images."""
        logger = MMLogger.get_current_instance()
        require_each_once([img_id for _, (img_id, _) in results], self._gt and self._gt.items, self.ann_file)
        if self.outfile_prefix:
            path = f'{self.outfile_prefix}.panoptic.json'
            content = (
                self._categories(results)
                if self.ann_file is None
                else shared_panoptic_json(self.ann_file, self.backend_args)
            )
            write_json(
                path,
                dict(
                    images=content['images'],
                    categories=content['categories'],
                    annotations=[record for _, (_, record) in results],
                ),
            )
            logger.info(f'panoptic results are in {path}')
        if self.format_only:
            return {}
        classes, num_things = self.dataset_meta['classes'], len(self.dataset_meta['thing_classes'])
        quality = panoptic_quality(reduce(add, (_dense(stats, len(classes)) for stats, _ in results)))
        groups = {'': range(len(classes)), '_th': range(num_things), '_st': range(num_things, len(classes))}
        means = {suffix: mean_quality(quality, group) for suffix, group in groups.items()}
        rows = list(zip(('all', 'things', 'stuff'), means.values()))
        if self.classwise:
            rows += [(name, mean_quality(quality, [label])) for label, name in enumerate(classes)]
        logger.info('panoptic quality\n' + _table(rows))
        return {name + suffix: value for suffix, mean in means.items() for name, value in mean.items()}

    def _categories(self, results: list[tuple]) -> dict:
        """Images and categories of a result file, where no annotation file lists them."""
        num_things = len(self.dataset_meta['thing_classes'])
        return dict(
            images=[dict(id=record['image_id'], file_name=record['file_name']) for _, (_, record) in results],
            categories=[
                dict(id=label, name=name, isthing=int(label < num_things))
                for label, name in enumerate(self.dataset_meta['classes'])
            ],
        )

    def _from_sample(self, sample: dict) -> dict:
        """The ground truth of an image as ``PanopticDataset`` lists it, from what a data sample carries."""
        missing = [key for key in ('segments_info', 'seg_map_path') if key not in sample]
        if missing:
            raise ValueError(
                f'{sample.get("img_path")}: PanopticMetric has no ann_file, and the data sample no '
                f'{" and no ".join(missing)}: give the metric the annotation file, or the packing of the '
                "test pipeline meta_keys with 'segments_info' and 'seg_map_path'"
            )
        names = ('classes', 'thing_classes')
        if any(name not in self.dataset_meta for name in names):
            raise ValueError(f'PanopticMetric needs {" and ".join(names)} in the metainfo of the data set')
        num_things, labels = len(self.dataset_meta['thing_classes']), range(len(self.dataset_meta['classes']))
        self._category_ids = list(labels)
        height, width = sample['ori_shape'][:2]
        path = sample['seg_map_path']
        segments = [
            dict(segment, iscrowd=segment.get('iscrowd', segment['category'] < num_things and not segment['is_thing']))
            for segment in sample['segments_info']
        ]  # MMDetection's crowds are things that are none
        name = f'{os.path.splitext(os.path.basename(path or sample["img_path"]))[0]}.png'
        if self.outfile_prefix and name in self._names.values() and self._names.get(sample['img_id']) != name:
            raise ValueError(
                f'{sample.get("img_path")}: the result of another image is {name}, too: give the metric '
                'the annotation file, or the files different names'
            )
        self._names[sample['img_id']] = name
        return dict(
            img_path=sample.get('img_path'),
            img_id=sample['img_id'],
            height=height,
            width=width,
            seg_map_path=path,
            seg_map_name=name,
            segments_info=segments,
            void_ids=sample.get('void_ids', ()),
        )

    def _load_gt(self) -> PanopticGt:
        if self._gt is None:
            self._gt = panoptic_gt(self.dataset_meta, self.ann_file, self.seg_prefix, self.backend_args)
            self._category_ids = self._gt.category_ids
            if self.outfile_prefix:
                self._names = self._result_names(self._gt.items)
        return self._gt

    def _result_names(self, items: dict) -> dict:
        """Names of the PNGs: those of the annotations, or of the images, with their folders."""
        names, images = {}, {}
        for key, item in items.items():
            name = item['seg_map_name'] or f'{os.path.splitext(item["img_path"])[0]}.png'
            names[key] = os.path.relpath(
                inside(f'{self.outfile_prefix}.panoptic', name, f'{self.ann_file}: image {key!r}'),
                f'{self.outfile_prefix}.panoptic',
            )
            if images.setdefault(names[key], key) != key:
                raise ValueError(
                    f'{self.ann_file}: images {images[names[key]]!r} and {key!r} would have one result, '
                    f'{names[key]}; give their files different names'
                )
        return names

    def _stats(self, item: dict, sample: dict, predicted: np.ndarray, num_classes: int) -> PanopticStats:
        """Of one image; everything is looked up per run of pixels in which neither map changes.

        Args:
            item: ground truth, as ``PanopticDataset`` lists it.
            sample: the data sample, which may carry the ids of the PNG.
            predicted: MMDetection's panoptic ids (H, W).
            num_classes: C.
        """
        # Matches add up in the order of the ids, as in panopticapi; of crowd regions the last one counts.
        segments = sorted(item['segments_info'], key=lambda s: (s['iscrowd'], 0 if s['iscrowd'] else s['id']))
        if item['seg_map_path'] is None:  # an image without annotation: all of it is void
            gt = IdRuns(np.zeros((item['height'], item['width']), np.int32))
        else:
            gt = shared_panoptic_ids(item['seg_map_path'], self.backend_args, sample)
        try:
            require_equal_sizes(gt.shape, predicted.shape)
        except ValueError as error:
            raise ValueError(f'{item["img_path"]}: {error}') from error
        gt_ids, pred_ids, pixels = gt.common_with(predicted)
        gt_index = positions(gt_ids, np.array([s['id'] for s in segments], np.int32))
        unknown = set(np.unique(gt_ids[gt_index < 0]).tolist()) - {0, *item['void_ids']}
        if unknown:
            warnings.warn(
                f'{item["seg_map_path"]}: segments {sorted(unknown)[:10]} are not in '
                f'{self.ann_file}; they count as void',
                stacklevel=2,
            )
        pred_index, pred_labels = decode_panoptic_ids(pred_ids, num_classes)
        overlap = segment_overlap(gt_index, pred_index, pixels, len(segments), len(pred_labels))
        return match_segments(
            overlap,
            np.array([s['category'] for s in segments], np.int64),
            np.array([s['iscrowd'] for s in segments], bool),
            pred_labels,
            num_classes,
        )

    def _write_prediction(self, item: dict, sample: dict, predicted: np.ndarray, num_classes: int) -> dict:
        """Write the PNG; segment i gets the id i + 1."""
        pred_map, pred_labels = decode_panoptic_seg(predicted, num_classes)
        name = self._names[item['img_id']]
        path = inside(f'{self.outfile_prefix}.panoptic', name, f'{self.ann_file}: image {item["img_id"]!r}')
        refuse_inputs([path], [sample.get('img_path'), item['seg_map_path']], 'outfile_prefix')
        write_panoptic_png(path, pred_map + 1)
        areas = np.bincount(pred_map.ravel() + 1, minlength=len(pred_labels) + 1)[1:]
        num_things = len(self.dataset_meta['thing_classes'])
        segments = [
            dict(id=i + 1, category_id=self._category_ids[label], isthing=int(label < num_things), area=int(area))
            for i, (label, area) in enumerate(zip(pred_labels, areas))
        ]
        return dict(image_id=item['img_id'], file_name=name, segments_info=segments)


def _sparse(stats: PanopticStats) -> tuple[np.ndarray, np.ndarray]:
    """The classes that occur, and their four numbers: an image shows a few of a hundred classes."""
    numbers = np.stack([stats.iou, stats.tp, stats.fp, stats.fn])
    labels = np.flatnonzero(numbers.any(0))
    return labels, numbers[:, labels]


def _dense(sparse: tuple[np.ndarray, np.ndarray], num_classes: int) -> PanopticStats:
    labels, numbers = sparse
    stats = PanopticStats.zeros(num_classes)
    for field, values in zip((stats.iou, stats.tp, stats.fp, stats.fn), numbers):
        field[labels] = values
    return stats


def _table(rows: Sequence[tuple[str, dict[str, float]]]) -> str:
    width = max(len(name) for name, _ in rows)
    lines = [f'{"":{width}}      PQ      SQ      RQ']
    lines += [f'{name:{width}}' + ''.join(f'{mean[key]:8.2f}' for key in ('PQ', 'SQ', 'RQ')) for name, mean in rows]
    return '\n'.join(lines)
