"""The data set configs build with the stock registries and deliver what the models expect, on small data."""

import os
import shutil
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, METRICS, DefaultScope
from PIL import Image

from m2f_mm.datasets.converters import ade20k, ade20k_full, cityscapes, coco_stuff
from m2f_mm.datasets.converters.shapes import write_shapes
from m2f_mm.datasets.shapes import CLASSES, PALETTE, STUFF, THINGS, ShapesSpec
from m2f_mm.engine.ignored_label import use_one_ignored_label
from tests.helpers.dataset_layouts import (
    write_ade20k_full,
    write_cityscapes,
    write_coco_stuff,
    write_mapillary,
    write_mapillary_v2,
)

HERE = os.path.dirname(os.path.abspath(__file__))
BASES = os.path.join(HERE, '../../configs/_base_/datasets')
COUNTS = dict(
    shapes_panoptic=(4, 3),
    coco_panoptic=(80, 53),
    ade20k_panoptic=(100, 50),
    shapes_instance=4,
    coco_instance=80,
    ade20k_instance=100,
    shapes_semantic=7,
    ade20k_semantic=150,
    ade20k_semantic_640=150,
    cityscapes_panoptic=(8, 11),
    cityscapes_instance=8,
    cityscapes_semantic=19,
    mapillary_panoptic=(37, 28),
    mapillary_semantic=65,
    mapillary_v2_panoptic=(70, 46),
    mapillary_v2_semantic=124,
    coco_stuff10k=171,
    ade20k_full=847,
)
SHARED = os.path.abspath(os.path.join(HERE, '../../../shared/data'))


@pytest.fixture(scope='module')
def shapes(tmp_path_factory):
    out = str(tmp_path_factory.mktemp('data') / 'shapes')
    write_shapes(out, ShapesSpec(crowd=1.0), train=4, val=2, progress=False)
    return out + '/'


@pytest.fixture(scope='module')
def ade(tmp_path_factory):
    """ADE20K images with objects, prepared as a user would."""
    given = Path(SHARED) / 'ade20k_derived/ADEChallengeData2016'
    root = tmp_path_factory.mktemp('data') / 'ade'
    if given.is_dir():
        for part in ('images', 'annotations', 'annotations_instance'):
            shutil.copytree(given / part, root / part)
        ade20k.convert(root, workers=0)
    return str(root)


@pytest.fixture(scope='module')
def streets(tmp_path_factory):
    """Generated Cityscapes, COCO-Stuff and full ADE20K, prepared, and Mapillary Vistas."""
    pytest.importorskip('h5py', reason='COCO-Stuff-10K needs h5py')
    root = tmp_path_factory.mktemp('data')
    cityscapes.convert(write_cityscapes(root / 'cityscapes'), workers=0)
    coco_stuff.convert(write_coco_stuff(root / 'stuff'), workers=0)
    write_mapillary_v2(write_mapillary(root / 'mapillary'))
    ade20k_full.convert(write_ade20k_full(root / 'full'), workers=0)
    return dict(
        COCO_STUFF_ROOT=f'{root}/stuff',
        ADE_FULL_ROOT=f'{root}/full',
        CITYSCAPES_ROOT=f'{root}/cityscapes/',
        MAPILLARY_ROOT=f'{root}/mapillary/',
    )


@pytest.fixture
def open_config(monkeypatch, shapes, ade, streets):
    """Opens a base config with the roots of small data, under the scope of its framework."""
    roots = dict(SHAPES_ROOT=shapes, COCO_ROOT=f'{SHARED}/coco_panoptic/', ADE_ROOT=ade, **streets)

    def open_config(name):
        semantic = any(part in name for part in ('semantic', 'stuff', 'full'))
        package = pytest.importorskip('mmseg' if semantic else 'mmdet')
        for module in ('datasets', 'evaluation'):
            pytest.importorskip(f'{package.__name__}.{module}')
        for variable, root in roots.items():
            monkeypatch.setenv(variable, root)
        config = Config.fromfile(f'{BASES}/{name}.py')
        if not os.path.isdir(config.data_root):
            pytest.skip(f'needs {config.data_root}')
        scope.enter_context(DefaultScope.overwrite_default_scope(package.__name__))
        return config

    with ExitStack() as scope:
        yield open_config


