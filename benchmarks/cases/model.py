"""The whole model with a ResNet-50: training step and prediction.

Peers: MMDetection's ``Mask2Former`` in the size of its COCO panoptic config, and ``transformers``'
``Mask2FormerForUniversalSegmentation``, all with the same weights, normalised images, objects and random points, and
with batch norms whose statistics and weights are frozen. Equal: every loss (of transformers the total) and every
gradient. Prediction, against MMDetection, ends with panoptic maps and instances at the size of the input; equal: both,
but for one pixel in a thousand. In half precision, where rounding decides over attention masks and pairs, the total
loss and the panoptic map have to agree within a tenth.

Targets: training at 512 x 512 and 1024 x 1024 at most 0.50 of MMDetection's peak memory and 0.60 of its time, 0.65 and
0.75 of transformers'; prediction at 1024 x 1024 at most 0.40 and 0.70 of MMDetection's. A batch of two at 256 x 256 has
no target; the case of the head has the sweeps over objects and queries.
"""

from collections.abc import Iterator
from functools import partial

import torch
from torch import nn

from benchmarks import peers
from benchmarks.harness import Row, Scale, compare, left_out
from benchmarks.prediction import alike_results, equal_results
from benchmarks.training import (
    LAYERS,
    autocast,
    equal_gradients,
    equal_losses,
    free_gradients,
    gradients,
    model_step,
    replaying,
    same_points,
    total,
    transformers_step,
)

TRAINING = dict(mmdet=dict(memory=0.50, time=0.60), transformers=dict(memory=0.65, time=0.75))
PREDICTION = dict(memory=0.40, time=0.70)
SMALL = 256


def rows(scale: Scale) -> Iterator[Row]:
    ours = peers.our_detector().to(scale.device)
    theirs = peers.mmdet_detector(ours).to(scale.device)
    size = scale.sizes(1024)[0]
    yield from prediction(ours, theirs, scale, size, PREDICTION)
    for size in scale.sizes(512, 1024):
        yield from mmdet_step(ours, theirs, scale, size, targets=TRAINING['mmdet'])
    (small,) = scale.sizes(SMALL)
    yield from mmdet_step(ours, theirs, scale, small, batch=2)
    del theirs
    try:
        theirs = peers.transformers_model(ours).to(scale.device)
    except ImportError:
        for metric in ('memory', 'time'):
            yield left_out('model', 'training step', metric, 'transformers', 'pip install "transformers>=5.0,<6"')
        return
    for size in scale.sizes(512, 1024):
        yield from hugging_face_step(ours, theirs, scale, size, targets=TRAINING['transformers'])


def part(size: int, objects: int, queries: int, batch: int) -> str:
    return f'training step, {size} x {size}, {objects} objects, {queries} queries, batch {batch}'


def mmdet_step(
    ours: nn.Module,
    theirs: nn.Module,
    scale: Scale,
    size: int,
    objects: int = 20,
    queries: int = 100,
    batch: int = 1,
    targets: dict | None = None,
) -> list[Row]:
    """Rows for one setting against MMDetection."""
    ours.train(), theirs.train()
    inputs = peers.images(batch, size, size).to(scale.device)
    samples = peers.samples(batch, size, size, objects, device=scale.device)

    def equal(our_losses, their_losses) -> str:
        if scale.dtype != 'float32':  # rounding decides over attention masks and pairs
            return equal_losses(our_losses, their_losses, loose=True)
        words = equal_losses(our_losses, their_losses)
        return f'{words}, {equal_gradients(gradients(ours), gradients(theirs))}'

    with same_points(ours.panoptic_head) as points:
        return compare(
            'model',
            part(size, objects, queries, batch),
            'mmdet',
            partial(model_step, ours, inputs, samples, scale.dtype),
            replaying(partial(model_step, theirs, inputs, samples, scale.dtype), points, range(LAYERS)),
            equal,
            metrics=scale.metrics,
            repeats=scale.repeats if targets else min(3, scale.repeats),
            targets=targets,
            before=partial(free_gradients, ours, theirs),
        )


def hugging_face_step(
    ours: nn.Module,
    theirs: nn.Module,
    scale: Scale,
    size: int,
    objects: int = 20,
    batch: int = 1,
    targets: dict | None = None,
) -> list[Row]:
    """Rows for one setting against transformers, whose masks and labels are made beforehand."""
    from m2f_mm.checkpoints.huggingface import to_openmmlab
    from m2f_mm.integrations.mmdet_samples import to_targets

    ours.train()
    inputs = peers.images(batch, size, size).to(scale.device)
    samples = peers.samples(batch, size, size, objects, device=scale.device)
    seg_targets = to_targets(samples, ours.panoptic_head.is_thing, inputs.device)
    masks, labels = [target.masks.float() for target in seg_targets], [target.labels for target in seg_targets]

    def equal(our_losses, their_loss) -> str:
        words = equal_losses(dict(loss=total(our_losses)), dict(loss=their_loss), loose=scale.dtype != 'float32')
        if scale.dtype != 'float32':
            return words
        expected = to_openmmlab(gradients(theirs))
        actual = {name: gradient for name, gradient in gradients(ours).items() if name in expected}
        return f'{words}, {equal_gradients(actual, expected)}'

    with same_points(ours.panoptic_head) as points:
        return compare(
            'model',
            part(size, objects, 100, batch),
            'transformers',
            partial(model_step, ours, inputs, samples, scale.dtype),
            replaying(
                partial(transformers_step, theirs, inputs, masks, labels, scale.dtype),
                points,
                [LAYERS - 1, *range(LAYERS - 1)],
            ),  # its last layer comes first
            equal,
            metrics=scale.metrics,
            repeats=scale.repeats,
            targets=targets,
            before=partial(free_gradients, ours, theirs),
        )


def prediction(ours: nn.Module, theirs: nn.Module, scale: Scale, size: int, targets: dict | None = None) -> list[Row]:
    """Rows for panoptic and instance results of one image."""
    ours.eval(), theirs.eval()
    inputs = peers.images(1, size, size).to(scale.device)

    def predict(model: nn.Module) -> list:
        with torch.no_grad(), autocast(scale.device, scale.dtype):
            return model.predict(inputs, peers.samples(1, size, size, 1, device=scale.device))

    return compare(
        'model',
        f'prediction with panoptic and instance output, {size} x {size}',
        'mmdet',
        partial(predict, ours),
        partial(predict, theirs),
        equal_results if scale.dtype == 'float32' else alike_results,
        metrics=scale.metrics,
        repeats=scale.repeats,
        targets=targets,
    )
