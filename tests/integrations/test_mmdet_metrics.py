"""AP of a panoptic model against instance annotations that spell the classes in their own way."""

import json

import numpy as np
import pycocotools.mask as coco_mask
import pytest
import torch

coco_metric = pytest.importorskip('mmdet.evaluation.metrics.coco_metric')

from m2f_mm.registry import METRICS  # noqa: E402

META = dict(
    classes=('bed', 'window', 'person', 'sky'),
    thing_classes=('bed', 'window', 'person'),
    stuff_classes=('sky',),
    thing_ids=(7, 8, 12),
)


def squares(number):
    masks = np.zeros((number, 32, 32), bool)
    for i, mask in enumerate(masks):
        mask[8 * i : 8 * i + 7, 8 * i : 8 * i + 7] = True
    return masks


@pytest.fixture
def ann_file(tmp_path):
    """Three objects, one of each category; the name of the second is not the panoptic one."""
    annotations = []
    for number, (category, mask) in enumerate(zip((7, 8, 12), squares(3)), start=1):
        rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
        annotations.append(
            dict(
                id=number,
                image_id=1,
                category_id=category,
                iscrowd=0,
                area=int(mask.sum()),
                bbox=[8 * number - 8, 8 * number - 8, 7, 7],
                segmentation=dict(rle, counts=rle['counts'].decode()),
            )
        )
    path = tmp_path / 'instances.json'
    path.write_text(
        json.dumps(
            dict(
                images=[dict(id=1, file_name='a.jpg', height=32, width=32)],
                annotations=annotations,
                categories=[dict(id=7, name='bed'), dict(id=8, name='windowpane'), dict(id=12, name='person')],
            )
        )
    )
    return str(path)


def evaluate(name, ann_file, meta=META, image=1):
    options = dict(type=name) if isinstance(name, str) else name
    metric = METRICS.build(dict(options, ann_file=ann_file, metric='segm'))
    metric.dataset_meta = meta
    predictions = dict(
        labels=torch.tensor([0, 1, 2]),
        scores=torch.ones(3),
        masks=torch.from_numpy(squares(3)),
        bboxes=torch.zeros(3, 4),
    )
    metric.process({}, [dict(img_id=image, ori_shape=(32, 32), pred_instances=predictions)])
    return metric.evaluate(1)['coco/segm_mAP']


def test_labels_are_categories_by_id(ann_file):
    assert evaluate('m2f_mm.ThingMetric', ann_file) == 1.0


def test_faster_evaluation_counts_the_same(tmp_path):
    """Objects, crowds, misses, near misses, ties: every number that the stock metric gives, to the last digit."""
    pytest.importorskip('faster_coco_eval')
    random = np.random.RandomState(0)
    images, annotations, detections = [], [], []
    for number in range(1, 25):
        images.append(dict(id=number, file_name=f'{number}.jpg', height=120, width=160))
        predictions = []
        for _ in range(random.randint(0, 12)):
            mask, category = np.zeros((120, 160), np.uint8), int(random.randint(1, 5))
            y, x, height, width = (int(n) for n in random.randint((0, 0, 5, 5), (100, 140, 60, 60)))
            mask[y : y + height, x : x + width] = 1
            rle = coco_mask.encode(np.asfortranarray(mask))
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=number,
                    category_id=category,
                    iscrowd=int(random.rand() < 0.1),
                    area=int(mask.sum()),
                    bbox=[x, y, min(width, 160 - x), min(height, 120 - y)],
                    segmentation=dict(rle, counts=rle['counts'].decode()),
                )
            )
            if random.rand() < 0.8:
                label = category if random.rand() < 0.9 else int(random.randint(1, 5))
                predictions.append(
                    (np.roll(mask, random.randint(-4, 5, 2), (0, 1)), label - 1, random.randint(0, 10) / 10)
                )
        detections.append(predictions)
    path = tmp_path / 'instances.json'
    path.write_text(
        json.dumps(
            dict(images=images, annotations=annotations, categories=[dict(id=i, name=str(i)) for i in range(1, 5)])
        )
    )
    results = []
    for options in (
        dict(type='mmdet.CocoMetric'),
        dict(type='m2f_mm.CocoMetric'),
        dict(type='m2f_mm.CocoMetric', faster=False),
    ):
        metric = METRICS.build(dict(options, ann_file=str(path), metric=['bbox', 'segm'], classwise=True))
        metric.dataset_meta = dict(classes=('1', '2', '3', '4'))
        for image, predictions in zip(images, detections):
            masks = np.array([mask for mask, _, _ in predictions], bool).reshape(-1, 120, 160)
            boxes = [[*np.argwhere(mask).min(0)[::-1], *np.argwhere(mask).max(0)[::-1] + 1] for mask in masks]
            metric.process(
                {},
                [
                    dict(
                        img_id=image['id'],
                        ori_shape=(120, 160),
                        pred_instances=dict(
                            labels=torch.tensor([label for _, label, _ in predictions], dtype=torch.long),
                            scores=torch.tensor([score for _, _, score in predictions]),
                            masks=torch.from_numpy(masks),
                            bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
                        ),
                    )
                ],
            )
        results.append(metric.evaluate(len(images)))
    assert results[0] == results[1] == results[2] and 0.1 < results[0]['coco/segm_mAP'] < 0.9


