"""Head and criterion, training step: features in, losses and their gradients out.

Peer: MMDetection's ``Mask2FormerHead`` in the full size of its COCO panoptic config, with the same weights, features,
annotations (as its own loader delivers them) and random points. Equal: each of the 30 losses and every gradient, those
of the features included, as far as rounding at the threshold of attention masks allows (``benchmarks/training.py``).

Targets: at 512 x 512 and 1024 x 1024 with 20 objects at most 0.40 of the peer's peak memory and 0.35 of its time. The
sweeps over objects, queries and batch, at 256 x 256, have no target.
"""

from collections.abc import Iterator
from functools import partial

import torch
from torch import nn

from benchmarks import peers
from benchmarks.harness import Row, Scale, compare
from benchmarks.training import (
    LAYERS,
    equal_gradients,
    equal_losses,
    free_gradients,
    gradients,
    head_step,
    replaying,
    same_points,
)

TARGETS = dict(memory=0.40, time=0.35)
SMALL = 256


def rows(scale: Scale) -> Iterator[Row]:
    pair = heads(scale)
    for size in scale.sizes(512, 1024):
        yield from step(*pair, scale, size, targets=TARGETS)
    (small,) = scale.sizes(SMALL)
    for objects in (5, 60):
        yield from step(*pair, scale, small, objects=objects)
    yield from step(*heads(scale, queries=200), scale, small, queries=200)


def heads(scale: Scale, queries: int = 100) -> tuple[nn.Module, nn.Module]:
    """Ours and theirs."""
    ours = peers.our_detector(queries)
    theirs = peers.mmdet_detector(ours, queries)
    return tuple(detector.panoptic_head.to(scale.device).train() for detector in (ours, theirs))


def step(
    ours: nn.Module,
    theirs: nn.Module,
    scale: Scale,
    size: int,
    objects: int = 20,
    queries: int = 100,
    batch: int = 1,
    targets: dict | None = None,
) -> list[Row]:
    """Rows for one setting."""
    mine, others = ([f.to(scale.device).requires_grad_() for f in random_features(batch, size)] for _ in range(2))
    samples = peers.samples(batch, size, size, objects, device=scale.device)

    def equal(our_losses, their_losses) -> str:
        words = equal_losses(our_losses, their_losses)
        return f'{words}, {equal_gradients(gradients(ours, mine), gradients(theirs, others))}'

    with same_points(ours) as points:
        return compare(
            'head',
            f'training step, {size} x {size}, {objects} objects, {queries} queries, batch {batch}',
            'mmdet',
            partial(head_step, ours, mine, samples),
            replaying(partial(head_step, theirs, others, samples), points, range(LAYERS)),
            equal,
            metrics=scale.metrics,
            repeats=scale.repeats if targets else min(3, scale.repeats),
            targets=targets,
            before=partial(free_gradients, ours, theirs, features=mine + others),
        )


def random_features(batch: int, size: int) -> list[torch.Tensor]:
    """What a ResNet hands over: not negative, of the order of one."""
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(batch, channels, size // stride, size // stride, generator=generator).relu()
        for channels, stride in zip(peers.CHANNELS, (4, 8, 16, 32))
    ]
