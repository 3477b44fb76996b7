"""Our classes beside MMDetection's in one panoptic config: they work together, or one is refused by name."""

import pytest
import torch
from mmengine.registry import DefaultScope

from tests.helpers import small_data
from tests.helpers.tiny_models import build_detector, mmdet_config, use_our_heads

mmdet = pytest.importorskip('mmdet')
METAINFO = dict(classes=('disc', 'square', 'ground'), thing_classes=('disc', 'square'), stuff_classes=('ground',))


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp('panoptic')

    def boxes(content):  # MMDetection's data set needs them
        for annotation in content['annotations']:
            for segment, (x, y, width, height) in zip(
                annotation['segments_info'], [*small_data.boxes(), (0, 0, *small_data.SIZE[::-1])]
            ):
                segment['bbox'] = [x, y, width, height]

    small_data.panoptic(root, change=boxes)
    return root


def data_set(folder, kind, pipeline, **options):
    return dict(
        type=kind,
        data_root=str(folder),
        ann_file='annotations/panoptic_train.json',
        metainfo=METAINFO,
        data_prefix=dict(img='img_dir/train', seg='annotations/panoptic_train'),
        pipeline=pipeline,
        **options,
    )


def pipeline(loader, pack):
    """The stock one, small."""
    return [
        dict(type='LoadImageFromFile', to_float32=True),
        dict(type=loader),
        dict(type='RandomFlip', prob=0.5),
        dict(type='RandomResize', scale=(64, 48), ratio_range=(0.5, 1.5), keep_ratio=True),
        dict(
            type='RandomCrop', crop_size=(40, 40), crop_type='absolute', recompute_bbox=True, allow_negative_crop=True
        ),
        dict(type=pack),
    ]


def detector(head):
    """The stock model, whose preprocessor pads masks and semantic maps, or with our heads."""
    model = mmdet_config() if head == 'stock' else use_our_heads(mmdet_config())
    for part in (model.panoptic_head, model.panoptic_fusion_head):
        part.update(num_things_classes=2, num_stuff_classes=1)
    model.panoptic_head.loss_cls.class_weight = [1.0] * 3 + [0.1]
    model.data_preprocessor.batch_augments = [
        dict(
            type='BatchFixedSizePad',
            size=(64, 64),
            img_pad_value=0,
            pad_mask=True,
            mask_pad_value=0,
            pad_seg=True,
            seg_pad_value=255,
        )
    ]
    return build_detector(model).train()


def losses(folder, kind, loader, pack, head):
    from mmengine.registry import DATASETS

    with DefaultScope.overwrite_default_scope('mmdet'):
        data = DATASETS.build(data_set(folder, kind, pipeline(loader, pack)))
    items = [data[i] for i in range(2)]
    batch = {key: [item[key] for item in items] for key in items[0]}
    model = detector(head)
    return model(**model.data_preprocessor(batch, True), mode='loss')


OURS, STOCK_DATA = 'm2f_mm.PanopticDataset', 'mmdet.CocoPanopticDataset'
SEGMENTS, ANNOTATIONS = 'm2f_mm.LoadPanopticSegments', 'm2f_mm.LoadPanopticAnnotations'
OUR_PACK, STOCK_PACK = 'm2f_mm.PackPanopticInputs', 'mmdet.PackDetInputs'


@pytest.mark.parametrize('head', ['ours', 'stock'])
@pytest.mark.parametrize(
    'kind, loader, pack',
    [
        (OURS, SEGMENTS, OUR_PACK),
        (OURS, ANNOTATIONS, OUR_PACK),
        (OURS, ANNOTATIONS, STOCK_PACK),
        (STOCK_DATA, SEGMENTS, OUR_PACK),
        (STOCK_DATA, SEGMENTS, STOCK_PACK),
        (STOCK_DATA, ANNOTATIONS, STOCK_PACK),
    ],
)
def test_training(folder, kind, loader, pack, head):
    """All train, but for packed maps of segments under MMDetection's head, which say so."""
    if head == 'stock' and (kind, loader, pack) == (OURS, SEGMENTS, OUR_PACK):
        with pytest.raises(AttributeError, match='PackPanopticInputs packs segments, not .* of instances'):
            losses(folder, kind, loader, pack, head)
        return
    actual = losses(folder, kind, loader, pack, head)
    assert all(loss.isfinite().all() for loss in actual.values()) and actual['loss_mask'] > 0


@pytest.mark.parametrize(
    'loader, pack, message',
    [
        (SEGMENTS, STOCK_PACK, 'PackDetInputs of MMDetection loses the labels'),
        ('mmdet.LoadAnnotations', STOCK_PACK, 'LoadAnnotations of MMDetection does not read the records'),
    ],
)
def test_refused_at_build(folder, loader, pack, message):
    from mmengine.registry import DATASETS

    with DefaultScope.overwrite_default_scope('mmdet'), pytest.raises(ValueError, match=message):
        DATASETS.build(data_set(folder, OURS, pipeline(loader, pack)))


