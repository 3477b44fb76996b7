from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from m2f_mm.datasets import CocoPanopticDataset, LoadPanopticSegments, PanopticDataset
from m2f_mm.datasets.categories import ADE20K_PANOPTIC, resolve_metainfo
from m2f_mm.datasets.converters.shapes import write_shapes
from m2f_mm.datasets.shapes import ShapesSpec
from m2f_mm.registry import METRICS


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
    root = str(tmp_path_factory.mktemp('data') / 'shapes')
    write_shapes(root, ShapesSpec(64, 64, crowd=0.6, void=0.6), train=1, val=6, progress=False)
    return PanopticDataset(
        data_root=root,
        ann_file='annotations/panoptic_val.json',
        test_mode=True,
        data_prefix=dict(img='img_dir/val', seg='annotations/panoptic_val'),
    )


def metric_for(meta, **options):
    metric = METRICS.build(dict(type='m2f_mm.SemanticMetric', **options))
    metric.dataset_meta = meta
    return metric


def true_classes(item):
    """Class of each pixel, crowds included, -1 is void."""
    segments = [dict(segment, iscrowd=False) for segment in item['segments_info']]
    results = LoadPanopticSegments()(dict(item, segments_info=segments))
    index = np.where(results['gt_seg_map'] == 255, -1, results['gt_seg_map'].astype(int) - 256)
    return np.append(results['gt_segment_labels'], -1)[index]


def sample(item, labels):
    return dict(
        img_id=item['img_id'], img_path=item['img_path'], pred_sem_seg=dict(sem_seg=torch.from_numpy(labels)[None])
    )


def slow_miou(pairs, num_classes):
    """Class by class over whole images."""
    ious = []
    for label in range(num_classes):
        inter = sum(((target == label) & (prediction == label)).sum() for target, prediction in pairs)
        union = sum((((target == label) | (prediction == label)) & (target >= 0)).sum() for target, prediction in pairs)
        if any((target == label).any() for target, _ in pairs):
            ious.append(inter / union)
    return 100 * np.mean(ious)


@pytest.mark.parametrize('source', ['panoptic', 'labels'])
def test_against_whole_images(dataset, source, tmp_path):
    options = dict(ann_file=dataset.ann_file, seg_prefix=dataset.data_prefix['seg'])
    if source == 'labels':
        options = dict(label_files={'/img_dir/': f'/{tmp_path.name}/', '.jpg': '.png'})
    metric, pairs = metric_for(dataset.metainfo, **options), []
    for item in dataset:
        target = true_classes(item)
        prediction = np.where(np.roll(target, 5, 1) < 0, 0, np.roll(target, 5, 1))
        pairs.append((target, prediction))
        element = sample(item, prediction)
        if source == 'labels':
            path = tmp_path / 'img_dir/val' / f'{item["img_id"]}.jpg'
            path.parent.mkdir(parents=True, exist_ok=True)
            element['img_path'] = str(path)
            labels = tmp_path / tmp_path.name / 'val' / f'{item["img_id"]}.png'
            labels.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.where(target < 0, 255, target).astype(np.uint8)).save(labels)
        metric.process({}, [element])
    result = metric.evaluate(len(pairs))
    assert result['semantic/mIoU'] == pytest.approx(slow_miou(pairs, 7)) and result['semantic/mIoU'] < 99
    right = sum(((target == prediction) & (target >= 0)).sum() for target, prediction in pairs)
    assert result['semantic/aAcc'] == pytest.approx(100 * right / sum((target >= 0).sum() for target, _ in pairs))


def test_label_maps_have_the_published_order(tmp_path):
    """ADE20K: value 13 is person, the fourth thing; 0 is ignored."""
    values = np.array([[13, 1, 0], [150, 13, 1]], np.uint8)
    for part in ('images', 'annotations'):
        (tmp_path / part).mkdir()
    Image.fromarray(values).save(tmp_path / 'annotations/x.png')
    metric = metric_for(ADE20K_PANOPTIC, label_files={'/images/': '/annotations/', '.jpg': '.png'}, first_label=1)
    names = ADE20K_PANOPTIC['classes']
    person, wall, flag = (names.index(name) for name in ('person', 'wall', 'flag'))
    prediction = np.array([[person, wall, wall], [flag, person, person]])
    metric.process(
        {},
        [
            dict(
                img_id=1,
                img_path=str(tmp_path / 'images/x.jpg'),
                pred_sem_seg=dict(sem_seg=torch.from_numpy(prediction)[None]),
            )
        ],
    )
    assert metric.evaluate(1) == {
        'semantic/mIoU': pytest.approx(100 * (2 / 3 + 1 / 2 + 1) / 3),
        'semantic/mAcc': pytest.approx(100 * (1 + 1 / 2 + 1) / 3),
        'semantic/aAcc': pytest.approx(100 * 4 / 5),
    }


