"""How often an evaluation reads its files: every JSON and every panoptic PNG once."""

import os
import pickle
import shutil
from collections import Counter

import numpy as np
import pytest
import torch
from mmengine import fileio
from mmengine.dataset import pseudo_collate
from mmengine.evaluator import Evaluator
from mmengine.registry import DefaultScope
from mmengine.structures import PixelData
from torch.utils.data import DataLoader

from m2f_mm.datasets import PanopticDataset, panoptic_files
from m2f_mm.datasets.converters.shapes import write_shapes
from m2f_mm.datasets.io import read_panoptic_png, write_panoptic_png
from m2f_mm.datasets.panoptic_files import PNGS, shared_panoptic_ids
from m2f_mm.datasets.shapes import ShapesSpec

pytest.importorskip('mmdet')


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    out = str(tmp_path_factory.mktemp('data') / 'shapes')
    write_shapes(out, ShapesSpec(32, 48, crowd=0.0, void=0.5), train=1, val=5, progress=False)
    return out


@pytest.fixture
def reads(monkeypatch):
    """How often each file was read in this process, by its name."""
    panoptic_files._cached_png.cache_clear()
    panoptic_files._cached_json.cache_clear()
    counts, stock = Counter(), fileio.get

    def get(path, *args, **kwargs):
        counts[os.path.basename(path)] += 1
        return stock(path, *args, **kwargs)

    monkeypatch.setattr(fileio, 'get', get)
    return counts


def dataset_of(root, meta_keys=('img_id', 'img_path', 'ori_shape', 'panoptic_ids')):
    with DefaultScope.overwrite_default_scope('mmdet'):
        return PanopticDataset(
            'annotations/panoptic_val.json',
            data_root=root,
            data_prefix=dict(img='img_dir/val', seg='annotations/panoptic_val'),
            test_mode=True,
            pipeline=[
                dict(type='m2f_mm.LoadImage'),
                dict(type='m2f_mm.LoadPanopticSegments'),
                dict(type='m2f_mm.PackPanopticInputs', meta_keys=meta_keys),
            ],
        )


def evaluate(dataset, batches, **options):
    """Of all metrics, for predictions that are right but for void."""
    files = dict(ann_file=dataset.ann_file, seg_prefix=dataset.data_prefix['seg'])
    evaluator = Evaluator(
        [dict(type='m2f_mm.PanopticMetric', **files, **options), dict(type='m2f_mm.SemanticMetric', **files)]
    )
    evaluator.dataset_meta = dataset.metainfo
    for metric in evaluator.metrics:
        metric.check_dataset(dataset)
    for batch in batches:
        for sample in batch['data_samples']:
            labels = sample.gt_segments.labels[sample.gt_segment_map.data.long()]  # void: any class
            sample.pred_sem_seg = PixelData(sem_seg=labels)
            sample.pred_panoptic_seg = PixelData(sem_seg=labels + 1000 * sample.gt_segment_map.data.clamp(min=0))
        evaluator.process(batch['data_samples'], batch)
    return evaluator.evaluate(len(dataset))


def batches_of(dataset, size):
    items = [dataset[index] for index in range(len(dataset))]
    return [pseudo_collate(items[start : start + size]) for start in range(0, len(items), size)]


@pytest.mark.parametrize('meta_keys', [('img_id', 'img_path'), ('img_id', 'img_path', 'panoptic_ids')])
def test_every_file_is_read_once(root, reads, meta_keys, tmp_path):
    """By the pipeline, two metrics and the writer of results."""
    dataset = dataset_of(root, meta_keys)
    scores = evaluate(dataset, batches_of(dataset, 2), outfile_prefix=str(tmp_path / 'result'))
    assert scores['coco_panoptic/SQ'] > 90 and scores['semantic/mIoU'] == 100
    assert reads.pop('panoptic_val.json') == 1
    assert len(reads) == 2 * len(dataset) and set(reads.values()) == {1}  # images and PNGs


