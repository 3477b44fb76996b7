"""Prediction through MMDetection's detector: how often the device is waited for, and instances as run-length codes."""

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_masks

from tests.helpers.tiny_models import build_detector, detection_batch, mmdet_config, use_our_heads

pytest.importorskip('mmdet')


def detector(**test_cfg):
    cfg = use_our_heads(mmdet_config())
    cfg.type = 'm2f_mm.Mask2Former'
    cfg.test_cfg.update(test_cfg)
    return build_detector(cfg).eval()


def predict(model, images=2):
    data = detection_batch()
    data = model.data_preprocessor(dict(inputs=data['inputs'][:images], data_samples=data['data_samples'][:images]))
    with torch.no_grad():
        return model.predict(data['inputs'], data['data_samples'])


@pytest.mark.parametrize('form, waits', [('bitmap', 4), ('rle', 6)])
def test_the_device_is_waited_for(form, waits):
    """Times per image, however many segments: kept queries, areas, what to draw, instances; for codes the codes."""
    syncs = pytest.importorskip('benchmarks.syncs', reason='benchmarks are not beside the tests')
    model = detector(object_mask_thr=0.0, iou_thr=0.0, instance_masks=form)
    data = model.data_preprocessor(detection_batch())
    with torch.no_grad():
        features = model.extract_feat(data['inputs'])

        def run():
            model.panoptic_fusion_head.predict(
                *model.panoptic_head.predict(features, data['data_samples']), data['data_samples']
            )

        run()  # what is kept from image to image
        counted = syncs.count_syncs(run)
    assert counted.total <= waits * len(data['data_samples']), str(counted)


def test_codes_instead_of_bitmaps():
    for bitmaps, rles in zip(predict(detector()), predict(detector(instance_masks='rle'))):
        expected, actual = bitmaps.pred_instances, rles.pred_instances
        assert len(actual) == len(expected) > 1
        for name in ('bboxes', 'labels', 'scores'):
            assert torch.equal(actual[name], expected[name])
        assert actual.masks == [coco_masks.encode(np.asfortranarray(mask)) for mask in expected.masks.numpy()]
        above_median = actual.scores > actual.scores.median()
        assert actual[above_median].masks == [
            mask for mask, is_above in zip(actual.masks, above_median.tolist()) if is_above
        ]


def test_mmdets_metric_reads_codes():
    """``CocoMetric`` stores the same for both forms, and evaluates codes that it did not make itself."""
    from mmdet.evaluation import CocoMetric

    stored, values = [], []
    for form in ('bitmap', 'rle'):
        metric = CocoMetric(metric=['bbox', 'segm'])
        metric.dataset_meta = dict(classes=('a', 'b', 'c', 'd'))
        for number, sample in enumerate(predict(detector(instance_masks=form))):
            sample.set_metainfo(dict(img_id=number))
            # ground truth: a few of the predictions themselves, so that there is something to find
            rles = sample.pred_instances.masks
            if form == 'bitmap':
                rles = [coco_masks.encode(np.asfortranarray(mask)) for mask in rles.numpy()]
            boxes, labels = sample.pred_instances.bboxes.tolist(), sample.pred_instances.labels.tolist()
            annotations = [dict(bbox=boxes[i], bbox_label=labels[i], mask=dict(rles[i]), ignore_flag=0) for i in (0, 3)]
            sample.set_metainfo(dict(instances=annotations))
            metric.process({}, [sample.to_dict()])
        stored.append([result for _, result in metric.results])
        values.append(metric.compute_metrics(metric.results))
    for bitmaps, rles in zip(*stored):
        assert bitmaps['masks'] == rles['masks'] and np.array_equal(bitmaps['scores'], rles['scores'])
    assert values[0] == values[1] and values[0]['segm_mAP'] > 0


def test_a_form_that_does_not_exist():
    with pytest.raises(ValueError, match="got 'polygons'"):
        predict(detector(instance_masks='polygons'))
