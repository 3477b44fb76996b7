"""Semantic, panoptic and instance results against the recorded official ones."""

import pytest
import torch

from m2f_mm.postprocess import (
    Sizes,
    class_scores,
)
from tests.helpers.golden import cases, images, load
from tests.helpers.golden_results import check_results, official_settings

DESIGNED = [
    pytest.param(designed, id=designed['name'])
    for parameter in cases('m2f_inference')
    if parameter.values[0]
    for designed in load(parameter.values[0])[1]['cases']
] or cases('m2f_inference')

MASK_DINO = [
    pytest.param(designed, id=designed['name'])
    for parameter in cases('mdino_inference')
    if parameter.values[0]
    for designed in load(parameter.values[0])[1]['cases']
] or cases('mdino_inference')


@pytest.mark.parametrize('designed', DESIGNED)
def test_designed_cases(designed):
    settings = designed['settings']
    masks = designed['pred_masks']
    sizes = Sizes(*(tuple(settings[f'{name}_size']) for name in ('padded', 'image', 'output')))
    check_results(
        designed['pred_logits'],
        torch.eye(len(masks)),
        masks[None],
        sizes,
        settings['thing_classes'],
        designed['outputs'],
        dict(
            settings,
            object_threshold=settings['object_mask_threshold'],
            topk=settings['test_topk_per_image'],
            resize_masks=settings['sem_seg_postprocess_before_inference'],
        ),
    )


@pytest.mark.parametrize('designed', MASK_DINO)
def test_mask_dino_cases(designed):
    """Sigmoids whose classes compete at a temperature, predicted boxes, and a softmax where that was trained."""
    settings, masks = designed['settings'], designed['pred_masks']
    sizes = Sizes(*(tuple(settings[f'{name}_size']) for name in ('padded', 'image', 'output')))
    logits = designed['pred_logits']
    temperature = settings['pano_temp'] if settings['transform_eval'] else None
    check_results(
        logits,
        torch.eye(len(masks)),
        masks[None],
        sizes,
        settings['thing_classes'],
        designed['outputs'],
        dict(
            settings,
            object_threshold=settings['object_mask_threshold'],
            topk=settings['test_topk_per_image'],
            resize_masks=settings['sem_seg_postprocess_before_inference'],
        ),
        class_scores(logits.shape[-1], settings['num_classes'], temperature),
        boxes=designed['pred_boxes'],
        mask_quality_in_score=not settings['focus_on_box'],
    )


def test_whole_model(case):  # noqa: F811
    info, recorded, model = case
    cfg = info['cfg']
    test = cfg['MODEL']['MASK_FORMER']['TEST']
    batch = images(*case)
    model.eval()
    with torch.no_grad():
        predictions = model.panoptic_head(model.backbone(batch))
    model.train()
    assert predictions.num_layers == 1, 'prediction keeps the last layer only'
    settings = official_settings(test, cfg['TEST']['DETECTIONS_PER_IMAGE'])
    for b, (item, expected) in enumerate(zip(recorded['inputs']['images'], recorded['outputs']['results'])):
        sizes = Sizes(tuple(batch.shape[-2:]), tuple(item['image'].shape[-2:]), (item['height'], item['width']))
        check_results(
            predictions.class_logits[-1][b],
            predictions.mask_embeds[-1][b],
            predictions.mask_features[b],
            sizes,
            info['thing_classes'],
            expected,
            settings,
        )
