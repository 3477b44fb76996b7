"""Points, costs, matching and losses against loops, library functions and numbers of the official modules."""

import itertools
import warnings
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from m2f_mm import deprecation
from m2f_mm.criterion import HungarianAssigner, Matching, RandomPoints, SetCriterion, points, terms
from m2f_mm.criterion.costs import bce_cost, dice_cost, focal_cost, giou_cost
from m2f_mm.criterion.losses import bce_loss, class_loss, dice_loss, focal_loss
from m2f_mm.gradients import with_zero_gradients
from m2f_mm.structures import MaskPredictions, SegTargets

LOGITS = torch.tensor([[0.5, -1, 2, -0.3], [1.5, 0.2, -2, 0.1]])
TARGETS = torch.tensor([[1.0, 0, 1, 0], [0, 1, 0, 1]])


@pytest.mark.parametrize(
    'result, expected',
    [
        (dice_loss(LOGITS, TARGETS).mean(), 0.300358),
        (bce_loss(LOGITS, TARGETS).mean(), 0.567437),
        (focal_loss(LOGITS, TARGETS).mean(), 0.128824),
        (dice_cost(LOGITS, TARGETS), [[0.229184, 0.540379], [0.426618, 0.371532]]),
        (bce_cost(LOGITS, TARGETS), [[0.367155, 1.317155], [0.967719, 0.767719]]),
        (
            class_loss(
                torch.tensor([[[[1, 2, 0.5], [0, 0.1, 3], [0.2, -1, 0]]]]),
                torch.tensor([[[1, 2, 2]]]),
                torch.tensor([1, 1, 0.1]),
                torch.tensor([1.2]),
            ),
            [0.474562],
        ),
    ],
    ids=['dice', 'mask', 'focal', 'dice cost', 'mask cost', 'class'],
)
def test_official_numbers(result, expected):
    torch.testing.assert_close(result, torch.tensor(expected), atol=1e-6, rtol=0)


def test_official_focal_cost():
    expected = torch.tensor([[0.0274, 0.4416], [0.1873, 0.2302]])
    torch.testing.assert_close(focal_cost(LOGITS, TARGETS), expected, atol=5e-5, rtol=0)


def test_official_point_samples():
    ramp = torch.arange(12.0).view(1, 3, 4)
    where = torch.tensor([[(0, 0), (0.5, 0.5), (0.125, 1 / 6), (1, 1), (0.3, 0.9)]])
    expected = torch.tensor([[0.0, 5.5, 0.0, 2.75, 6.960002]])
    torch.testing.assert_close(points.sample_logits(ramp, where), expected, atol=1e-5, rtol=0)
    one = MaskPredictions.from_lists([torch.zeros(1, 1, 2)], [torch.ones(1, 1, 1)], ramp.view(1, 1, 1, 3, 4))
    torch.testing.assert_close(next(one.samples([where])), expected[None], atol=1e-5, rtol=0)


def test_samples_have_a_gradient_and_keep_no_mask():
    masks = torch.randn(3, 6, 8, dtype=torch.float64, requires_grad=True)
    where = torch.rand(3, 10, 2, dtype=torch.float64) * 1.2 - 0.1
    assert torch.autograd.gradcheck(lambda x: points.sample_logits(x, where), masks)
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: saved.append(x.shape) or x, lambda x: x):
        points.sample_logits(masks, where)
    assert saved == [where.shape]


def test_bce_focal_and_dice_costs_are_the_losses_of_every_pair():
    torch.manual_seed(0)
    logits, gt = torch.randn(5, 40) * 30, (torch.rand(3, 40) < 0.5).float()
    for cost, loss in ((bce_cost, bce_loss), (focal_cost, focal_loss), (dice_cost, dice_loss)):
        slow = torch.tensor([[loss(x[None], t[None]) for t in gt] for x in logits])
        torch.testing.assert_close(cost(logits, gt), slow)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('shared', [False, True])