def test_many_results_are_left_to_pycocotools(ann_file, monkeypatch):
    """The faster code counts more than the 100 of an image that pycocotools counts."""
    pytest.importorskip('faster_coco_eval')
    asked = []
    monkeypatch.setattr('m2f_mm.integrations.mmdet_metrics.faster_compute', lambda: asked.append(True))
    for count, times in ((33, 1), (34, 1)):  # three results each
        metric = METRICS.build(dict(type='m2f_mm.CocoMetric', ann_file=ann_file, metric='segm'))
        metric.dataset_meta = dict(classes=('bed', 'windowpane', 'person'))
        metric.process(
            {},
            [
                dict(
                    img_id=1,
                    ori_shape=(32, 32),
                    pred_instances=dict(
                        labels=torch.tensor([0, 1, 2] * count),
                        scores=torch.ones(3 * count),
                        bboxes=torch.zeros(3 * count, 4),
                        masks=torch.from_numpy(squares(3)).repeat(count, 1, 1),
                    ),
                )
            ],
        )
        assert metric.evaluate(1)['coco/segm_mAP'] > 0
        assert len(asked) == times


def test_the_faster_evaluation_leaves_the_stock_module_alone(ann_file, monkeypatch):
    """Another thread may evaluate with the stock metric meanwhile."""
    faster = pytest.importorskip('faster_coco_eval')
    stock, during = coco_metric.COCOeval, []

    class Watched(faster.COCOeval_faster):
        def evaluate(self):
            during.append(coco_metric.COCOeval)
            super().evaluate()

    monkeypatch.setattr(faster, 'COCOeval_faster', Watched)
    assert evaluate('m2f_mm.ThingMetric', ann_file) == 1.0
    assert during and set(during) == {stock}


def test_names_as_ids_of_images(ann_file):
    """As ADE20K has them; the faster code takes numbers only."""
    content = json.loads(
        open(ann_file)
        .read()
        .replace('"image_id": 1', '"image_id": "a"')
        .replace('"images": [{"id": 1', '"images": [{"id": "a"')
    )
    with open(ann_file, 'w') as file:
        json.dump(content, file)
    assert evaluate('m2f_mm.ThingMetric', ann_file, image='a') == 1.0


@pytest.mark.parametrize('faster', [True, False])
def test_images_that_were_not_evaluated_count_nothing(ann_file, faster):
    """As where a data set takes some ``indices``; to the stock metric their objects are missed."""
    content = json.loads(open(ann_file).read())
    content['images'].append(dict(content['images'][0], id=2))
    content['annotations'] += [dict(each, id=each['id'] + 3, image_id=2) for each in content['annotations']]
    with open(ann_file, 'w') as file:
        json.dump(content, file)
    assert evaluate(dict(type='m2f_mm.ThingMetric', faster=faster), ann_file) == 1.0


def test_faster_evaluation_is_not_needed(ann_file, monkeypatch):
    monkeypatch.setattr('m2f_mm.integrations.mmdet_metrics.find_spec', lambda name: None)
    assert evaluate('m2f_mm.ThingMetric', ann_file) == 1.0


def test_missing_ids_are_named(ann_file):
    with pytest.raises(ValueError, match=r'no categories \[13\]'):
        evaluate('m2f_mm.ThingMetric', ann_file, dict(META, thing_ids=(7, 8, 13)))
    metric = METRICS.build(dict(type='m2f_mm.ThingMetric', metric='segm'))
    metric.dataset_meta = META
    with pytest.raises(ValueError, match='needs ann_file'):
        metric.compute_metrics([])
    with pytest.raises(ValueError, match='needs thing_ids'):
        evaluate('m2f_mm.ThingMetric', ann_file, {key: META[key] for key in META if key != 'thing_ids'})
