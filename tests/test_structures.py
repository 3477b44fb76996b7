"""Targets and predictions: their contracts, and lazy masks against the masks that they stand for."""

import pytest
import torch
import torch.nn.functional as F

from m2f_mm.mask_ops import attention_mask, fold_projection, resize_features
from m2f_mm.structures import LayerPrediction, MaskPredictions, SegTargets

CONSTANT = pytest.mark.parametrize('constant', [0, 1], ids=['', 'with constants'])


def random_predictions(frames=1, constant=0):
    torch.manual_seed(0)
    return MaskPredictions.from_lists(
        [torch.randn(2, 5, 4)], [torch.randn(2, 5, 6 + constant)], torch.randn(2, frames, 6, 8, 10)
    )


def whole(predictions):
    embeds = predictions.mask_embeds[-1]
    constants = embeds[..., 6:].sum(-1)
    masks = torch.einsum('bqd,btdhw->bqthw', embeds[..., :6], predictions.mask_features)
    return masks + constants[:, :, None, None, None]


def test_folding_a_projection_into_embeddings():
    torch.manual_seed(0)
    projection, embeds, x = torch.nn.Conv2d(6, 4, 1), torch.randn(2, 5, 4), torch.randn(2, 6, 8, 10)
    expected = torch.einsum('bqd,bdhw->bqhw', embeds, projection(x))
    folded = LayerPrediction(torch.zeros(2, 5, 4), fold_projection(embeds, projection), x[:, None])
    assert folded.mask_embeds.shape == (2, 5, 7)
    torch.testing.assert_close(torch.stack(folded.mask_logits())[:, :, 0], expected)
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(fold_projection(embeds, projection), folded.mask_embeds), 'float32 whatever is around it'


@CONSTANT
@pytest.mark.parametrize('frames', [1, 3])
def test_masks_of_all_and_of_some_queries(frames, constant):
    predictions = random_predictions(frames, constant)
    expected = whole(predictions)
    for actual, reference in zip(predictions.mask_logits(), expected):
        torch.testing.assert_close(actual, reference)
    queries = [torch.tensor([3, 0]), torch.tensor([], dtype=torch.long)]
    some = predictions.mask_logits(queries=queries)
    torch.testing.assert_close(some[0], expected[0, [3, 0]])
    assert some[1].shape == (0, frames, 8, 10)


@CONSTANT
@pytest.mark.parametrize('frames', [1, 3])
def test_samples_of_lazy_masks_are_samples_of_masks(frames, constant):
    predictions = random_predictions(frames, constant)
    points = torch.cat((torch.rand(2, 7, 2), torch.tensor([[0, 0.5], [1, 0.99]]).expand(2, -1, -1)), 1)  # and the edge
    grid = 2 * points[:, :, None] - 1
    expected = torch.stack(
        [F.grid_sample(whole(predictions)[:, :, t], grid, align_corners=False)[..., 0] for t in range(frames)], 2
    ).flatten(2)
    (actual,) = predictions.samples([points])
    torch.testing.assert_close(actual, expected)


@CONSTANT
@pytest.mark.parametrize('frames', [1, 2])
@pytest.mark.parametrize('size', [(3, 4), (8, 10), (13, 11)])
def test_attention_mask_is_that_of_the_resized_masks(size, frames, constant):
    predictions = random_predictions(frames, constant)
    expected = F.interpolate(
        whole(predictions).flatten(0, 1).transpose(0, 1).reshape(-1, 1, 8, 10),
        size,
        mode='bilinear',
        align_corners=False,
    )
    expected = expected.view(frames, 2, 5, -1).permute(1, 2, 0, 3).flatten(2)
    actual = attention_mask(predictions.mask_embeds[-1], resize_features(predictions.mask_features, size))
    assert actual.shape == (2, 1, 5, frames * size[0] * size[1])
    clear = expected.abs() > 1e-4
    assert torch.equal(actual[:, 0][clear], (expected >= 0)[clear])


def test_query_that_sees_nothing_sees_everything():
    features = torch.ones(1, 1, 2, 3, 4)
    embeds = torch.tensor([[[-1.0, 0], [1.0, 0], [0.0, 0]]])
    allowed = attention_mask(embeds, features)
    assert allowed.all(), 'blocked everywhere, nowhere, and exactly on the threshold'


def test_no_gradient_through_attention_masks():
    features = torch.randn(1, 1, 2, 3, 4, requires_grad=True)
    assert not resize_features(features, (2, 2)).requires_grad


@pytest.mark.parametrize(
    'labels, masks, error, message',
    [
        (2, torch.zeros(2, 4, 4), TypeError, 'must be bool, got torch.float32 for a.jpg'),
        (3, torch.zeros(2, 4, 4, dtype=torch.bool), ValueError, r'masks \(2, 4, 4\) and labels \(3,\) for a.jpg'),
        (4, torch.zeros(4, 4, dtype=torch.bool), ValueError, r'got masks \(4, 4\)'),
    ],
)
def test_wrong_targets_are_refused(labels, masks, error, message):
    with pytest.raises(error, match=message):
        SegTargets(torch.zeros(labels, dtype=torch.long), masks, name='a.jpg')


def test_image_is_a_clip_of_one_frame():
    target = SegTargets(torch.zeros(2, dtype=torch.long), torch.zeros(2, 4, 5, dtype=torch.bool))
    assert target.clip_masks.shape == (2, 1, 4, 5) and len(target) == 2
    clip = SegTargets(torch.zeros(2, dtype=torch.long), torch.zeros(2, 3, 4, 5, dtype=torch.bool))
    assert clip.clip_masks is clip.masks
