"""The terms of the criterion: which queries and objects are compared, where, by which loss function.

Every term says what it needs (``applies``) and gives its losses of a group of queries, layer by layer.

Shapes: L supervised predictions, B images, Q queries, C classes, R matched pairs of all layers, n of one image and
layer, P points, T frames, h x w the size of the mask features, H x W the padded input size.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from m2f_mm.mask_ops import mask_logits_from
from m2f_mm.structures import MaskPredictions, SegTargets

from .losses import class_loss, dice_loss, focal_class_loss, giou_loss, l1_loss
from .matching import Matching
from .points import BinaryMasks, RandomPoints, TargetMasks, sample_logits, uncertain_points

PIXELS = 2**22  # of masks that exist at their full size at once
PRODUCT = 2**24  # pixels of masks, at the size of the features, that one product makes

# Of each image of a layer the mask logits of its pairs, (n, T, h, w), and their objects, (n,).
MatchedMasks = tuple[Sequence[Tensor], Sequence[Tensor]]


@dataclass
class QueryGroup:
    """Queries of a step with their assignment: the matched ones, or groups of queries with known objects.

    Args:
        predictions: of the queries.
        matching: pairs of queries and objects.
        class_targets: class that each query learns, int64 (L, B, Q).
        class_weight_sums: sum of the class weights of the queries of each layer, (L,); None without class weights.
        copies: how many queries each object has.
        first_layer: number of its first layer among those for which points are drawn.
        known: the objects of the queries are known.
    """

    predictions: MaskPredictions
    matching: Matching
    class_targets: Tensor
    class_weight_sums: Tensor | None
    copies: int = 1
    first_layer: int = 0
    known: bool = False


@dataclass
class Step:
    """What all groups of queries of a training step share.

    Args:
        masks: of the targets, packed.
        class_weight: (C + 1,), None for the focal loss.
        num_objects, num_masks: numbers of objects and of their masks, averaged over all workers, at least 1; ().
        draw: source of the random points.
    """

    masks: TargetMasks
    class_weight: Tensor | None
    num_objects: Tensor
    num_masks: Tensor
    draw: RandomPoints


class LossTerm:
    """One or several losses that are computed from the same queries and objects."""

    def applies(self, group: QueryGroup) -> bool:
        """Whether the predictions have what the term needs; by default always."""
        return True

    def __call__(self, group: QueryGroup, step: Step) -> dict[str, Tensor]:
        """Losses by name, (L,) each, not weighted."""
        raise NotImplementedError


class CrossEntropyTerm(LossTerm):
    """``loss_cls``: weighted mean of the cross-entropy of all queries."""

    def __call__(self, group: QueryGroup, step: Step) -> dict[str, Tensor]:
        """As ``LossTerm``."""
        assert step.class_weight is not None and group.class_weight_sums is not None
        logits = torch.stack(group.predictions.class_logits)
        weight = step.class_weight.to(logits.dtype)
        return dict(loss_cls=class_loss(logits, group.class_targets, weight, group.class_weight_sums))


class FocalTerm(LossTerm):
    """``loss_cls``: focal loss of all queries and classes, over the number of objects."""

    def __call__(self, group: QueryGroup, step: Step) -> dict[str, Tensor]:
        """As ``LossTerm``."""
        logits = torch.stack(group.predictions.class_logits)
        return dict(loss_cls=focal_class_loss(logits, group.class_targets) / (step.num_objects * group.copies))


class BoxTerms(LossTerm):
    """``loss_bbox`` and ``loss_iou``: L1 distance and generalised IoU of the boxes of the pairs, over the number of
    objects.

    Args:
        num_classes: only objects of the classes below this number learn their boxes; None for all.
    """

    def __init__(self, num_classes: int | None = None):
        self.num_classes = num_classes

    def __call__(self, group: QueryGroup, step: Step) -> dict[str, Tensor]:
        """As ``LossTerm``."""
        matching, predictions = group.matching, group.predictions
        assert predictions.boxes is not None
        boxes = torch.stack(predictions.boxes)[matching.layer, matching.batch, matching.query]  # (R, 4)
        objects = list(zip(step.masks.targets, matching.by_image(matching.target)))
        targets = torch.cat([target.boxes[index] for target, index in objects if target.boxes is not None])
        targets = targets.to(boxes.dtype)
        counted: Tensor | int = 1
        if self.num_classes is not None:
            counted = torch.cat([target.labels[index] for target, index in objects]) < self.num_classes

        def total(losses: Tensor) -> Tensor:
            sums = boxes.new_zeros(len(predictions)).index_add(0, matching.layer, losses * counted)
            return sums / (step.num_objects * group.copies)

        return dict(loss_bbox=total(l1_loss(boxes, targets)), loss_iou=total(giou_loss(boxes, targets)))


class MaskTerms(LossTerm):
    """``loss_mask`` and ``loss_dice``: mask loss and dice loss of the pairs, over the number of masks.

    Args:
        mask_loss: one of ``MASK_LOSSES``.
        num_points: P, points per mask; None for every pixel of the padded input.
        oversample_ratio, importance_ratio: see ``uncertain_points``.
        known_objects: queries with known objects learn masks, too.
    """

    def __init__(
        self,
        mask_loss: Callable[[Tensor, Tensor], Tensor],
        num_points: int | None,
        oversample_ratio: float = 3.0,
        importance_ratio: float = 0.75,
        known_objects: bool = True,
    ):
        self.mask_loss = mask_loss
        self.num_points = num_points
        self.oversample_ratio = oversample_ratio
        self.importance_ratio = importance_ratio
        self.known_objects = known_objects

    def applies(self, group: QueryGroup) -> bool:
        """Where masks are predicted."""
        return group.predictions.mask_features is not None and (self.known_objects or not group.known)

    def __call__(self, group: QueryGroup, step: Step) -> dict[str, Tensor]:
        """As ``LossTerm``. Masks are compared layer by layer, which bounds what exists at once."""
        matching = group.matching.select_images([target.masks is not None for target in step.masks.targets])
        layers = zip(matched_masks(group.predictions, matching), matching.objects_by_layer())
        if self.num_points is None:
            sums = self._at_pixels(layers, step.masks.targets)
        else:
            sums = self._at_points(layers, step, self.num_points, group.first_layer)
        loss_mask, loss_dice = (sums / (step.num_masks * group.copies)).unbind(1)
        return dict(loss_mask=loss_mask, loss_dice=loss_dice)

    def _at_points(self, layers: Iterable[MatchedMasks], step: Step, num_points: int, first_layer: int) -> Tensor:
        """Sums of both losses of each layer, (L, 2), at points that are drawn for every mask."""
        sums = []
        for layer, (images, objects) in enumerate(layers, start=first_layer):
            frames = images[0].shape[1]
            logits = cat([image.flatten(0, 1) for image in images])  # (n * T, h, w) of all images
            points = uncertain_points(
                logits.detach(), num_points, self.oversample_ratio, self.importance_ratio, layer, step.draw
            )
            sampled = sample_logits(logits, points)
            targets = sample_objects(step.masks.packed, frames, objects, points, sampled.dtype)
            sums.append(self._sums(sampled, targets))
        return torch.stack(sums)

    def _at_pixels(self, layers: Iterable[MatchedMasks], targets: Sequence[SegTargets]) -> Tensor:
        """Sums of both losses of each layer, (L, 2), at every pixel of the padded input.

        Masks of that size exist for ``PIXELS`` at a time and are computed again in the backward pass.
        """
        sums = []
        for images, objects in layers:
            parts = []
            for logits, index, target in zip(images, objects, targets):
                number = max(1, PIXELS // target.clip_masks.shape[1:].numel())
                for some, rows in zip(logits.split(number), index.split(number)):
                    parts.append(
                        checkpoint(
                            self._whole_masks,
                            some,
                            target.clip_masks,
                            rows,
                            use_reentrant=False,
                            preserve_rng_state=False,
                        )
                    )
            sums.append(sum(parts[1:], parts[0]))
        return torch.stack(sums)

    def _whole_masks(self, logits: Tensor, masks: Tensor, rows: Tensor) -> Tensor:
        """Sums of both losses, (2,), of logits (n, T, h, w) at the size of the masks (N, T, H, W), of which ``rows``
        are the targets."""
        logits = F.interpolate(logits, masks.shape[-2:], mode='bilinear', align_corners=False).flatten(0, 1)
        return self._sums(logits.flatten(1), masks[rows].flatten(0, 1).flatten(1).to(logits.dtype))

    def _sums(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Sums over the masks of mask loss and dice loss, (2,), from logits and targets (R, P)."""
        return torch.stack((self.mask_loss(logits, targets).sum(), dice_loss(logits, targets).sum()))