def every_item(config, split):
    np.random.seed(0)
    dataset = DATASETS.build(config[f'{split}_dataloader'].dataset)
    return dataset, [dataset[i] for i in range(min(len(dataset), 6))]


@pytest.mark.smoke
@pytest.mark.parametrize(
    'name',
    [
        'shapes_panoptic',
        'coco_panoptic',
        'ade20k_panoptic',
        'cityscapes_panoptic',
        'mapillary_panoptic',
        'mapillary_v2_panoptic',
    ],
)
def test_panoptic(open_config, name):
    config = open_config(name)
    train, items = every_item(config, 'train')
    meta = train.metainfo
    assert (len(meta['thing_classes']), len(meta['stuff_classes'])) == COUNTS[name]
    for item in items:
        sample = item['data_samples']
        size = config.get('image_size') or config.crop_size
        assert item['inputs'].shape == (3, *size) and item['inputs'].dtype == torch.uint8
        assert sample.gt_segment_map.data.shape == (1, *size)
        assert -1 <= sample.gt_segment_map.data.min() and sample.gt_segment_map.data.max() < len(sample.gt_segments)
        assert sample.img_shape == size and hasattr(sample, 'flip')
    _, items = every_item(config, 'val')
    for item in items:
        assert item['data_samples'].gt_segment_map.data.shape[1:] == item['data_samples'].ori_shape
    if name == 'shapes_panoptic':
        assert [METRICS.build(metric).default_prefix for metric in config.val_evaluator] == ['coco_panoptic', 'coco']


def test_panoptic_of_any_size(open_config):
    """DETR's sizes: a short side of the list or a long one of the limit, whether a window was cut first or not."""
    config = open_config('coco_panoptic_detr')
    train = DATASETS.build(config.train_dataloader.dataset)
    np.random.seed(0)
    ratios = set()
    for item in [train[i % len(train)] for i in range(16)]:
        shape = tuple(item['inputs'].shape[1:])
        assert min(shape) in config.short_sides or max(shape) == config.max_size
        assert max(shape) <= config.max_size
        assert item['data_samples'].gt_segment_map.data.shape == (1, *shape) and item['data_samples'].img_shape == shape
        ratios.add(round(shape[1] / shape[0], 1))
    assert len(ratios) > 4  # windows have other forms than the images
    assert [metric.type for metric in config.val_evaluator] == ['m2f_mm.PanopticMetric']


@pytest.mark.parametrize('name', ['shapes_instance', 'coco_instance', 'ade20k_instance', 'cityscapes_instance'])
def test_instance(open_config, name):
    config = open_config(name)
    if name == 'coco_instance':  # original polygons exist for ten images only
        for split in ('train', 'val'):
            dataset = config[f'{split}_dataloader'].dataset
            dataset.ann_file = 'annotations/instances_val2017_original_10images.json'
            dataset.data_prefix = dict(img='val2017/')
    train, items = every_item(config, 'train')
    assert len(train.metainfo['classes']) == COUNTS[name]
    for item in items:
        instances = item['data_samples'].gt_instances
        size = config.get('image_size') or config.crop_size
        assert item['inputs'].shape == (3, *size)
        masks = instances.masks.to_ndarray()
        assert masks.shape == (len(instances.labels), *size)
        assert (instances.labels < COUNTS[name]).all()
    assert sum(len(item['data_samples'].gt_instances.labels) for item in items) > 0
    every_item(config, 'val')
    if name == 'ade20k_instance':  # objects that the window misses stay
        assert sorted(len(item['data_samples'].gt_instances.labels) for item in items) == [12, 18, 36, 75]
    if name == 'shapes_instance':
        assert sum(len(item['data_samples'].ignored_instances.labels) for item in items) > 0  # the crowds
        METRICS.build(config.val_evaluator)


