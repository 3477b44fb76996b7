"""The parts of the model on their own, training, 512 x 512: where the differences come from.

Each part gets the same inputs and weights on both sides, and a loss that is a fixed random weighting of what it
returns; measured are forward and backward pass. Peer: MMDetection's part. Equal: results and gradients.

- backbone: image to features (frozen batch norms);
- pixel decoder: features to mask features and memories;
- transformer decoder: those to class logits and mask embeddings of all layers, attention masks included;
- criterion: class logits, mask embeddings and mask features to the losses, which includes the masks themselves.

Post-processing and the metric have cases of their own. No targets.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks import peers
from benchmarks.cases.head import random_features
from benchmarks.harness import Row, Scale, compare
from benchmarks.training import LAYERS, replaying, same_points, total

Tensors = list[Tensor]


def rows(scale: Scale) -> Iterator[Row]:
    (size,) = scale.sizes(512)
    ours = peers.our_detector().to(scale.device).train()
    theirs = peers.mmdet_detector(ours).to(scale.device).train()
    features = [feature.to(scale.device) for feature in random_features(1, size)]
    with torch.no_grad():
        mask_features, memories = theirs.panoptic_head.pixel_decoder(features)
    decoded = [mask_features, *memories]

    yield from part(
        'backbone',
        ours,
        theirs,
        [peers.images(1, size, size).to(scale.device)],
        lambda model, x: model.extract_feat(*x),
        lambda model, x: model.extract_feat(*x),
        scale,
        size,
    )
    yield from part('pixel decoder', ours, theirs, features, pixel_decoder, pixel_decoder, scale, size)
    yield from part('transformer decoder', ours, theirs, decoded, our_decoder, their_decoder, scale, size)

    generator = torch.Generator().manual_seed(0)
    predicted = [
        torch.randn(1, 100, width, generator=generator).to(scale.device)
        for width in [peers.THINGS + peers.STUFF + 1] * LAYERS + [256] * LAYERS
    ]
    predicted.append(mask_features / mask_features.std() / 16)
    samples = peers.samples(1, size, size, device=scale.device)
    with same_points(ours.panoptic_head) as points:
        yield from part(
            'criterion',
            ours,
            theirs,
            predicted,
            partial(our_criterion, samples),
            partial(their_criterion, samples, points),
            scale,
            size,
        )


def part(
    name: str,
    ours: nn.Module,
    theirs: nn.Module,
    inputs: Tensors,
    our_run: Callable,
    their_run: Callable,
    scale: Scale,
    size: int,
) -> list[Row]:
    """Rows for one part: ``run(model, inputs)`` gives its results."""

    def step(model: nn.Module, run: Callable, leaves: Tensors) -> Tensors:
        results = list(run(model, leaves))
        generator = torch.Generator().manual_seed(0)
        weights = [torch.randn(result.shape, generator=generator).to(result.device) for result in results]
        loss = sum((result * weight).mean() for result, weight in zip(results, weights) if result.requires_grad)
        trainable = (
            leaves if name != 'backbone' else [model.backbone.conv1.weight, model.backbone.layer1[0].conv1.weight]
        )
        loss.backward()
        return [*(result.detach() for result in results), *(leaf.grad for leaf in trainable if leaf.grad is not None)]

    sides = [[value.detach().clone().requires_grad_(name != 'backbone') for value in inputs] for _ in range(2)]

    def free() -> None:
        for model, leaves in zip((ours, theirs), sides):
            model.zero_grad(set_to_none=True)
            for leaf in leaves:
                leaf.grad = None

    return compare(
        'parts',
        f'{name}, {size} x {size}',
        'mmdet',
        partial(step, ours, our_run, sides[0]),
        partial(step, theirs, their_run, sides[1]),
        equal,
        metrics=scale.metrics,
        repeats=scale.repeats,
        before=free,
    )


def equal(ours: Tensors, theirs: Tensors) -> str:
    """By norms: bilinear sampling has kinks, where a rounding turns single gradients round."""
    assert len(ours) == len(theirs), f'{len(ours)} and {len(theirs)} results and gradients'
    worst = max(float((a.squeeze() - b.squeeze()).norm() / b.norm()) for a, b in zip(ours, theirs))
    assert worst <= 1e-2, f'a result or gradient differs by {worst:.1e} of its norm'
    return f'{len(theirs)} results and gradients within {worst:.0e}'


def pixel_decoder(model: nn.Module, features: Tensors) -> Tensors:
    mask_features, memories = model.panoptic_head.pixel_decoder(features)
    return [mask_features, *memories]


class Given(nn.Module):
    """In place of a pixel decoder: what it would have returned."""

    def __init__(self, decoded: Sequence[Tensor]):
        super().__init__()
        self.decoded = decoded

    def forward(self, features) -> tuple[Tensor, Tensors]:
        return self.decoded[0], list(self.decoded[1:])


def with_given(head: nn.Module, decoded: Tensors, run: Callable):
    """``run(head)`` with the results of its pixel decoder given."""
    decoder, head.pixel_decoder = head.pixel_decoder, Given(decoded)
    try:
        return run(head)
    finally:
        head.pixel_decoder = decoder


def our_decoder(model: nn.Module, decoded: Tensors) -> Tensors:
    predictions = with_given(model.panoptic_head, decoded, lambda head: head(decoded))
    return list(predictions.class_logits)


def their_decoder(model: nn.Module, decoded: Tensors) -> Tensors:
    samples = peers.samples(1, 32, 32, 1)
    return with_given(model.panoptic_head, decoded, lambda head: head(decoded, samples))[0]


def our_criterion(samples: list, model: nn.Module, predicted: Tensors) -> Tensors:
    from m2f_mm.integrations.mmdet_samples import to_targets
    from m2f_mm.structures import MaskPredictions

    head = model.panoptic_head
    targets = to_targets(samples, head.is_thing, predicted[0].device)
    predictions = MaskPredictions.from_lists(predicted[:LAYERS], predicted[LAYERS:-1], predicted[-1][:, None])
    return [total(head.criterion(predictions, targets))]


def their_criterion(samples: list, points, model: nn.Module, predicted: Tensors) -> Tensors:
    head = model.panoptic_head

    def losses() -> dict[str, Tensor]:
        masks = [torch.einsum('bqc,bchw->bqhw', embeds, predicted[-1]) for embeds in predicted[LAYERS:-1]]
        gt = [sample.gt_instances for sample in samples]
        metas = [sample.metainfo for sample in samples]
        gt = head.preprocess_gt(gt, [sample.gt_sem_seg for sample in samples])
        return head.loss_by_feat(predicted[:LAYERS], masks, gt, metas)

    return [total(replaying(losses, points, range(LAYERS))())]
