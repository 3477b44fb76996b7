"""Mask2Former for videos with a ResNet-50: a training step on a clip, and the tracks of a whole clip.

Peer: MMDetection's ``Mask2FormerVideo`` in the size of its YouTube-VIS config, with the same weights, normalised
frames, objects and random points, and frozen batch norms; objects keep their class in a clip whose last frame misses
them, as it has it. Its mask loss is as many times the official one as a clip has frames, so ours has that weight here,
too. Equal: every loss and every gradient; of the prediction the ten tracks in every frame, but for one pixel in a
thousand. No target: the project set none. 384 x 640 is what the recipe makes of a frame of 720 x 1280.
"""

from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import nn

from benchmarks import peers
from benchmarks.harness import Row, Scale, compare
from benchmarks.prediction import equal_tracks
from benchmarks.training import (
    LAYERS,
    equal_gradients,
    equal_losses,
    free_gradients,
    gradients,
    model_step,
    replaying,
    same_points,
)

OBJECTS = 5
HEIGHT, WIDTH = 384, 640


def rows(scale: Scale) -> Iterator[Row]:
    (height,) = scale.sizes(HEIGHT)
    size = height, height * WIDTH // HEIGHT // 32 * 32
    memory = [metric for metric in scale.metrics if metric == 'memory']
    yield from training(scale, size, 2, scale.metrics)
    yield from training(scale, size, 4, memory)
    yield from prediction(scale, size, 4 if scale.quick else 16)


def training(scale: Scale, size: tuple[int, int], frames: int, metrics: Sequence[str]) -> list[Row]:
    """Rows for a clip of ``frames`` frames (H, W)."""
    ours = peers.our_video().to(scale.device).train()
    theirs = peers.mmdet_video(ours, frames).to(scale.device).train()
    ours.track_head.criterion.loss_weights['loss_mask'] *= frames
    inputs = peers.images(frames, *size)[None].to(scale.device)

    def step(model: nn.Module) -> dict[str, torch.Tensor]:
        samples = peers.clip(frames, *size, OBJECTS, scale.device)  # the stock head writes into them
        return model_step(model, inputs, samples, scale.dtype)

    def equal(our_losses, their_losses) -> str:
        if scale.dtype != 'float32':
            return equal_losses(our_losses, their_losses, loose=True)
        return f'{equal_losses(our_losses, their_losses)}, {equal_gradients(gradients(ours), gradients(theirs))}'

    with same_points(ours.track_head) as points:
        return compare(
            'video',
            f'training step, {frames} frames of {size[0]} x {size[1]}, {OBJECTS} objects',
            'mmdet',
            partial(step, ours),
            replaying(partial(step, theirs), points, range(LAYERS)),
            equal,
            metrics=metrics,
            repeats=min(3, scale.repeats),
            before=partial(free_gradients, ours, theirs),
        )


def prediction(scale: Scale, size: tuple[int, int], frames: int) -> list[Row]:
    """Rows for a whole clip."""
    inputs = peers.images(frames, *size)[None].to(scale.device)
    ours = peers.our_video().to(scale.device).eval()
    theirs = peers.mmdet_video(ours).to(scale.device).eval()

    def predict(model: nn.Module) -> list:
        with torch.no_grad():
            return model.predict(inputs, peers.clip(frames, *size, 1, scale.device))

    return compare(
        'video',
        f'tracks of {frames} frames of {size[0]} x {size[1]}',
        'mmdet',
        partial(predict, ours),
        partial(predict, theirs),
        equal_tracks,
        metrics=scale.metrics,
        repeats=min(3, scale.repeats),
    )