@pytest.mark.parametrize('name', ['cityscapes_instance', 'cityscapes_panoptic'])
def test_cityscapes_ap(open_config, name, tmp_path):
    """cityscapesScripts counts what the ground truth of the generated images would score as a prediction."""
    pytest.importorskip('cityscapesscripts', reason='AP of Cityscapes needs cityscapesscripts')
    from m2f_mm.integrations.stock_tools import tell_stock_tools

    config = open_config(name)
    dataset = DATASETS.build(config.val_dataloader.dataset)
    evaluators = config.val_evaluator if isinstance(config.val_evaluator, list) else [config.val_evaluator]
    [evaluator] = [each for each in evaluators if each.type == 'CityScapesMetric']
    evaluator.outfile_prefix = str(tmp_path / 'out')
    metric = METRICS.build(evaluator)
    tell_stock_tools()  # as the heads do that are built beside it
    metric.dataset_meta = dataset.metainfo
    things = [24, 25, 26, 27, 28, 31, 32, 33]  # label ids, in the order of our classes
    for item in dataset:
        sample = item['data_samples'].to_dict()
        path = sample['img_path'].replace('leftImg8bit/', 'gtFine/', 1)
        ids = np.asarray(Image.open(path.replace('_leftImg8bit.png', '_gtFine_instanceIds.png')))
        objects = [number for number in np.unique(ids) if number >= 24000 and number // 1000 in things]
        sample['pred_instances'] = dict(
            labels=torch.tensor([things.index(number // 1000) for number in objects]),
            scores=torch.ones(len(objects)),
            bboxes=torch.zeros(len(objects), 4),
            masks=torch.stack([torch.from_numpy(ids == number) for number in objects]),
        )
        metric.process({}, [sample])
    result = metric.evaluate(len(dataset))
    assert result['cityscapes/mAP'] == result['cityscapes/AP@50'] == 1.0


@pytest.mark.parametrize(
    'name',
    [
        'shapes_semantic',
        'ade20k_semantic',
        'ade20k_semantic_640',
        'cityscapes_semantic',
        'mapillary_semantic',
        'mapillary_v2_semantic',
        'coco_stuff10k',
        'ade20k_full',
    ],
)
def test_semantic(open_config, name):
    config = open_config(name)
    train, _ = every_item(config, 'train')
    assert len(train.metainfo['classes']) == COUNTS[name]
    use_one_ignored_label(dict(decode_head=dict(num_classes=COUNTS[name])), train, 'train', training=True)
    ignored = 65535 if name == 'ade20k_full' else 255
    for item in train:
        labels = item['data_samples'].gt_sem_seg.data
        assert item['inputs'].shape == (3, *config.crop_size) and labels.shape == (1, *config.crop_size)
        assert labels[labels != ignored].max() < COUNTS[name]
        assert name != 'ade20k_full' or labels[labels != ignored].max() > 255
    _, items = every_item(config, 'val')
    for item in items:
        assert item['data_samples'].gt_sem_seg.shape == item['data_samples'].ori_shape
    config.val_dataloader.dataset.pipeline = config.tta_pipeline
    _, items = every_item(config, 'val')
    assert len(items[0]['inputs']) == 2 * len(config.tta_pipeline[-1]['transforms'][0])
    METRICS.build(config.val_evaluator)


def test_recipe_numbers():
    """Numbers of the official recipes that a slip would change silently."""
    ade = Config.fromfile(f'{BASES}/ade20k_semantic.py')
    assert ade.short_sides == [int(0.1 * k * 512) for k in range(5, 21)]
    assert [step.type for step in ade.train_pipeline] == [
        'm2f_mm.LoadImage',
        'm2f_mm.LoadLabelMap',
        'RandomChoiceResize',
        'RandomCrop',
        'm2f_mm.ColorAugSSD',
        'RandomFlip',
        'Pad',
        'PackSegInputs',
    ]
    for name in ('coco_panoptic', 'coco_instance'):
        coco = Config.fromfile(f'{BASES}/{name}.py')
        assert coco.train_dataloader.batch_size == 2 and coco.data_root == 'data/coco/'
        assert [step.type for step in coco.train_pipeline][2:4] == ['RandomFlip', 'm2f_mm.LargeScaleJitter']
        jitter = coco.train_pipeline[3]
        assert jitter.ratio_range == (0.1, 2.0) and jitter.scale == jitter.crop_size == (1024, 1024)


def test_names_of_the_shapes_are_those_of_the_generator():
    assert Config.fromfile(f'{BASES}/shapes_semantic.py').metainfo == dict(classes=CLASSES, palette=PALETTE)
    assert Config.fromfile(f'{BASES}/shapes_instance.py').metainfo == dict(classes=THINGS, palette=PALETTE[:4])
    panoptic = Config.fromfile(f'{BASES}/shapes_panoptic.py')
    assert panoptic.metainfo.thing_classes == THINGS and panoptic.metainfo.stuff_classes == STUFF