def matched_masks(predictions: MaskPredictions, matching: Matching) -> Iterator[tuple[Tensor, ...]]:
    """Mask logits of the matched queries only: layer after layer those of each image (n, T, h, w).

    Tensors of no rows still carry the graph of every parameter.
    """
    embeds = matching.by_image(torch.stack(predictions.mask_embeds)[matching.layer, matching.batch, matching.query])
    first = 0
    for features, number in predictions.feature_runs():  # one, unless layers have features of their own
        counts = [image[first : first + number] for image in matching.counts]
        before = [sum(image[:first]) for image in matching.counts]
        rows = [image[start : start + sum(some)] for image, start, some in zip(embeds, before, counts)]
        yield from zip(*map(masks_by_layer, rows, features, counts))
        first += number


def masks_by_layer(embeds: Tensor, features: Tensor, counts: list[int]) -> Iterator[Tensor]:
    """Masks (n, T, h, w) of one image's pairs, layer after layer; one product computes those of as many layers as fit
    ``PRODUCT``."""
    layers = max(1, PRODUCT // max(1, max(counts) * features[:, 0].numel()))
    for first in range(0, len(counts), layers):
        together = counts[first : first + layers]
        part, embeds = embeds.split([sum(together), len(embeds) - sum(together)])
        yield from mask_logits_from(part, features).split(together)


def sample_objects(
    masks: Sequence[BinaryMasks], frames: int, objects: Sequence[Tensor], points: Tensor, dtype: torch.dtype
) -> Tensor:
    """Targets (R, P) at points (R, P, 2) of the ``objects`` of each image, (n,), frame by frame."""
    sampled = []
    for image, index, where in zip(masks, objects, points.split([frames * len(index) for index in objects])):
        rows = (index[:, None] * frames + torch.arange(frames, device=index.device)).flatten()
        sampled.append(image.sample(rows, where, dtype))
    return cat(sampled)


def cat(parts: Sequence[Tensor]) -> Tensor:
    """``torch.cat`` that copies only where there is something to join."""
    return torch.cat(list(parts)) if len(parts) > 1 else parts[0]
