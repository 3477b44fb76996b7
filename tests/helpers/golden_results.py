"""Results compared with recorded official ones."""

import torch

from m2f_mm.postprocess import (
    PanopticRules,
    instance_segmentation,
    panoptic_segmentation,
    semantic_scores,
    semantic_segmentation,
)
from m2f_mm.postprocess.classes import SOFTMAX
from tests.helpers.golden import FORWARD, assert_close


def check_results(class_logits, embeds, features, sizes, things, expected, settings, classes=SOFTMAX, **instances):
    num_classes = class_logits.shape[-1] - (classes is SOFTMAX)
    is_thing = [label in things for label in range(num_classes)]
    predictions = (class_logits, embeds, features, sizes)
    if settings['semantic_on']:
        scores = semantic_scores(*predictions, resize_masks=settings['resize_masks'], classes=classes)
        assert_close(scores, expected['sem_seg'], FORWARD, 'semantic scores')
        labels = semantic_segmentation(*predictions, resize_masks=settings['resize_masks'], classes=classes)
        top = expected['sem_seg'].topk(2, 0).values
        clear = top[0] - top[1] > 1e-5 * top[0]
        assert torch.equal(labels[clear], expected['sem_seg'].argmax(0)[clear])
    if settings['panoptic_on']:
        segment_map, segments = panoptic_segmentation(
            *predictions,
            PanopticRules(is_thing, settings['object_threshold'], settings['overlap_threshold'], classes=classes),
        )
        assert torch.equal(segment_map, expected['panoptic_seg'].int())
        assert [(s.id, s.is_thing, s.label) for s in segments] == [
            (s['id'], bool(s['isthing']), s['category_id']) for s in expected['segments_info']
        ]
    if settings['instance_on']:
        actual = instance_segmentation(
            *predictions, settings['topk'], is_thing if settings['panoptic_on'] else None, classes=classes, **instances
        )
        check_instances(actual, expected['instances'], boxes=bool(instances))


def check_instances(actual, expected, boxes):
    """Equal as sets: each recorded instance has a partner with the same class, mask and score, and box if asked for."""
    assert len(actual.scores) == len(expected['scores'])
    free = list(range(len(actual.scores)))
    for score, label, mask, box in zip(
        *(expected[name] for name in ('scores', 'pred_classes', 'pred_masks', 'pred_boxes'))
    ):
        partner = next(
            (
                i
                for i in free
                if actual.labels[i] == label
                and torch.equal(actual.masks[i], mask.bool())
                and (not boxes or (actual.boxes[i] - box).abs().max() <= FORWARD * box.abs().max())
                and abs(actual.scores[i] - score) <= FORWARD * expected['scores'].abs().max()
            ),
            None,
        )
        assert partner is not None, f'no instance of class {int(label)} with score {float(score):.4f}'
        free.remove(partner)


def official_settings(test, topk):
    """The TEST part of a detectron2 configuration as ``check_results`` reads it."""
    before = test['SEM_SEG_POSTPROCESSING_BEFORE_INFERENCE'] or test['PANOPTIC_ON'] or test['INSTANCE_ON']
    return dict(
        semantic_on=test['SEMANTIC_ON'],
        panoptic_on=test['PANOPTIC_ON'],
        instance_on=test['INSTANCE_ON'],
        resize_masks=before,
        object_threshold=test['OBJECT_MASK_THRESHOLD'],
        overlap_threshold=test['OVERLAP_THRESHOLD'],
        topk=topk,
    )