def test_binary_masks_are_sampled_like_their_float_copies(shared, dtype):
    """Corners, edges, outside, and every pixel's centre included."""
    torch.manual_seed(0)
    masks = torch.rand(4, 7, 5) < 0.5
    special = torch.tensor([(0, 0), (1, 1), (0, 1), (1, 0), (-0.2, 0.5), (1.2, 0.5), (0.5, -0.01), (0.5, 1.01)])
    centres = torch.tensor([((x + 0.5) / 5, (y + 0.5) / 7) for x, y in itertools.product(range(5), range(7))])
    where = torch.cat((special, centres, torch.rand(200, 2)))[None]
    index = torch.tensor([2, 0, 2, 3, 1])
    if not shared:
        where = where + torch.rand(5, 1, 2) * 0.1
    result = points.BinaryMasks(masks).sample(index, where, dtype)
    expected = F.grid_sample(
        masks[index][:, None].to(dtype), 2 * where.to(dtype).expand(5, -1, -1)[:, :, None] - 1, align_corners=False
    )[:, 0, :, 0]
    torch.testing.assert_close(result, expected, atol=1e-6, rtol=0)


def test_uncertain_points_come_first():
    masks = torch.linspace(-4, 4, 64).view(1, 8, 8)
    result = points.uncertain_points(masks, 40, 3.0, 0.75, 0, RandomPoints())
    assert result.shape == (1, 40, 2)
    certainty = points.sample_logits(masks, result).abs()[0]
    assert certainty[:30].mean() < certainty[30:].mean()
    assert points.uncertain_points(masks, 40, 3.0, 1.0, 0, RandomPoints()).shape == (1, 40, 2)


def predictions_of(queries=6, classes=3, layers=2, batch=2, scale=3.0):
    torch.manual_seed(0)
    return MaskPredictions.from_lists(
        [torch.randn(batch, queries, classes + 1, requires_grad=True) for _ in range(layers)],
        [(torch.randn(batch, queries, 4) * scale).requires_grad_() for _ in range(layers)],
        torch.randn(batch, 1, 4, 6, 8, requires_grad=True),
    )


def targets_of(*counts, classes=3, height=24, width=32):
    generator = torch.Generator().manual_seed(1)
    return [
        SegTargets(
            torch.randint(0, classes, (count,), generator=generator),
            torch.rand(count, height, width, generator=generator) < 0.3,
            name=f'image_{i}.jpg',
        )
        for i, count in enumerate(counts)
    ]


class FixedPoints(RandomPoints):
    """The same points whenever the same ones are asked for."""

    def matching(self, layer, batch, num_points, device):
        return torch.rand(batch, num_points, 2, generator=torch.Generator().manual_seed(layer))

    candidates = uniform = matching


@pytest.mark.parametrize('counts', [(3, 2), (0, 4), (0, 0), (9, 1)], ids=str)
def test_matching_is_the_best_of_all(counts):
    """Against every assignment there is, from costs computed pair by pair; nine objects are more than six queries."""
    predictions, targets, assigner = predictions_of(), targets_of(*counts), HungarianAssigner(2.0, 5.0, 5.0, 50)
    matching = assigner(predictions, targets, FixedPoints())
    assert matching.counts == [[min(6, count)] * 2 for count in counts]
    for layer in range(2):
        where = FixedPoints().matching(layer, 2, 50, None)
        for b, target in enumerate(targets):
            masks = predictions.mask_logits(layer)[b][:, 0]
            sampled = points.sample_logits(masks, where[b : b + 1].expand(6, -1, -1))
            probabilities = predictions.class_logits[layer][b].softmax(-1)
            cost = torch.zeros(6, counts[b])
            for q, n in itertools.product(range(6), range(counts[b])):
                gt = points.sample_logits(target.masks[n : n + 1].float(), where[b : b + 1])
                cost[q, n] = (
                    5 * bce_loss(sampled[q : q + 1], gt)
                    + 5 * dice_loss(sampled[q : q + 1], gt)
                    - 2 * probabilities[q, target.labels[n]]
                )
            selected = (matching.batch == b) & (matching.layer == layer)
            queries, objects = matching.query[selected], matching.target[selected]
            assert queries.tolist() == sorted(set(queries.tolist()))
            pairs = (cost if counts[b] <= 6 else cost.T).tolist()  # rows are at least as many as columns
            best = min(
                sum(pairs[row][column] for column, row in enumerate(rows))
                for rows in itertools.permutations(range(len(pairs)), min(6, counts[b]))
            )
            assert abs(cost[queries, objects].sum().item() - best) < 1e-3


