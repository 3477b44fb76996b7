"""Mask DINO where something is unknown or unused: boxes without masks, masks without losses of boxes, both mixed
in a batch."""

import pytest
import torch

from m2f_mm.integrations.mmdet_samples import to_targets
from tests.helpers.box_models import DETECTOR, without_masks
from tests.helpers.mask_dino_models import detector, names_of
from tests.helpers.tiny_models import detection_batch, gradients, step

pytest.importorskip('mmdet')
MASK_PARTS = ('mask_embed', 'mask_feature', 'lateral_convs', 'output_convs')


def test_boxes_are_read():
    """As they would be around the masks, in the padded input; also in MMDetection's own type."""
    from mmdet.structures.bbox import HorizontalBoxes

    device = torch.device('cpu')
    both, alone = detection_batch((3, 2), False), without_masks(detection_batch((3, 2), False), 0, 1)
    for data in both, alone:
        for sample in data['data_samples']:
            sample.set_metainfo(dict(batch_input_shape=(96, 128)))
    boxes = alone['data_samples'][0].gt_instances
    boxes.bboxes = HorizontalBoxes(boxes.bboxes)
    expected, actual = (to_targets(data['data_samples'], [True] * 4, device, take_boxes=True) for data in (both, alone))
    for with_masks, target in zip(expected, actual):
        assert target.masks is None and target.name == with_masks.name
        assert torch.equal(target.labels, with_masks.labels)
        torch.testing.assert_close(target.boxes, with_masks.with_boxes().boxes)
        assert target.with_boxes() is target
    with pytest.raises(ValueError, match=r'image_0.jpg have no masks'):
        to_targets(alone['data_samples'], [True] * 4, device)


@pytest.mark.parametrize('images', [(0,), (1,), (0, 1)], ids=str)
@pytest.mark.parametrize('objects', [(3, 2), (2, 0), (9, 2)], ids=str)
@pytest.mark.parametrize('num_points', [100, None])
def test_mixed_batches_train_everything(images, objects, num_points):
    model = detector(0, boxes_from_masks='mask2box', train_cfg=dict(num_points=num_points)).train()
    losses = step(model, without_masks(detection_batch(objects, False), *images))
    expected = {name for name in names_of(3) if max(objects) < 8 or 'dn_' not in name}
    assert losses.keys() == expected
    assert all(loss.isfinite() for loss in losses.values())
    known = sum(count for image, count in enumerate(objects) if image not in images)
    assert all((loss.item() > 0) == (known > 0) for name, loss in losses.items() if name.endswith(('mask', 'dice')))
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients(model).values())
    if not known:
        assert not any(gradient.any() for name, gradient in gradients(model).items() if 'mask_' in name)


def test_masks_are_not_needed_for_boxes():
    """A detector and the segmentation model of the same weights learn the same of boxes alone."""
    model, whole = detector(0, **DETECTOR).train(), detector(0, boxes_from_masks='no').train()
    assert not any(part in name for name in model.state_dict() for part in MASK_PARTS)
    missing = whole.load_state_dict(model.state_dict(), strict=False)
    assert not missing.unexpected_keys
    assert all(any(part in name for part in MASK_PARTS) for name in missing.missing_keys)
    results = []
    for network in model, whole:
        torch.manual_seed(0)
        results.append(step(network, without_masks(detection_batch((3, 2), False), 0, 1)))
    losses, expected = results
    assert losses.keys() == {name for name in expected if not name.endswith(('mask', 'dice'))}
    for name, loss in losses.items():
        torch.testing.assert_close(loss, expected[name])
    actual, others = gradients(model), gradients(whole)
    for name, gradient in actual.items():
        torch.testing.assert_close(gradient, others[name], atol=1e-5, rtol=1e-3)


def test_detector_learns_boxes_of_masks():
    """Data with masks is as good as data with boxes."""
    losses = []
    for data in detection_batch((3, 2), False), without_masks(detection_batch((3, 2), False), 0, 1):
        torch.manual_seed(0)
        losses.append(step(detector(0, **DETECTOR).train(), data))
    for name, loss in losses[0].items():
        torch.testing.assert_close(loss, losses[1][name])


