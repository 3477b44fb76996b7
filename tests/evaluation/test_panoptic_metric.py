import json
import os

import numpy as np
import pytest
import torch

from m2f_mm.datasets import CocoPanopticDataset, LoadPanopticSegments, PanopticDataset
from m2f_mm.datasets.converters.shapes import write_shapes
from m2f_mm.datasets.io import read_panoptic_png
from m2f_mm.datasets.shapes import ShapesSpec
from m2f_mm.evaluation import PanopticMetric
from m2f_mm.registry import METRICS

COCO = os.path.join(os.path.dirname(__file__), '../../../shared/data/coco_panoptic/')


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    out = str(tmp_path_factory.mktemp('data') / 'shapes')
    write_shapes(out, ShapesSpec(64, 64, crowd=0.4, void=0.4), train=1, val=8, progress=False)
    return out


@pytest.fixture(scope='module')
def dataset(root):
    return PanopticDataset(
        data_root=root,
        ann_file='annotations/panoptic_val.json',
        test_mode=True,
        data_prefix=dict(img='img_dir/val', seg='annotations/panoptic_val'),
    )


def metric_for(dataset, **kwargs):
    metric = PanopticMetric(dataset.ann_file, dataset.data_prefix['seg'], **kwargs)
    metric.dataset_meta = dataset.metainfo
    return metric


def perfect(item, metainfo):
    """The ground truth of an image as a detector's sample: class + 1000 * instance, void is the number of classes."""
    results = LoadPanopticSegments()(dict(item))
    labels, num_things = results['gt_segment_labels'], len(metainfo['thing_classes'])
    ids = labels + 1000 * np.where(labels < num_things, 1 + np.arange(len(labels)), 0)
    encoded = np.append(ids, len(metainfo['classes']))
    index = np.where(results['gt_seg_map'] == 255, -1, results['gt_seg_map'].astype(int) - 256)
    return dict(
        img_id=item['img_id'],
        img_path=item['img_path'],
        pred_panoptic_seg=dict(sem_seg=torch.from_numpy(encoded[index])[None]),
    )


def scored(dataset, change=lambda sample: sample, **kwargs):
    metric = metric_for(dataset, **kwargs)
    for item in dataset:
        metric.process({}, [change(perfect(item, dataset.metainfo))])
    return metric.evaluate(len(dataset))


def shifted(sample):
    sample['pred_panoptic_seg']['sem_seg'] = sample['pred_panoptic_seg']['sem_seg'].roll(4, -1)
    return sample


@pytest.mark.smoke
def test_the_ground_truth_scores_100(dataset):
    scores = scored(dataset, classwise=True)
    names = [name + group for name in ('PQ', 'SQ', 'RQ') for group in ('', '_th', '_st')]
    assert set(scores) == {f'coco_panoptic/{name}' for name in names}
    assert all(value == 100 for value in scores.values())
    worse = scored(dataset, shifted)
    assert 0 < worse['coco_panoptic/PQ'] < 95 and worse['coco_panoptic/PQ_th'] < worse['coco_panoptic/PQ_st']


@pytest.mark.skipif(not os.path.isdir(COCO), reason='needs ../shared/data/coco_panoptic')
def test_real_annotations_score_100():
    dataset = CocoPanopticDataset(
        data_root=COCO,
        ann_file='annotations/panoptic_val2017.json',
        test_mode=True,
        data_prefix=dict(img='val2017', seg='annotations/panoptic_val2017'),
    )
    assert all(value == 100 for value in scored(dataset).values())


def test_splitting_over_workers_changes_nothing(dataset):
    """Two workers' results in MMEngine's order give the numbers of one."""
    samples = [shifted(perfect(item, dataset.metainfo)) for item in dataset]
    workers = [metric_for(dataset) for _ in range(2)]
    for rank, worker in enumerate(workers):
        for sample in samples[rank::2]:
            worker.process({}, [sample])
    merged = [result for pair in zip(*(worker.results for worker in workers)) for result in pair]
    together = workers[0].compute_metrics(merged)
    assert {f'coco_panoptic/{name}': value for name, value in together.items()} == scored(dataset, shifted)
    assert sum(array.nbytes for array in merged[0][0]) < 1000  # what a worker sends for an image