def test_one_transfer_to_the_host(monkeypatch):
    """All layers and images together: one, whatever their number. And nothing asks a tensor for a number."""
    calls = []
    for name in ('cpu', 'item', 'tolist', 'numpy', '__bool__', '__int__', '__float__', 'nonzero'):
        original = getattr(torch.Tensor, name)
        monkeypatch.setattr(
            torch.Tensor,
            name,
            lambda self, *args, name=name, original=original: calls.append(name) or original(self, *args),
        )
    predictions, targets = predictions_of(layers=4), targets_of(3, 2)
    criterion = SetCriterion(HungarianAssigner(num_points=20), [1, 1, 1, 0.1], num_points=20)
    criterion(predictions, targets)
    assert calls == ['cpu', 'numpy']


def slow_losses(predictions, targets, matching, criterion):
    """The formulas, image by image and pair by pair, on whole masks."""
    losses = {}
    total = max(1, sum(len(target) for target in targets))
    for layer in range(predictions.num_layers):
        prefix = '' if layer == predictions.num_layers - 1 else f'd{layer}.'
        of_layer = matching.layer == layer
        pairs = list(zip(*(rows[of_layer].tolist() for rows in (matching.batch, matching.query, matching.target))))
        logits = predictions.class_logits[layer]
        weight, value = 0, 0
        classes = torch.full(logits.shape[:2], logits.shape[-1] - 1)
        for b, q, n in pairs:
            classes[b, q] = targets[b].labels[n]
        for b, q in itertools.product(*map(range, logits.shape[:2])):
            w = criterion.class_weight[classes[b, q]]
            value = value - w * logits[b, q].log_softmax(-1)[classes[b, q]]
            weight = weight + w
        losses[prefix + 'loss_cls'] = 2 * value / weight
        selected = [predictions.mask_logits(layer)[b][q, 0] for b, q, _ in pairs]
        where = points.uncertain_points(
            torch.stack(selected).detach(), criterion.mask_terms.num_points, 3.0, 0.75, layer, criterion.draw
        )
        mask, dice = 0, 0
        for row, (logit, (b, _, n)) in enumerate(zip(selected, pairs)):
            x = points.sample_logits(logit[None], where[row : row + 1])[0]
            t = points.sample_logits(targets[b].masks[n][None].float(), where[row : row + 1])[0]
            mask = mask + F.binary_cross_entropy_with_logits(x, t)
            p = x.sigmoid()
            dice = dice + 1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)
        losses[prefix + 'loss_mask'], losses[prefix + 'loss_dice'] = 5 * mask / total, 5 * dice / total
    return losses


def test_bce_and_dice_losses_are_their_formulas():
    predictions, targets = predictions_of(layers=3), targets_of(3, 2)
    criterion = SetCriterion(HungarianAssigner(num_points=50), [1, 1, 2, 0.1], num_points=40, draw=FixedPoints())
    losses = criterion(predictions, targets)
    expected = slow_losses(predictions, targets, criterion.assigner(predictions, targets, criterion.draw), criterion)
    assert losses.keys() == expected.keys()
    for name in losses:
        torch.testing.assert_close(
            losses[name], expected[name], atol=1e-4, rtol=1e-4, msg=lambda m, name=name: f'{name}: {m}'
        )


