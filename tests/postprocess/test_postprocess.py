"""Results against slow, readable twins of the official inference, at every combination of sizes."""

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_masks

from m2f_mm.postprocess import (
    PanopticRules,
    Sizes,
    instance_segmentation,
    panoptic_segmentation,
    semantic_scores,
    semantic_segmentation,
)
from tests.helpers.lazy_masks import SIZES, each_size, random_predictions, resize, tiled_masks, whole_masks


@each_size
@pytest.mark.parametrize('resize_masks', [False, True])
def test_semantic(sizes, resize_masks):
    logits, embeds, features = random_predictions(sizes)
    classes = logits.softmax(-1)[:, :-1]
    if resize_masks:
        expected = torch.einsum('qc,qhw->chw', classes, whole_masks(embeds, features, sizes).sigmoid())
    else:
        padded = resize(torch.einsum('qd,dhw->qhw', embeds, features[0]), sizes.padded)
        scores = torch.einsum('qc,qhw->chw', classes, padded.sigmoid())
        expected = resize(scores[:, : sizes.image[0], : sizes.image[1]], sizes.output)
    scores = semantic_scores(logits, embeds, features, sizes, resize_masks=resize_masks)
    torch.testing.assert_close(scores, expected, atol=1e-5, rtol=1e-5)
    labels = semantic_segmentation(logits, embeds, features, sizes, resize_masks=resize_masks)
    assert torch.equal(labels, scores.argmax(0))


def slow_panoptic(logits, masks, is_thing, object_threshold, overlap_threshold, filter_low_score):
    """The official merging, a query after the other."""
    scores, labels = logits.softmax(-1).max(-1)
    confident = [q for q in range(len(logits)) if labels[q] < logits.shape[-1] - 1 and scores[q] > object_threshold]
    result, segments, stuff = torch.zeros(masks.shape[1:], dtype=torch.int32), [], {}
    if not confident:
        return result, segments
    masks = masks[confident].sigmoid()
    winner = (scores[confident][:, None, None] * masks).argmax(0)
    for k, q in enumerate(confident):
        own = masks[k] >= 0.5
        region = winner == k
        visible = region & own if filter_low_score else region
        if not (region.any() and own.any() and visible.any()):
            continue
        if region.sum().item() / own.sum().item() < overlap_threshold:
            continue
        label = int(labels[q])
        if label in stuff:
            result[visible] = stuff[label]
            continue
        segments.append((len(segments) + 1, label, is_thing[label]))
        result[visible] = len(segments)
        if not is_thing[label]:
            stuff[label] = len(segments)
    return result, segments


@pytest.mark.smoke
@each_size
@pytest.mark.parametrize('filter_low_score', [True, False])
@pytest.mark.parametrize('overlap', [0.0, 0.3, 0.8])
@pytest.mark.parametrize('queries', [12, 300], ids=['few', 'several products'])
def test_panoptic(sizes, filter_low_score, overlap, queries):
    logits, embeds, features = random_predictions(sizes, queries=queries)
    is_thing = [True, False, True, False]
    rules = PanopticRules(is_thing, 0.4, overlap, filter_low_score)
    result, segments = panoptic_segmentation(logits, embeds, features, sizes, rules)
    expected, expected_segments = slow_panoptic(
        logits, tiled_masks(embeds, features, sizes), is_thing, 0.4, overlap, filter_low_score
    )
    assert torch.equal(result, expected) and result.dtype == torch.int32
    assert [(segment.id, segment.label, segment.is_thing) for segment in segments] == expected_segments


def test_panoptic_without_anything():
    sizes = SIZES['larger']
    logits, embeds, features = random_predictions(sizes)
    logits[:, -1] = 50
    result, segments = panoptic_segmentation(logits, embeds, features, sizes, PanopticRules([True] * 4))
    assert result.shape == sizes.output and not result.any() and not segments