def test_the_ids_come_with_the_sample_from_another_process(root, reads):
    dataset = dataset_of(root)
    loader = DataLoader(dataset, batch_size=2, num_workers=1, collate_fn=pseudo_collate)
    assert evaluate(dataset, loader)['semantic/mIoU'] == 100
    assert reads == {'panoptic_val.json': 1}


def test_the_scores_are_those_of_metrics_that_read_alone(root, reads):
    dataset = dataset_of(root)
    shared = evaluate(dataset, batches_of(dataset, 2))
    alone = evaluate(dataset_of(root, ('img_id', 'img_path')), batches_of(dataset_of(root, ('img_id', 'img_path')), 1))
    assert shared == alone


def test_another_file_than_that_of_the_sample_is_read(root, tmp_path, reads):
    """A metric goes by its own ``seg_prefix``, whatever the data set has read."""
    dataset = dataset_of(root)
    for name in os.listdir(dataset.data_prefix['seg']):
        ids = read_panoptic_png(os.path.join(dataset.data_prefix['seg'], name))
        write_panoptic_png(str(tmp_path / name), np.zeros_like(ids))
    batches = batches_of(dataset, 2)
    dataset.data_prefix['seg'] = str(tmp_path)
    assert np.isnan(evaluate(dataset, batches)['semantic/mIoU'])  # all is void


def test_a_file_that_changes_is_read_again(root, tmp_path):
    path = str(tmp_path / 'a.png')
    for value in (3, 4):
        write_panoptic_png(path, np.full((4, 6), value))
        assert shared_panoptic_ids(path).values.tolist() == [value]


def test_a_json_that_changes_is_read_again(root, tmp_path):
    shutil.copytree(root, tmp_path / 'shapes')
    dataset = dataset_of(str(tmp_path / 'shapes'))
    batches = batches_of(dataset, 2)
    evaluate(dataset, batches)
    text = (tmp_path / 'shapes/annotations/panoptic_val.json').read_text()
    (tmp_path / 'shapes/annotations/panoptic_val.json').write_text(text.replace('"disc"', '"coin"'))
    with pytest.raises(ValueError, match='coin|disc'):
        evaluate(dataset, batches)


def test_few_maps_stay_in_memory(tmp_path):
    for number in range(PNGS + 4):
        write_panoptic_png(str(tmp_path / f'{number}.png'), np.full((2, 3), number))
        shared_panoptic_ids(str(tmp_path / f'{number}.png'))
    assert panoptic_files._cached_png.cache_info().currsize == PNGS


def test_a_training_json_is_not_kept(root, reads):
    panoptic_files._cached_json.cache_clear()
    PanopticDataset('annotations/panoptic_train.json', data_root=root, data_prefix=dict(img='', seg=''))
    assert panoptic_files._cached_json.cache_info().currsize == 0


def test_no_more_than_two_jsons_stay_in_memory(root, tmp_path):
    for number in range(3):
        shutil.copy(f'{root}/annotations/panoptic_val.json', tmp_path / f'{number}.json')
        panoptic_files.shared_panoptic_json(str(tmp_path / f'{number}.json'))
    assert panoptic_files._cached_json.cache_info().currsize == 2


@pytest.mark.parametrize('kind', ['m2f_mm.DumpDetResults', 'mmdet.DumpDetResults'])
def test_what_samples_carry_is_not_dumped(root, tmp_path, kind):
    """The file has no ids, and nothing that would need this package to be read."""
    from m2f_mm.registry import METRICS

    sample = dataset_of(root)[0]['data_samples'].clone()
    assert sample.panoptic_ids.runs.values.size  # a copy has them, too
    metric = METRICS.build(dict(type=kind, out_file_path=str(tmp_path / 'results.pkl')))
    metric.process({}, [sample.to_dict()])
    metric.evaluate(1)
    content = (tmp_path / 'results.pkl').read_bytes()
    (result,) = pickle.loads(content)
    assert result.get('panoptic_ids') is None and 'img_id' in result and b'm2f_mm' not in content
    assert torch.is_tensor(result['gt_segment_map']['data'])