@pytest.mark.parametrize('counts', [(0, 0), (0, 3), (9, 9)], ids=str)
@pytest.mark.parametrize('dense', [False, True])
def test_every_input_gets_a_gradient(counts, dense):
    """Whether there is nothing to find, something in one image, or more than there are queries."""
    predictions, targets = predictions_of(), targets_of(*counts)
    criterion = (
        dense_criterion([1, 1, 1, 0.1])
        if dense
        else SetCriterion(HungarianAssigner(num_points=20), [1, 1, 1, 0.1], num_points=20)
    )
    losses = criterion(predictions, targets)
    assert all(loss.isfinite() for loss in losses.values())
    sum(losses.values()).backward()
    for tensor in (*predictions.class_logits, *predictions.mask_embeds, predictions.mask_features):
        assert tensor.grad is not None and tensor.grad.isfinite().all()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_float32_inside_amp(dtype):
    predictions, targets = predictions_of(), targets_of(3, 2)
    half = MaskPredictions.from_lists(
        [x.to(dtype) for x in predictions.class_logits],
        [x.to(dtype) for x in predictions.mask_embeds],
        predictions.mask_features.to(dtype),
    )
    criterion = SetCriterion(HungarianAssigner(num_points=20), [1, 1, 1, 0.1], num_points=20, draw=FixedPoints())
    with torch.autocast('cpu', dtype):
        losses = criterion(half, targets)
    expected = criterion(predictions, targets)
    for name, loss in losses.items():
        assert loss.dtype == torch.float32
        torch.testing.assert_close(loss, expected[name], atol=0.05, rtol=0.05)


@pytest.mark.parametrize(
    'part, layer, message',
    [
        ('class_logits', 0, 'class logits of layer d0 are not finite for image 1 of the batch (image_1.jpg)'),
        ('mask_embeds', 1, 'mask embeddings of the last layer are not finite for image 1 of the batch (image_1.jpg)'),
        ('mask_features', None, 'mask features of layer d0 are not finite for image 1 of the batch (image_1.jpg)'),
    ],
)
@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_what_is_not_finite_is_named(part, layer, message, value):
    predictions = predictions_of()
    tensors = getattr(predictions, part)
    with torch.no_grad():
        (tensors if layer is None else tensors[layer])[1].view(-1)[3] = value
    with pytest.raises(FloatingPointError) as error:
        HungarianAssigner(num_points=20)(predictions, targets_of(2, 2), RandomPoints())
    assert message in str(error.value)


@pytest.mark.parametrize('layer, where', [(0, 'the chosen tokens'), (1, 'layer d0'), (2, 'the last layer')])
def test_boxes_that_are_not_finite_are_named(layer, where):
    predictions = predictions_of()
    predictions.layers.append(replace(predictions[-1]))
    predictions.selected = True
    for prediction in predictions:
        prediction.boxes = torch.full((2, 6, 4), 0.5)
    predictions.boxes[layer][1, 2, 3] = float('nan')
    with pytest.raises(FloatingPointError, match=f'boxes of {where} are not finite for image 1'):
        HungarianAssigner(num_points=20)(predictions, [t.with_boxes() for t in targets_of(2, 2)], RandomPoints())


def test_what_is_not_finite_is_named_without_any_object():
    """SciPy would not have noticed."""
    predictions = predictions_of()
    with torch.no_grad():
        predictions.class_logits[1][0, 0, 0] = float('nan')
    with pytest.raises(FloatingPointError, match='class logits of the last layer are not finite for image 0'):
        HungarianAssigner(num_points=20)(predictions, targets_of(0, 0), RandomPoints())


@pytest.mark.parametrize('label', [3, -1, 255])
def test_label_without_class_is_named(label):
    targets = targets_of(2, 2)
    targets[1].labels[0] = label
    with pytest.raises(ValueError) as error:
        HungarianAssigner(num_points=20)(predictions_of(), targets, RandomPoints())
    assert f'image_1.jpg) has the label {label}, but the model has 3 classes' in str(error.value)


@pytest.mark.parametrize('options', [dict(oversample_ratio=0.5), dict(importance_ratio=1.5)])
def test_impossible_sampling_is_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        SetCriterion(HungarianAssigner(), [1, 1], **options)


def normal(seed, *shape):
    """Numbers that the official modules were run with."""
    return torch.from_numpy(np.random.RandomState(seed).standard_normal(shape)).float()


def disks(*circles):
    y, x = torch.arange(24)[:, None], torch.arange(32)
    return torch.stack([(y - row) ** 2 + (x - column) ** 2 <= radius**2 for row, column, radius in circles])


def of_pixels(logits, masks):
    """Predictions whose masks exist already: each pixel is a channel of its own."""
    size = masks[0].shape[-2:]
    pixels = torch.eye(size.numel()).view(1, 1, -1, *size).expand(masks[0].shape[0], -1, -1, -1, -1)
    return MaskPredictions.from_lists(logits, [mask.flatten(2) for mask in masks], pixels)