@each_size
@pytest.mark.parametrize('is_thing', [None, [True, False, True, False], [False] * 4], ids=['all', 'things', 'none'])
@pytest.mark.parametrize('count', [5, 28, 100], ids=['some', 'exactly all', 'fewer than asked for'])
def test_instances(sizes, is_thing, count):
    logits, embeds, features = random_predictions(sizes)
    result = instance_segmentation(logits, embeds, features, sizes, count, is_thing)
    probabilities = logits.softmax(-1)[:, :-1]
    masks = whole_masks(embeds, features, sizes)
    expected = []
    for value in probabilities.flatten().sort(descending=True).values[:count]:
        q, label = (probabilities == value).nonzero()[0].tolist()
        if is_thing is None or is_thing[label]:
            inside = masks[q] > 0
            quality = (masks[q].sigmoid() * inside).sum() / (inside.sum() + 1e-6)
            expected.append((float(value * quality), label, inside))
    assert len(result.scores) == len(expected) == len(result.labels) == len(result.masks) == len(result.boxes)
    free = list(range(len(expected)))
    for score, label, mask in expected:
        partner = next(
            (
                i
                for i in free
                if result.labels[i] == label
                and abs(float(result.scores[i]) - score) < 1e-5
                and int((result.masks[i] != mask).sum()) <= 2
            ),
            None,
        )
        assert partner is not None
        free.remove(partner)


@each_size
@pytest.mark.parametrize('form', ['bitmap', 'rle'])
def test_boxes_are_tight(sizes, form):
    logits, embeds, features = random_predictions(sizes, queries=12)
    features -= features.amin() + 1  # all masks of one sign are empty
    result = instance_segmentation(logits, embeds, features, sizes, mask_form=form)
    masks = bitmaps(result)
    assert len(masks) == 48 and (sizes.output == (1, 1) or 0 < sum(mask.any() for mask in masks) < 48)
    for mask, box in zip(masks, result.boxes.tolist()):
        rows, columns = mask.nonzero()
        assert box == ([min(columns), min(rows), max(columns) + 1, max(rows) + 1] if len(rows) else [0, 0, 0, 0])


def bitmaps(instances):
    """(K, H, W) whatever the form."""
    if isinstance(instances.masks, torch.Tensor):
        return instances.masks.numpy()
    return [coco_masks.decode(rle) for rle in instances.masks]


@each_size
@pytest.mark.parametrize('queries', [7, 300], ids=['few', 'several products'])
def test_rles_are_those_of_the_bitmaps(sizes, queries):
    """To the last byte, and nothing else changes."""
    predictions = random_predictions(sizes, queries=queries)
    # more results than queries, so that some share a mask
    expected, result = (
        instance_segmentation(*predictions, sizes, 2 * queries, [True, True, False, True], form)
        for form in ('bitmap', 'rle')
    )
    for name in ('scores', 'labels', 'boxes'):
        assert torch.equal(getattr(result, name), getattr(expected, name))
    assert result.masks == [coco_masks.encode(np.asfortranarray(mask)) for mask in expected.masks.numpy()]


def test_a_form_that_does_not_exist():
    with pytest.raises(ValueError, match="bitmap, rle, got 'polygon'"):
        instance_segmentation(*random_predictions(SIZES['larger']), SIZES['larger'], mask_form='polygon')


@pytest.mark.parametrize(
    'filter_low_score, overlap, expected, void',
    [
        (True, 0.8, [(0, 24), (2, 32), (1, 25)], 111),
        (True, 0.5, [(0, 20), (0, 24), (2, 46), (1, 25), (3, 19)], 58),
        (False, 0.8, [(0, 30), (2, 44), (1, 45)], 73),
        (False, 0.5, [(0, 25), (0, 30), (2, 71), (1, 45), (3, 21)], 0),
    ],
    ids=['Mask2Former', 'Mask2Former, less overlap', 'MaskFormer', 'MaskFormer, less overlap'],
)
def test_official_panoptic_numbers(filter_low_score, overlap, expected, void):
    """Round masks whose pixels the official code counted, class by class."""
    rows, columns = torch.arange(12)[:, None], torch.arange(16)
    centres = [(3, 3), (3, 5), (8, 4), (8, 12), (6, 9), (9, 13), (2, 13)]
    masks = torch.stack([4 - 0.4 * ((rows - y) ** 2 + (columns - x) ** 2) for y, x in centres])
    logits = torch.zeros(7, 5)
    for query, label in enumerate((0, 0, 2, 2, 1, 3, 4)):
        logits[query, label] = 4 + 0.2 * query
    result, segments = panoptic_segmentation(
        logits,
        torch.eye(7),
        masks[None],
        Sizes((12, 16), (12, 16), (12, 16)),
        PanopticRules([True, True, False, False], 0.8, overlap, filter_low_score),
    )
    assert [(segment.label, int((result == segment.id).sum())) for segment in segments] == expected
    assert int((result == 0).sum()) == void
