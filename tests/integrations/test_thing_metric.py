"""AP of a panoptic model against instance annotations that spell the classes in their own way."""
import json

import numpy as np
import pycocotools.mask as coco_mask
import pytest
import torch

pytest.importorskip('mmdet.evaluation')

from m2f_mm.registry import METRICS  # noqa: E402

META = dict(classes=('bed', 'window', 'person', 'sky'), thing_classes=('bed', 'window', 'person'),
            stuff_classes=('sky', ), thing_ids=(7, 8, 12))


def squares(number):
    masks = np.zeros((number, 32, 32), bool)
    for i, mask in enumerate(masks):
        mask[8 * i:8 * i + 7, 8 * i:8 * i + 7] = True
    return masks


@pytest.fixture
def ann_file(tmp_path):
    """Three objects, one of each category; the name of the second is not the panoptic one."""
    annotations = []
    for number, (category, mask) in enumerate(zip((7, 8, 12), squares(3)), start=1):
        codes = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
        annotations.append(dict(id=number, image_id=1, category_id=category, iscrowd=0, area=int(mask.sum()),
                                bbox=[8 * number - 8, 8 * number - 8, 7, 7],
                                segmentation=dict(codes, counts=codes['counts'].decode())))
    path = tmp_path / 'instances.json'
    path.write_text(json.dumps(dict(
        images=[dict(id=1, file_name='a.jpg', height=32, width=32)], annotations=annotations,
        categories=[dict(id=7, name='bed'), dict(id=8, name='windowpane'), dict(id=12, name='person')])))
    return str(path)


def evaluate(name, ann_file, meta=META):
    metric = METRICS.build(dict(type=name, ann_file=ann_file, metric='segm'))
    metric.dataset_meta = meta
    found = dict(labels=torch.tensor([0, 1, 2]), scores=torch.ones(3), masks=torch.from_numpy(squares(3)),
                 bboxes=torch.zeros(3, 4))
    metric.process({}, [dict(img_id=1, ori_shape=(32, 32), pred_instances=found)])
    return metric.evaluate(1)['coco/segm_mAP']


def test_labels_are_categories_by_id(ann_file):
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
