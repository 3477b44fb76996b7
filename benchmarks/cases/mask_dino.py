"""Mask DINO, head and criterion, training step with the recipe of a ResNet-50 and four levels: features in, losses and
their gradients out.

Peer: the same network and criterion with the masks of all 300 queries and 100 noised objects made in every layer
(``benchmarks/all_masks.py``), for matching and losses to look into, as implementations without lazy masks have them;
MMDetection has no other Mask DINO. Same weights, features, objects, points and noise. Equal: each of the 105 losses and
every gradient, those of the features included.

Target: at 1024 x 1024 with 20 objects at most half of the peak memory where the layers are recomputed
(``activation_checkpointing='full'``), so that masks and not the activations of the encoder, which both sides have, are
what is counted. By default (``'norms'``) two thirds of our peak are what ``'full'`` makes again.
"""

import copy
from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks import peers
from benchmarks.all_masks import full_masks
from benchmarks.cases.head import random_features
from benchmarks.harness import Row, Scale, compare
from benchmarks.training import equal_gradients, equal_losses, free_gradients, gradients, head_step

OBJECTS = 20


def rows(scale: Scale) -> Iterator[Row]:
    small, large = (scale.sizes(size)[0] for size in (512, 1024))
    yield from step(scale, small, 'norms', scale.metrics)
    memory = [metric for metric in scale.metrics if metric == 'memory']
    yield from step(scale, large, 'norms', memory)
    yield from step(scale, large, 'full', memory, targets=dict(memory=0.5))


def step(
    scale: Scale, size: int, activation_checkpointing: str, metrics: Sequence[str], targets: dict | None = None
) -> list[Row]:
    """Rows for one setting."""
    ours = peers.our_mask_dino(activation_checkpointing=activation_checkpointing).panoptic_head.to(scale.device).train()
    theirs = copy.deepcopy(ours)
    mine, others = ([f.to(scale.device).requires_grad_() for f in random_features(1, size)] for _ in range(2))
    samples = peers.samples(1, size, size, OBJECTS, device=scale.device)

    def run(head: nn.Module, features: list[Tensor]) -> dict[str, Tensor]:
        torch.manual_seed(0)  # the same points and noise
        return head_step(head, features, samples)

    def run_peer() -> dict[str, Tensor]:
        with full_masks():
            return run(theirs, others)

    def equal(our_losses, their_losses) -> str:
        words = equal_losses(our_losses, their_losses)
        return f'{words}, {equal_gradients(gradients(ours, mine), gradients(theirs, others))}'

    return compare(
        'mask_dino',
        f"training step, {size} x {size}, {OBJECTS} objects, activation_checkpointing='{activation_checkpointing}'",
        'all masks made',
        partial(run, ours, mine),
        run_peer,
        equal,
        metrics=metrics,
        repeats=min(3, scale.repeats),
        before=partial(free_gradients, ours, theirs, features=mine + others),
        targets=targets,
    )