def test_result_files_are_a_coco_panoptic_result(dataset, tmp_path):
    prefix = str(tmp_path / 'out' / 'run')
    scored(dataset, shifted, outfile_prefix=prefix)
    with open(f'{prefix}.panoptic.json') as stream:
        result = json.load(stream)
    assert len(result['annotations']) == len(dataset) == len(result['images'])
    for item, annotation in zip(dataset, result['annotations']):
        assert annotation['image_id'] == item['img_id'] and annotation['file_name'] == item['seg_map_name']
        ids = read_panoptic_png(f'{prefix}.panoptic/{annotation["file_name"]}')
        segments = annotation['segments_info']
        assert set(np.unique(ids)) - {0} == {segment['id'] for segment in segments}
        assert all((ids == segment['id']).sum() == segment['area'] for segment in segments)
        assert {s['category_id'] for s in segments} <= set(range(1, 8))
    # The result, read as annotations, scores like the prediction that it was written from.
    again = PanopticDataset(
        f'{prefix}.panoptic.json', data_prefix=dict(img='', seg=f'{prefix}.panoptic'), test_mode=True
    )
    unprefixed = metric_for(dataset)
    for item in again:
        unprefixed.process({}, [perfect(item, dataset.metainfo)])
    assert unprefixed.evaluate(len(dataset)) == scored(dataset, shifted)


def test_format_only_needs_no_ground_truth(dataset, tmp_path):
    with open(dataset.ann_file) as stream:
        content = json.load(stream)
    del content['annotations']
    (tmp_path / 'test.json').write_text(json.dumps(content))
    metric = PanopticMetric(str(tmp_path / 'test.json'), format_only=True, outfile_prefix=str(tmp_path / 'r'))
    metric.dataset_meta = dataset.metainfo
    for item in dataset:
        metric.process({}, [perfect(item, dataset.metainfo)])
    assert metric.evaluate(len(dataset)) == {}
    assert sorted(os.listdir(tmp_path / 'r.panoptic')) == [f'{i:06d}.png' for i in range(len(dataset))]
    with pytest.raises(ValueError, match='outfile_prefix'):
        PanopticMetric('x.json', format_only=True)


def test_a_subset_of_classes(root):
    part = PanopticDataset(
        data_root=root,
        ann_file='annotations/panoptic_val.json',
        test_mode=True,
        metainfo=dict(classes=('ring', 'water')),
        data_prefix=dict(img='img_dir/val', seg='annotations/panoptic_val'),
    )
    assert scored(part)['coco_panoptic/PQ'] == 100


def test_without_stuff_its_mean_is_not_a_number(root):
    part = PanopticDataset(
        data_root=root,
        ann_file='annotations/panoptic_val.json',
        test_mode=True,
        metainfo=dict(classes=('disc', 'ring')),
        data_prefix=dict(img='img_dir/val', seg='annotations/panoptic_val'),
    )
    scores = scored(part)
    assert scores['coco_panoptic/PQ'] == 100 and np.isnan(scores['coco_panoptic/PQ_st'])


def test_errors_name_the_image(dataset):
    sample = perfect(dataset[0], dataset.metainfo)
    with pytest.raises(ValueError, match='image 99 .* is not in .*panoptic_val.json'):
        metric_for(dataset).process({}, [dict(sample, img_id=99)])
    small = dict(sem_seg=torch.zeros(1, 3, 5, dtype=torch.long))
    with pytest.raises(ValueError, match='000000.jpg: ground truth is 64x64 pixels .* prediction 3x5'):
        metric_for(dataset).process({}, [dict(sample, pred_panoptic_seg=small)])
    metric = metric_for(dataset)
    metric.dataset_meta = dict(classes=('a', 'b'))
    with pytest.raises(ValueError, match='needs thing_classes, stuff_classes in the metainfo'):
        metric.process({}, [sample])


def test_registered():
    assert METRICS.get('m2f_mm.PanopticMetric') is PanopticMetric