def test_class_that_is_only_predicted_is_left_out(tmp_path):
    """It costs those whose pixels it takes, and is not in the mean itself."""
    (tmp_path / 'b').mkdir()
    Image.fromarray(np.array([[0, 0, 1, 1]], np.uint8)).save(tmp_path / 'b/x.png')
    metric = metric_for(dict(classes=('sea', 'sky', 'sand')), label_files={'/a/': '/b/', '.jpg': '.png'})
    metric.process(
        {},
        [dict(img_id=1, img_path=str(tmp_path / 'a/x.jpg'), pred_sem_seg=dict(sem_seg=torch.tensor([[[0, 2, 1, 1]]])))],
    )
    assert metric.evaluate(1)['semantic/mIoU'] == pytest.approx(100 * (1 / 2 + 1) / 2)


@pytest.mark.parametrize('classes', [('person', 'flag', 'wall'), ('flag', 'person', 'wall')])
def test_selected_classes_keep_their_values(classes, tmp_path):
    things = tuple(name for name in classes if name != 'wall')
    given = dict(classes=classes, thing_classes=things, stuff_classes=('wall',))
    meta = resolve_metainfo(given, ADE20K_PANOPTIC, [], 'x.json')
    assert meta['class_ids'] == tuple({'person': 12, 'flag': 149, 'wall': 0}[name] for name in classes)
    assert meta['thing_ids'] == meta['class_ids'][:2]
    (tmp_path / 'b').mkdir()
    Image.fromarray(np.array([[13, 1, 150, 2]], np.uint8)).save(tmp_path / 'b/x.png')
    metric = metric_for(meta, label_files={'/a/': '/b/', '.jpg': '.png'}, first_label=1)
    target = metric._from_labels(dict(img_path=str(tmp_path / 'a/x.jpg')))
    assert target.tolist() == [[classes.index('person'), classes.index('wall'), classes.index('flag'), -1]]
    metric.dataset_meta = dict(meta, class_ids=(1, 2))
    with pytest.raises(ValueError, match='class_ids of the metainfo has 2 entries'):
        metric._from_labels(dict(img_path=str(tmp_path / 'a/x.jpg')))


def test_classes_of_a_json_have_the_values_of_its_order():
    categories = [
        dict(id=5, name='sky', isthing=0),
        dict(id=7, name='cat', isthing=1),
        dict(id=6, name='sea', isthing=0),
    ]
    meta = resolve_metainfo({}, {}, categories, 'x.json')
    assert meta['classes'] == ('cat', 'sky', 'sea') and meta['class_ids'] == (2, 0, 1)


def test_mistakes_are_named(dataset, tmp_path):
    with pytest.raises(ValueError, match='either ann_file, with seg_prefix, or label_files'):
        METRICS.build(dict(type='m2f_mm.SemanticMetric'))
    metric = metric_for(dataset.metainfo, ann_file=dataset.ann_file, seg_prefix=dataset.data_prefix['seg'])
    with pytest.raises(ValueError, match='semantic_on=True'):
        metric.process({}, [dict(img_id=1)])
    with pytest.raises(ValueError, match='ground truth is 64x64 pixels .*, but the prediction 3x4'):
        metric.process({}, [sample(dataset[0], np.zeros((3, 4), int))])
    with pytest.raises(ValueError, match="'nowhere' .* is not in .*panoptic_val.json"):
        metric.process({}, [dict(sample(dataset[0], np.zeros((64, 64), int)), img_id='nowhere')])
    metric = metric_for(dataset.metainfo, label_files={'/nowhere/': '/labels/'})
    with pytest.raises(ValueError, match="has no '/nowhere/'"):
        metric.process({}, [sample(dataset[0], np.zeros((64, 64), int))])
    Image.new('RGB', (4, 4)).save(tmp_path / 'b.png')
    metric = metric_for(dataset.metainfo, label_files={'a.png': 'b.png'})
    with pytest.raises(ValueError, match='mode RGB, but labels are of mode L or P'):
        metric.process({}, [dict(sample(dataset[0], np.zeros((4, 4), int)), img_path=str(tmp_path / 'a.png'))])


def test_label_maps_of_coco_are_the_official_ones():
    """Against the maps that Mask2Former's script makes of the panoptic annotations."""
    shared = Path(__file__).resolve().parents[3] / 'shared/data'
    paths = sorted((shared / 'coco_panoptic_derived/panoptic_semseg_val2017').glob('*.png'))
    if not paths:
        pytest.skip(f'needs {shared}/coco_panoptic_derived')
    folder = shared / 'coco_panoptic/annotations'
    metric = metric_for(
        CocoPanopticDataset.METAINFO,
        ann_file=str(folder / 'panoptic_val2017.json'),
        seg_prefix=str(folder / 'panoptic_val2017'),
    )
    for path in paths:
        official = np.asarray(Image.open(path)).astype(int)
        np.testing.assert_array_equal(
            metric._from_segments(dict(img_id=int(path.stem))), np.where(official == 255, -1, official)
        )