def dense_criterion(class_weight, **options):
    return SetCriterion(
        HungarianAssigner(1.0, 20.0, 1.0, None, 'focal'), class_weight, 1.0, 20.0, 1.0, 'focal', None, **options
    )


def test_official_numbers_of_maskformer():
    """Every pixel, focal loss, nearest objects in the matching: the official criterion on the same inputs."""
    predictions = of_pixels(
        [normal(3, 2, 6, 5), normal(1, 2, 6, 5)], [2 * normal(4, 2, 6, 6, 8), 2 * normal(2, 2, 6, 6, 8)]
    )
    targets = [
        SegTargets(torch.tensor([0, 3, 1]), disks((6, 6, 4), (12, 20, 7), (20, 5, 3))),
        SegTargets(torch.tensor([2]), disks((10, 16, 8))),
    ]
    criterion = dense_criterion([1, 1, 1, 1, 0.1])
    matching = criterion.assigner(predictions, targets, criterion.draw)
    result = list(zip(*(rows.tolist() for rows in (matching.layer, matching.batch, matching.query, matching.target))))
    assert result == [
        (0, 0, 0, 0),
        (0, 0, 2, 2),
        (0, 0, 3, 1),
        (1, 0, 1, 2),
        (1, 0, 2, 0),
        (1, 0, 5, 1),
        (0, 1, 2, 0),
        (1, 1, 5, 0),
    ]
    expected = {
        'loss_cls': 1.142107,
        'loss_mask': 20 * 0.228026,
        'loss_dice': 0.778957,
        'd0.loss_cls': 1.226166,
        'd0.loss_mask': 20 * 0.285943,
        'd0.loss_dice': 0.774490,
    }
    losses = criterion(predictions, targets)
    assert losses.keys() == expected.keys()
    for name, value in expected.items():
        assert losses[name].item() == pytest.approx(value, abs=2e-5), name