def test_forms_agree(folder):
    """The targets of a head are the same, whoever loads them."""
    from mmengine.registry import DATASETS

    from m2f_mm.integrations.mmdet_samples import to_targets

    targets = []
    for kind, loader, pack in (
        (OURS, SEGMENTS, OUR_PACK),
        (OURS, ANNOTATIONS, STOCK_PACK),
        (STOCK_DATA, SEGMENTS, STOCK_PACK),
    ):
        steps = [step for step in pipeline(loader, pack) if not step['type'].startswith('Random')]
        with DefaultScope.overwrite_default_scope('mmdet'):
            sample = DATASETS.build(data_set(folder, kind, steps))[0]['data_samples']
        targets += to_targets([sample], [True, True, False], torch.device('cpu'))
    for other in targets[1:]:
        assert torch.equal(other.labels, targets[0].labels) and torch.equal(other.masks, targets[0].masks)
    assert targets[0].labels.tolist() == [0, 1, 2] and targets[0].masks.flatten(1).any(1).all()


def test_stock_options_of_the_data_set(folder):
    from m2f_mm.datasets import CocoPanopticDataset

    with pytest.raises(ValueError, match='CocoPanopticDataset: return_classes is not supported, only False'):
        CocoPanopticDataset('', return_classes=True)
    options = data_set(folder, '', [], seg_map_suffix='.png', proposal_file=None, return_classes=False)
    assert len(CocoPanopticDataset(**{key: value for key, value in options.items() if key != 'type'})) == 3


def samples(folder, pipeline_meta):
    """A perfect prediction for each image, as the evaluator gets it."""
    from m2f_mm.datasets import PanopticDataset

    options = data_set(folder, '', [])
    data = PanopticDataset(**{key: value for key, value in options.items() if key != 'type'}, test_mode=True)
    panoptic_ids = torch.from_numpy(small_data.label_map(values=(2, 1000, 2001)))[None]
    for item in (data.get_data_info(i) for i in range(len(data))):
        meta = {key: item[key] for key in ('img_id', 'img_path', *pipeline_meta)}
        yield dict(meta, ori_shape=small_data.SIZE, pred_panoptic_seg=dict(sem_seg=panoptic_ids.clone()))


def test_metric_without_annotation_file(folder, tmp_path):
    """The stock metric's options; the ground truth is that of the data samples."""
    from m2f_mm.evaluation import PanopticMetric

    metric = PanopticMetric(nproc=4, ann_file=None, seg_prefix=None, outfile_prefix=str(tmp_path / 'result'))
    metric.dataset_meta = METAINFO
    for sample in samples(folder, ('segments_info', 'seg_map_path')):
        metric.process({}, [sample])
    assert metric.evaluate(3)['coco_panoptic/PQ'] == 100
    assert (tmp_path / 'result.panoptic.json').is_file()
    assert len(list((tmp_path / 'result.panoptic').iterdir())) == 3
    with pytest.raises(ValueError, match='PanopticMetric has no ann_file, and the data sample no segments_info'):
        metric.process({}, list(samples(folder, ())))


@pytest.mark.parametrize('form', ['polygon', 'rle', 'compressed'])
def test_stock_data_beside_our_head_are_checked(tmp_path, form):
    """MMDetection's own names, in a runner's order: areas that are missing are computed, RLE are masks."""
    from mmengine.registry import DATASETS

    detector('ours')

    def no_areas(content):
        for annotation in content['annotations']:
            annotation.pop('area')

    small_data.coco(tmp_path, 2, form=form, change=no_areas)
    steps = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', with_bbox=True, with_mask=True, poly2mask=False),
        dict(type='PackDetInputs'),
    ]
    cfg = dict(
        type='CocoDataset',
        data_root=str(tmp_path),
        ann_file='annotations/instances_train.json',
        data_prefix=dict(img='img_dir/train'),
        metainfo=dict(classes=small_data.NAMES),
        pipeline=steps,
    )
    with DefaultScope.overwrite_default_scope('mmdet'):
        [first, _] = DATASETS.build(cfg)
    areas = [height * width for _, _, width, height in small_data.boxes()]
    actual = first['data_samples'].gt_instances.masks.areas
    assert len(actual) == 2 and all(0.8 * area < one < 1.3 * area for one, area in zip(actual, areas))
    small_data.coco(tmp_path, 2, form=form, change=lambda content: content['annotations'][3].update(segmentation=None))
    with (
        pytest.raises(ValueError, match=r'instances_train\.json: annotation 4 of image 2: the segmentation is None'),
        DefaultScope.overwrite_default_scope('mmdet'),
    ):
        DATASETS.build(cfg)


def test_own_class_of_a_stock_name_stays(monkeypatch):
    from mmdet.registry import DATASETS

    class CocoDataset:
        pass

    monkeypatch.setitem(DATASETS.module_dict, 'CocoDataset', CocoDataset)
    detector('ours')
    assert DATASETS.get('CocoDataset') is CocoDataset
