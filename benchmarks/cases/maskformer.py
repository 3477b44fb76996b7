"""MaskFormer with a ResNet-50 and the transformer-encoder pixel decoder: a training step.

Peer: MMDetection's ``MaskFormer`` in the size of its COCO panoptic config, with the same weights, normalised images and
objects, frozen batch norms and no dropout; images without padding, which the two see differently. Masks are compared
at every pixel by both, so no points are drawn. Equal: every loss and every gradient. No target: the project set none.
"""

from collections.abc import Iterator
from functools import partial

from benchmarks import peers
from benchmarks.harness import Row, Scale, compare
from benchmarks.training import equal_gradients, equal_losses, free_gradients, gradients, model_step

OBJECTS = 20


def rows(scale: Scale) -> Iterator[Row]:
    ours = peers.our_maskformer().to(scale.device).train()
    theirs = peers.mmdet_maskformer(ours).to(scale.device).train()
    for size in scale.sizes(512, 800):
        inputs = peers.images(1, size, size).to(scale.device)
        samples = peers.samples(1, size, size, OBJECTS, device=scale.device)

        def equal(our_losses, their_losses) -> str:
            if scale.dtype != 'float32':
                return equal_losses(our_losses, their_losses, loose=True)
            words = equal_losses(our_losses, their_losses)
            return f'{words}, {equal_gradients(gradients(ours), gradients(theirs))}'

        yield from compare(
            'maskformer',
            f'training step, {size} x {size}, {OBJECTS} objects',
            'mmdet',
            partial(model_step, ours, inputs, samples, scale.dtype),
            partial(model_step, theirs, inputs, samples, scale.dtype),
            equal,
            metrics=scale.metrics,
            repeats=scale.repeats,
            before=partial(free_gradients, ours, theirs),
        )
