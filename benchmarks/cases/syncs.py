"""How often the host waits for the device, counted without one (``benchmarks/syncs.py`` says how).

- Training step of two images with 14 objects each, at 256 x 256: losses and backward pass, from preprocessed images and
  samples on. Once with samples as MMDetection's loader delivers them, for both sides, and once with those of this
  package's loader.
- Prediction of one image with 100 segments, panoptic and instance output: the network, then the post-processing of
  given predictions that have 100 segments, 67 of them things.

Peer: MMDetection's model. Equal: losses with equal weights, objects and points; panoptic map and instances. Target: at
most 8 each. Deformable attention is a stand-in for its CUDA operator on both sides. A row's note lists what our side
waits for, and where.
"""

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks import peers
from benchmarks.counted_operator import operator_counted
from benchmarks.harness import Row, Scale, Syncs, count_syncs
from benchmarks.prediction import equal_results
from benchmarks.training import LAYERS, equal_losses, free_gradients, model_step, replaying, same_points

LIMIT = 8
SIZE = 256


def rows(scale: Scale) -> Iterator[Row]:
    ours = peers.our_detector(test_cfg=dict(object_mask_thr=0.0, iou_thr=0.0))
    theirs = peers.mmdet_detector(ours, object_mask_thr=0.0, iou_thr=0.0)
    with operator_counted():
        yield from training(ours, theirs)
        yield prediction(ours, theirs)


def training(ours: nn.Module, theirs: nn.Module) -> Iterator[Row]:
    ours.train(), theirs.train()
    inputs = peers.images(2, SIZE, SIZE)
    with same_points(ours.panoptic_head) as points:
        stock = peers.samples(2, SIZE, SIZE, 14, stuff=2)
        losses = model_step(ours, inputs, stock)
        their_step = replaying(partial(model_step, theirs, inputs, stock), points, range(LAYERS))
        tolerance = equal_losses(losses, their_step())
        free_gradients(ours, theirs)
        others = count_syncs(their_step)
        for title, samples in (
            ("MMDetection's loader", stock),
            ("this package's loader", peers.samples(2, SIZE, SIZE, 14, 2, own_loader=True)),
        ):
            equal = equal_losses(model_step(ours, inputs, samples), losses) and tolerance
            free_gradients(ours)
            yield row(
                f'training step of 2 images, samples of {title}',
                count_syncs(partial(model_step, ours, inputs, samples)),
                others,
                equal,
            )


def prediction(ours: nn.Module, theirs: nn.Module) -> Row:
    ours.eval(), theirs.eval()
    inputs = peers.images(1, SIZE, SIZE)
    logits, masks = hundred_segments(SIZE)
    results = {}

    def predict(model: nn.Module, give) -> None:
        samples = peers.samples(1, SIZE, SIZE, 1)
        with torch.no_grad():
            head, fusion = model.panoptic_head, model.panoptic_fusion_head
            head.predict(model.extract_feat(inputs), samples)
            predictions = fusion.predict(logits, give(masks), samples, rescale=True)
            results[model] = model.add_pred_to_datasample(samples, predictions)

    def given(masks: Tensor):
        """The masks as lazy masks, as our own head gives them."""
        from m2f_mm.integrations.mmdet import lazy_masks_from_logits

        return lazy_masks_from_logits(logits, masks)

    predict(ours, given), predict(theirs, lambda masks: masks)  # what is made once and kept
    mine, others = count_syncs(partial(predict, ours, given)), count_syncs(partial(predict, theirs, lambda m: m))
    return row('prediction of one image with 100 segments', mine, others, equal_results(results[ours], results[theirs]))


def hundred_segments(size: int) -> tuple[Tensor, Tensor]:
    """Logits of classes (1, 100, C + 1) and masks (1, 100, H, W): a grid of segments, 67 things before 33 stuff."""
    segments = torch.from_numpy(peers.segment_map(size, size, 100)).long()
    masks = torch.where(segments == torch.arange(100)[:, None, None], 4.0, -4.0)[None]
    classes = torch.cat((torch.arange(67) % peers.THINGS, peers.THINGS + torch.arange(33)))
    logits = 8 * nn.functional.one_hot(classes, peers.THINGS + peers.STUFF + 1)[None].float()
    return logits + torch.linspace(0, 1, 100)[:, None] * (logits > 0), masks  # scores with an order


def row(part: str, ours: Syncs, theirs: Syncs, tolerance: str) -> Row:
    return Row(
        'syncs',
        part,
        'syncs',
        'mmdet',
        ours.total,
        theirs.total,
        True,
        tolerance,
        limit=LIMIT,
        note='; '.join(f'{count} x {name}' for name, count in ours.where.most_common()),
    )