@pytest.mark.parametrize('counts', [(3, 2), (0, 4), (9, 0)], ids=str)
@pytest.mark.parametrize('frames', [1, 2])
def test_losses_at_every_pixel_are_their_formulas(counts, frames, monkeypatch):
    """In any number of pieces; sizes that are no multiples of each other."""
    torch.manual_seed(0)
    features = torch.randn(2, frames, 4, 6, 8, dtype=torch.float64)
    embeds = [torch.randn(2, 6, 4, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    logits = [torch.randn(2, 6, 4, dtype=torch.float64) for _ in range(2)]
    predictions = MaskPredictions.from_lists(logits, embeds, features)
    targets = [SegTargets(torch.arange(count) % 3, torch.rand(count, frames, 23, 31) < 0.3) for count in counts]
    criterion = dense_criterion([1, 1, 1, 0.1])
    matching = criterion.assigner(predictions, targets, criterion.draw)
    result = {}
    for pixels in (1, 2**22):
        monkeypatch.setattr(terms, 'PIXELS', pixels)
        losses = criterion(predictions, targets)
        result[pixels] = losses, torch.autograd.grad(losses['d0.loss_mask'] + losses['d0.loss_dice'], embeds[0])[0]
    for layer, prefix in enumerate(('d0.', '')):
        mask, dice = 0, 0
        for at, b, q, n in zip(matching.layer, matching.batch, matching.query, matching.target):
            for t in range(frames if at == layer else 0):
                x = F.interpolate(predictions.mask_logits(layer)[b][q, t][None, None], (23, 31), mode='bilinear')
                x, gt = x.flatten(), targets[b].masks[n, t].flatten().double()
                p = x.sigmoid()
                mask = mask - (0.25 * (1 - p) ** 2 * p.log() * gt + 0.75 * p**2 * (1 - p).log() * (1 - gt)).mean()
                dice = dice + 1 - (2 * (p * gt).sum() + 1) / (p.sum() + gt.sum() + 1)
        total = sum(counts)
        for losses, _ in result.values():
            torch.testing.assert_close(losses[prefix + 'loss_mask'], 20 * mask / total)
            torch.testing.assert_close(losses[prefix + 'loss_dice'], dice / total)
        if layer == 0:
            [slow] = torch.autograd.grad((20 * mask + dice) / total, embeds[0])
            for _, fast in result.values():
                torch.testing.assert_close(fast, slow)


def test_masks_at_full_size_are_not_kept():
    predictions, targets = predictions_of(), targets_of(3, 2, height=240, width=320)
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: saved.append(x.numel()) or x, lambda x: x):
        dense_criterion([1, 1, 1, 0.1])(predictions, targets)
    assert max(size for size in saved if size != targets[0].masks.numel() and size != targets[1].masks.numel()) < 5000


@pytest.mark.parametrize('part', [HungarianAssigner, lambda **options: SetCriterion(None, [1, 1], **options)])
def test_unknown_mask_term_is_refused(part):
    with pytest.raises(ValueError, match="bce, focal, got 'dice'"):
        part(mask_term='dice')


@pytest.mark.parametrize(
    'part, old, new, value',
    [
        (HungarianAssigner, 'box_weight', 'l1_weight', 3.0),
        (HungarianAssigner, 'overlap_weight', 'giou_weight', 3.0),
        (partial(SetCriterion, None, [1, 1]), 'loss_box', 'loss_l1', 3.0),
        (partial(SetCriterion, None, [1, 1]), 'loss_overlap', 'loss_giou', 3.0),
    ],
)
def test_old_names_of_options_warn_once(part, old, new, value, monkeypatch):
    monkeypatch.setattr(deprecation, '_warned', set())
    with pytest.warns(FutureWarning, match=f'{old} is deprecated.*use {new}'):
        renamed = part(**{old: value})
    expected = part(**{new: value})
    for name in ('l1_weight', 'giou_weight', 'loss_weights'):
        assert getattr(renamed, name, None) == getattr(expected, name, None)
    with pytest.raises(ValueError, match=f'{old} is the old name of {new}; give only {new}'):
        part(**{old: value, new: value})
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        part(**{old: value})


@pytest.mark.parametrize('part', [HungarianAssigner, partial(SetCriterion, None, [1, 1])])
def test_old_name_of_a_mask_term_warns(part, monkeypatch):
    monkeypatch.setattr(deprecation, '_warned', set())
    with pytest.warns(FutureWarning, match="mask_term='cross_entropy' is deprecated.*use 'bce'"):
        part(mask_term='cross_entropy')


class SamePoints(RandomPoints):
    """The same points for every image, mask and layer."""

    def matching(self, layer, batch, num_points, device):
        return torch.rand(1, num_points, 2, generator=torch.Generator().manual_seed(0)).expand(batch, -1, -1)

    def candidates(self, layer, num_masks, num_points, device):
        return self.matching(layer, num_masks, num_points, device)

    uniform = candidates


@pytest.mark.parametrize('num_points', [50, None])
def test_images_without_masks(num_points):
    """Such an image is matched by class and box; terms of masks are means over the objects of the others."""
    predictions, (masked, boxed) = predictions_of(), targets_of(3, 2)
    for prediction in predictions:
        prediction.boxes = torch.rand(2, 6, 4).requires_grad_()
    masked = masked.with_boxes()
    boxed = SegTargets(boxed.labels, None, boxed.with_boxes().boxes)
    weights = dict(class_weight=2.0, mask_weight=5.0, dice_weight=5.0, l1_weight=5.0, giou_weight=2.0)
    assigner = HungarianAssigner(num_points=num_points, **weights)
    criterion = SetCriterion(
        assigner, [1.0] * 3 + [0.1], num_points=num_points, draw=SamePoints(), loss_l1=5.0, loss_giou=2.0
    )
    losses = criterion(predictions, [masked, boxed])

    def first_image(layers):
        return [layer[:1] for layer in layers]

    first = MaskPredictions.from_lists(
        *map(first_image, (predictions.class_logits, predictions.mask_embeds)),
        predictions.mask_features[:1],
        first_image(predictions.boxes),
    )
    for name, loss in criterion(first, [masked]).items():
        if name.endswith(('mask', 'dice')):
            torch.testing.assert_close(losses[name], loss)

    matching = assigner(predictions, [masked, boxed], SamePoints())
    for layer, (logits, boxes) in enumerate(zip(predictions.class_logits, predictions.boxes)):
        cost = (
            -2 * logits[1].softmax(-1)[:, boxed.labels]
            + 5 * (boxes[1][:, None] - boxed.boxes).abs().sum(-1)
            + 2 * giou_cost(boxes[1], boxed.boxes)
        ).detach()
        best = min(itertools.permutations(range(6), 2), key=lambda pair: sum(cost[q, n] for n, q in enumerate(pair)))
        here = (matching.layer == layer) & (matching.batch == 1)
        assert {int(n): int(q) for n, q in zip(matching.target[here], matching.query[here])} == dict(enumerate(best))


@pytest.mark.parametrize('num_points', [50, None])
def test_mask_features_of_each_layer(num_points):
    """Layers with features of their own learn what each would alone."""
    predictions, targets = predictions_of(layers=4), targets_of(3, 1)
    own = torch.randn(2, 1, 4, 6, 8, requires_grad=True)
    for layer in (1, 2):
        predictions[layer].mask_features = own
    leaves = [*predictions.class_logits, *predictions.mask_embeds, own, predictions.mask_features]
    criterion = SetCriterion(
        HungarianAssigner(num_points=num_points), [1.0] * 4, num_points=num_points, draw=SamePoints()
    )
    losses = criterion(predictions, targets)
    alone = [criterion(MaskPredictions([layer]), targets) for layer in predictions]
    for layer, expected in zip(('d0.', 'd1.', 'd2.', ''), alone):
        for name, value in expected.items():
            torch.testing.assert_close(losses[layer + name], value)
    result = torch.autograd.grad(sum(losses.values()), leaves)
    for gradient, expected in zip(result, torch.autograd.grad(sum(sum(each.values()) for each in alone), leaves)):
        torch.testing.assert_close(gradient, expected)


def test_mask_features_of_one_layer_that_are_not_finite_are_named():
    predictions = predictions_of(layers=3)
    predictions[1].mask_features = torch.full((2, 1, 4, 6, 8), float('nan'))
    with pytest.raises(FloatingPointError, match='mask features of layer d1 are not finite for image 0'):
        HungarianAssigner(num_points=20)(predictions, targets_of(2, 2), RandomPoints())


def test_masks_of_several_products(monkeypatch):
    """However many layers one product makes the masks of."""

    def step():
        predictions = predictions_of(layers=5)
        losses = criterion(predictions, targets_of(3, 1))
        sum(losses.values()).backward()
        return [*losses.values(), *(embeds.grad for embeds in predictions.mask_embeds), predictions.mask_features.grad]

    criterion = SetCriterion(HungarianAssigner(num_points=20), [1.0] * 4, num_points=20, draw=SamePoints())
    products, mask_logits_from = [], terms.mask_logits_from
    monkeypatch.setattr(terms, 'mask_logits_from', lambda *pair: products.append(0) or mask_logits_from(*pair))
    expected, number = step(), len(products)
    monkeypatch.setattr(terms, 'PRODUCT', 2 * 3 * 6 * 8)  # two layers of the first image
    result = step()
    assert number == 2 and len(products) - number == 3 + 1
    for mine, theirs in zip(result, expected, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_boxes_of_targets_that_are_not_finite_are_named():
    predictions = predictions_of()
    for prediction in predictions:
        prediction.boxes = torch.full((2, 6, 4), 0.5)
    targets = [target.with_boxes() for target in targets_of(2, 2)]
    targets[1].boxes[0, 0] = float('nan')
    with pytest.raises(ValueError, match=r'image 1 of the batch \(image_1.jpg\) has boxes that are not finite'):
        HungarianAssigner(num_points=20, l1_weight=5.0)(predictions, targets, RandomPoints())


def test_targets_that_teach_nothing_are_named():
    predictions, (first, second) = predictions_of(), targets_of(2, 2)
    boxes_alone = SegTargets(second.labels, None, second.with_boxes().boxes, name='boxes.jpg')
    criterion = SetCriterion(HungarianAssigner(num_points=20), [1.0] * 4, num_points=20)
    with pytest.raises(ValueError, match=r'image 1 of the batch \(boxes.jpg\) has boxes but no masks'):
        criterion(predictions, [first, boxes_alone])
    criterion = SetCriterion(HungarianAssigner(num_points=20), [1.0] * 4, num_points=20, loss_l1=5.0)
    with pytest.raises(ValueError, match=r'image 0 of the batch \(image_0.jpg\) has no boxes'):
        criterion(predictions, [first, boxes_alone])
    with pytest.raises(ValueError, match='masks or boxes, got neither for x'):
        SegTargets(second.labels, None, name='x')
    with pytest.raises(ValueError, match=r'boxes \(N, 4\).*got boxes \(3, 4\)'):
        SegTargets(second.labels, None, torch.zeros(3, 4))


def with_denoising(predictions, targets, groups=2):
    """The same predictions once more as queries with known objects."""
    size = max(len(target) for target in targets)
    layers = [
        replace(
            layer,
            class_logits=layer.class_logits[:, : groups * size],
            mask_embeds=layer.mask_embeds[:, : groups * size],
        )
        for layer in predictions
    ]
    return replace(predictions, denoising=MaskPredictions(layers), groups=groups)


def test_target_masks_are_packed_once_a_step(monkeypatch):
    """For the matching, the losses of the matched queries and those of noised objects."""
    packed, pack = [], points.BinaryMasks.__init__
    monkeypatch.setattr(points.BinaryMasks, '__init__', lambda self, masks: packed.append(masks) or pack(self, masks))
    targets = targets_of(3, 2)
    criterion = SetCriterion(HungarianAssigner(num_points=20), [1.0] * 4, num_points=20)
    losses = criterion(with_denoising(predictions_of(), targets), targets)
    assert 'dn_loss_dice' in losses and len(packed) == len(targets)
    packed.clear()
    dense_criterion([1.0] * 4)(predictions_of(), targets)
    assert not packed, 'nothing is sampled'


def test_a_known_matching_is_not_searched_for():
    predictions, targets = predictions_of(), targets_of(3, 2)
    criterion = SetCriterion(HungarianAssigner(num_points=20), [1.0] * 4, num_points=20, draw=FixedPoints())
    expected = criterion(predictions, targets)
    matching = criterion.assigner(predictions, targets, criterion.draw)
    criterion.assigner = None
    losses = criterion(predictions, targets, matching)
    assert losses.keys() == expected.keys()
    assert all(torch.equal(losses[name], expected[name]) for name in losses)


def test_classes_of_known_objects_alone():
    """Predictions without masks and boxes have the class term, whatever the targets have."""
    (target,) = targets_of(3)
    logits = torch.randn(1, 3, 4, requires_grad=True)
    zeros = torch.zeros(3, dtype=torch.long)
    matching = Matching(zeros, zeros, torch.tensor([2, 0, 1]), torch.arange(3), [[3]])
    criterion = SetCriterion(None, [1.0] * 4, loss_class=2.0)
    losses = criterion(MaskPredictions.from_lists([logits]), [target], matching)
    expected = 2 * F.cross_entropy(logits[0], target.labels[[1, 2, 0]])
    assert list(losses) == ['loss_cls']
    torch.testing.assert_close(losses['loss_cls'], expected)


def test_zero_gradients():
    """The value stays, and parameters without use have a gradient."""
    value, weight, unused = torch.randn(3, requires_grad=True), torch.randn(2, requires_grad=True), torch.randn(4)
    result = with_zero_gradients(value, weight * 2, unused)
    assert torch.equal(result, value)
    result.sum().backward()
    assert torch.equal(weight.grad, torch.zeros(2)) and torch.equal(value.grad, torch.ones(3))


def test_boxes_that_the_costs_need_are_missed():
    predictions, targets = predictions_of(), targets_of(2, 2)
    for prediction in predictions:
        prediction.boxes = torch.full((2, 6, 4), 0.5)
    with pytest.raises(ValueError, match=r'image 0 of the batch \(image_0.jpg\) has no boxes'):
        HungarianAssigner(num_points=20, l1_weight=5.0)(predictions, targets, RandomPoints())