def test_detector_results():
    """Boxes, labels and scores alone, and the same as those of a model with masks that is asked for no more."""
    model = detector(0, **DETECTOR, test=dict(panoptic_on=False, semantic_on=False)).eval()
    whole = detector(
        0, boxes_from_masks='no', test=dict(panoptic_on=False, semantic_on=False, instance_masks=None)
    ).eval()
    whole.load_state_dict(model.state_dict(), strict=False)
    with torch.no_grad():
        results, expected = (network.test_step(detection_batch()) for network in (model, whole))
    for sample, other in zip(results, expected):
        actual, others = sample.pred_instances, other.pred_instances
        assert set(actual.keys()) == set(others.keys()) == {'bboxes', 'labels', 'scores'} and len(actual) > 0
        for key in actual.keys():
            torch.testing.assert_close(actual[key], others[key])


def test_boxes_of_a_model_with_masks():
    """Without its masks an instance has the same box, and the score of its class; other results are as before."""
    options = dict(panoptic_on=True, semantic_on=True, mask_quality_in_score=False)
    model = detector(boxes_from_masks='no', test=options).eval()
    with torch.no_grad():
        expected = model.test_step(detection_batch())
        model.panoptic_fusion_head.test_cfg.instance_masks = None
        results = model.test_step(detection_batch())
    for sample, other in zip(results, expected):
        for key in ('bboxes', 'labels', 'scores'):
            assert torch.equal(sample.pred_instances[key], other.pred_instances[key])
        assert 'masks' not in sample.pred_instances
        assert torch.equal(sample.pred_panoptic_seg.sem_seg, other.pred_panoptic_seg.sem_seg)
        assert torch.equal(sample.pred_sem_seg.sem_seg, other.pred_sem_seg.sem_seg)


def test_masks_without_losses_of_boxes():
    """No loss reaches the boxes, and the step still gives their weights a gradient of zero."""
    model = detector(0, loss_bbox=dict(loss_weight=0), loss_iou=dict(loss_weight=0)).train()
    losses = step(model, detection_batch((3, 2), False))
    assert losses.keys() == {name for name in names_of(3) if not name.endswith(('bbox', 'iou'))}
    actual = gradients(model)
    assert all(gradient is not None and gradient.isfinite().all() for gradient in actual.values())
    assert not any(gradient.any() for name, gradient in actual.items() if 'box_embed' in name)
    with pytest.raises(ValueError, match=r'image_1.jpg\) has boxes but no masks'):
        step(model, without_masks(detection_batch((3, 2), False), 1))


def test_metric_says_what_it_misses():
    from m2f_mm.integrations.mmdet_metrics import CocoMetric

    sample = dict(pred_instances=dict(bboxes=torch.zeros(1, 4), scores=torch.ones(1), labels=torch.zeros(1)))
    with pytest.raises(ValueError, match=r"boxes without masks: set metric=\['bbox'\]"):
        CocoMetric(metric=['bbox', 'segm']).process({}, [sample])


def test_boxes_beside_a_map_that_a_head_without_stuff_does_not_read():
    data = without_masks(detection_batch((3, 2), True), 0)
    losses = step(detector(0).train(), data)
    assert all(loss.isfinite() for loss in losses.values())


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(predict_masks=False), "set boxes_from_masks='no'"),
        (
            dict(DETECTOR, pixel_decoder=dict(type='FPNPixelDecoder')),
            "type='FPNPixelDecoder' always makes mask features",
        ),
        (dict(DETECTOR, test=dict(semantic_on=True)), 'has panoptic_on=True, semantic_on=True, instance_on=True'),
        (dict(DETECTOR, test=dict(panoptic_on=False, instance_on=False)), 'but the head has predict_masks=False'),
    ],
    ids=['anchors', 'pixel decoder', 'maps', 'nothing'],
)
def test_what_needs_masks_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        detector(**{'boxes_from_masks': 'mask2box', **options})


def test_segmentation_starts_from_detection(tmp_path):
    """As ``load_from`` does it: everything but the classes, of which there are other ones, and what makes masks."""
    from mmengine.runner import load_checkpoint

    model = detector(3, **DETECTOR, test=dict(panoptic_on=False))
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'detection.pth')
    whole = detector(0, boxes_from_masks='mask2box')
    with torch.no_grad():
        for parameter in whole.parameters():
            parameter.add_(1)
    before = {name: value.clone() for name, value in whole.state_dict().items()}
    load_checkpoint(whole, str(tmp_path / 'detection.pth'))
    loaded = model.state_dict()
    for name, value in whole.state_dict().items():
        own = any(part in name for part in (*MASK_PARTS, 'cls_embed', 'label_embed'))
        assert torch.equal(value, before[name] if own else loaded[name]), name
