"""The metric against the algorithm of panopticapi, picture by picture and to the last bit."""

import os

import numpy as np
import pytest
import torch

from benchmarks.cases.panoptic_quality import Picture, equal_stats, read_rgb
from benchmarks.maps import prediction_of
from benchmarks.panopticapi import colours_of_ids, ids_of_colours, slow_panoptic_stats
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
def test_synthetic_pictures(tmp_path, height, width, segments, seed):
    picture = Picture(str(tmp_path / 'picture'), height, width, segments, seed)
    equal_stats([picture.stats()], [picture.slow_stats(picture.gt_rgb, picture.pred_rgb)])
    equal_stats([picture.stats()], [picture.through_files()])


def test_synthetic_pictures_exercise_every_rule(tmp_path):
    pictures = [Picture(str(tmp_path / str(seed)), 240, 320, 60, seed) for seed in range(4)]
    stats = sum((picture.stats() for picture in pictures), PanopticStats.zeros(133))
    predicted = sum(len(picture.pred_segments) for picture in pictures)
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
        truth = np.full(ids.shape, -1, np.int32)
        for index, segment_id in enumerate(order):
            truth[ids == segment_id] = index
        index, stands_for = prediction_of(truth, item['img_id'])
        codes = np.append(labels[stands_for] + 1000 * (1 + np.arange(len(stands_for))), num_classes)
        metric.process(
            {}, [dict(img_id=item['img_id'], pred_panoptic_seg=dict(sem_seg=torch.from_numpy(codes[index])[None]))]
        )
        expected = slow_panoptic_stats(
            read_rgb(item['seg_map_path']),
            item['segments_info'],
            colours_of_ids(index + 1),
            [dict(id=i + 1, category=label) for i, label in enumerate(labels[stands_for])],
            num_classes,
        )
        (present, numbers), _ = metric.results[-1]
        dense = np.zeros((4, num_classes))
        dense[:, present] = numbers
        np.testing.assert_array_equal(dense, [expected.iou, expected.tp, expected.fp, expected.fn])
        matches += expected.tp.sum()
    assert matches > 30


def test_the_twin_wants_lists_that_fit_the_pictures():
    ids = np.array([[0, 70000, 5]])
    np.testing.assert_array_equal(ids_of_colours(colours_of_ids(ids)), ids)
    with pytest.raises(KeyError, match='70000'):
        slow_panoptic_stats(colours_of_ids(ids), [], colours_of_ids(ids), [dict(id=5, category=0)], 1)
