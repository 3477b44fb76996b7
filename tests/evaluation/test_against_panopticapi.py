"""The metric against the algorithm of panopticapi, image by image and to the last bit."""

import os

import numpy as np
import pytest
import torch

from benchmarks.cases.panoptic_quality import ImageFiles, equal_stats, read_rgb
from benchmarks.maps import prediction_of
from benchmarks.panopticapi import colors_of_ids, ids_of_colors, slow_panoptic_stats
from m2f_mm.datasets import CocoPanopticDataset
from m2f_mm.datasets.io import read_panoptic_png
from m2f_mm.evaluation import PanopticMetric
from m2f_mm.evaluation.functional import PanopticStats

COCO = os.path.join(os.path.dirname(__file__), '../../../shared/data/coco_panoptic/')


@pytest.mark.parametrize(
    'height, width, segments, seed',
    [
        (97, 131, 1, 0),
        (97, 131, 12, 1),
        (97, 131, 12, 2),
        (97, 131, 12, 3),
        (240, 320, 60, 4),
        (240, 320, 300, 5),
    ],
)
def test_synthetic_images(tmp_path, height, width, segments, seed):
    image = ImageFiles(str(tmp_path / 'image'), height, width, segments, seed)
    equal_stats([image.stats()], [image.slow_stats(image.gt_rgb, image.pred_rgb)])
    equal_stats([image.stats()], [image.through_files()])


def test_synthetic_images_exercise_every_rule(tmp_path):
    images = [ImageFiles(str(tmp_path / str(seed)), 240, 320, 60, seed) for seed in range(4)]
    stats = sum((image.stats() for image in images), PanopticStats.zeros(133))
    predicted = sum(len(image.pred_segments) for image in images)
    forgiven = predicted - stats.tp.sum() - stats.fp.sum()
    assert min(stats.tp.sum(), stats.fp.sum(), stats.fn.sum(), forgiven) > 3
    assert stats.tp.max() > 2  # so that the order of summation matters


@pytest.mark.skipif(not os.path.isdir(COCO), reason='needs ../shared/data/coco_panoptic')
def test_real_annotations():
    dataset = CocoPanopticDataset(
        data_root=COCO,
        ann_file='annotations/panoptic_val2017.json',
        test_mode=True,
        data_prefix=dict(img='val2017', seg='annotations/panoptic_val2017'),
    )
    metric = PanopticMetric(dataset.ann_file, dataset.data_prefix['seg'])
    metric.dataset_meta = dataset.metainfo
    num_classes, matches = len(dataset.metainfo['classes']), 0
    for item in list(dataset)[::3]:
        ids = read_panoptic_png(item['seg_map_path'])
        order = np.array([segment['id'] for segment in item['segments_info']])
        labels = np.array([segment['category'] for segment in item['segments_info']])
        target = np.full(ids.shape, -1, np.int32)
        for index, segment_id in enumerate(order):
            target[ids == segment_id] = index
        index, stands_for = prediction_of(target, item['img_id'])
        panoptic_ids = np.append(labels[stands_for] + 1000 * (1 + np.arange(len(stands_for))), num_classes)
        metric.process(
            {},
            [dict(img_id=item['img_id'], pred_panoptic_seg=dict(sem_seg=torch.from_numpy(panoptic_ids[index])[None]))],
        )
        expected = slow_panoptic_stats(
            read_rgb(item['seg_map_path']),
            item['segments_info'],
            colors_of_ids(index + 1),
            [dict(id=i + 1, category=label) for i, label in enumerate(labels[stands_for])],
            num_classes,
        )
        (present, numbers), _ = metric.results[-1]
        dense = np.zeros((4, num_classes))
        dense[:, present] = numbers
        np.testing.assert_array_equal(dense, [expected.iou, expected.tp, expected.fp, expected.fn])
        matches += expected.tp.sum()
    assert matches > 30


def test_the_twin_needs_lists_that_fit_the_images():
    ids = np.array([[0, 70000, 5]])
    np.testing.assert_array_equal(ids_of_colors(colors_of_ids(ids)), ids)
    with pytest.raises(KeyError, match='70000'):
        slow_panoptic_stats(colors_of_ids(ids), [], colors_of_ids(ids), [dict(id=5, category=0)], 1)
