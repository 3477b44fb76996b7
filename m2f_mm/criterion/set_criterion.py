"""Predictions and targets in, a dict of losses out (MaskFormer, section 3.2; Mask2Former, sections 3.2.1 and 3.3).

Shapes: L supervised predictions, B images, Q queries, C classes, R matched pairs of all layers, P points, T frames.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce, get_world_size
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from m2f_mm.deprecation import renamed_arguments, renamed_value
from m2f_mm.mask_ops import mask_logits_from
from m2f_mm.structures import LayerPrediction, MaskPredictions, SegTargets

from .assigner import HungarianAssigner, Matching, image_name
from .boxes import giou_loss, l1_loss
from .losses import OLD_MASK_TERMS, bce_loss, class_loss, dice_loss, focal_class_loss, focal_loss
from .points import BinaryMasks, RandomPoints, sample_logits, uncertain_points

MASK_LOSSES = dict(bce=bce_loss, focal=focal_loss)
Matched = tuple[Sequence[Tensor], Sequence[Tensor]]  # of each image mask logits (n, T, h, w) and objects (n,)
PIXELS = 2**22  # of masks that exist at their full size at once
PRODUCT = 2**24  # pixels of masks, at the size of the features, that one product makes


class SetCriterion(nn.Module):
    """Deep supervision of every prediction, each with a matching of its own, in float32 even inside autocast.

    All normalisers, the numbers of objects and of masks and the sum of class weights, are averaged over all workers, so
    that several workers learn what one would learn from the joint batch. The official code does so for the masks only;
    with one worker there is no difference.

    An image of which only boxes are known has no part in the terms of masks, which are means over the objects that have
    masks. A model that predicts boxes alone has no such terms.

    Args:
        assigner: finds the pairs.
        class_weight: weight of each class in the cross-entropy, C + 1 numbers, the last for no-object. None makes it
            the focal loss of C classes, over the number of masks (Mask DINO).
        loss_class, loss_mask, loss_dice: weights of the three terms.
        mask_term: what ``loss_mask`` is, 'bce' or 'focal'.
        num_points: P, points per mask (Mask2Former); None for every pixel of the padded input (MaskFormer).
        oversample_ratio: candidates for uncertain points, as a multiple of P.
        importance_ratio: share of P that is chosen by uncertainty.
        draw: source of the random points.
        loss_l1, loss_giou: weights of the boxes' distance and generalised IoU; both 0 for no such terms.
        box_classes: only objects of the first so many classes learn their boxes; None for all.
        denoise_masks: the noised objects learn their masks, too, not only classes and boxes.
    """

    @renamed_arguments(loss_box='loss_l1', loss_overlap='loss_giou')
    def __init__(
        self,
        assigner: HungarianAssigner,
        class_weight: Sequence[float] | None,
        loss_class: float = 2.0,
        loss_mask: float = 5.0,
        loss_dice: float = 5.0,
        mask_term: str = 'bce',
        num_points: int | None = 12544,
        oversample_ratio: float = 3.0,
        importance_ratio: float = 0.75,
        draw: RandomPoints | None = None,
        loss_l1: float = 0.0,
        loss_giou: float = 0.0,
        box_classes: int | None = None,
        denoise_masks: bool = True,
    ):
        super().__init__()
        if oversample_ratio < 1 or not 0 <= importance_ratio <= 1:
            raise ValueError(
                'oversample_ratio must be at least 1 and importance_ratio in 0..1, got '
                f'{oversample_ratio} and {importance_ratio}'
            )
        mask_term = renamed_value('SetCriterion: mask_term', mask_term, OLD_MASK_TERMS)
        if mask_term not in MASK_LOSSES:
            raise ValueError(f'mask_term must be one of {", ".join(MASK_LOSSES)}, got {mask_term!r}')
        self.assigner = assigner
        if class_weight is not None:
            class_weight = torch.tensor(class_weight, dtype=torch.float32)
        self.register_buffer('class_weight', class_weight, persistent=False)
        self.loss_weights = dict(loss_cls=loss_class, loss_mask=loss_mask, loss_dice=loss_dice)
        if loss_l1 or loss_giou:
            self.loss_weights.update(loss_bbox=loss_l1, loss_iou=loss_giou)
        self.box_classes = box_classes
        self.denoise_masks = denoise_masks
        self.mask_loss = MASK_LOSSES[mask_term]
        self.num_points = num_points
        self.oversample_ratio = oversample_ratio
        self.importance_ratio = importance_ratio
        self.draw = draw or RandomPoints()

    def forward(self, predictions: MaskPredictions, targets: Sequence[SegTargets]) -> dict[str, Tensor]:
        """Weighted losses ``loss_cls, loss_mask, loss_dice``, with boxes ``loss_bbox, loss_iou``, of the last
        prediction and ``d{i}.loss_...`` of the auxiliary ones, d0 the first; ``enc_loss_...`` of chosen tokens and
        ``dn_loss_...`` of noised objects, as MMDetection's DINO has them."""
        with torch.autocast(predictions.device.type, enabled=False):
            predictions = at_least_float32(predictions)
            self._check(predictions, targets)
            parts = [(predictions, self.assigner(predictions, targets, self.draw), 1)]
            if predictions.denoising is not None:
                known = known_pairs(predictions.denoising, predictions.groups, targets)
                parts.append((predictions.denoising, known, predictions.groups))
            classes = [
                wanted_classes(part, matching, targets, self.class_weight is not None) for part, matching, _ in parts
            ]
            sums = [self._weight_sums(each, predictions.class_logits[0]) for each in classes]  # (L,) of each part
            counts = [sum(map(len, some)) for some in (targets, [t for t in targets if t.masks is not None])]
            # Noised objects are each worker's own affair: another may have none, or other groups of them.
            averaged = average_over_workers(torch.cat([*(sums[0].new_full((1,), n) for n in counts), sums[0]]))
            counts, sums[0] = averaged[:2].clamp(min=1), averaged[2:]
            losses, first = {}, 0
            for (part, matching, groups), wanted, total in zip(parts, classes, sums):
                terms = self._part(part, matching, wanted, targets, counts * groups, total, first)
                losses.update(
                    named(
                        terms,
                        part.num_layers,
                        predictions.num_layers - predictions.selected,
                        'dn_' if first else '',
                        predictions.selected and not first,
                    )
                )
                first += part.num_layers
        return {
            name: self.loss_weights['loss_' + name.rpartition('loss_')[2]] * value for name, value in losses.items()
        }

    def _check(self, predictions: MaskPredictions, targets: Sequence[SegTargets]) -> None:
        """Raise the error for a target from which nothing can be learned but classes."""
        for b, target in enumerate(targets):
            if target.masks is None and 'loss_bbox' not in self.loss_weights:
                raise ValueError(
                    f'{image_name(b, target)} has boxes but no masks, and this model learns no boxes. '
                    'Load the masks, or give loss_bbox and loss_iou a weight'
                )
            if target.boxes is None and (predictions.mask_features is None or 'loss_bbox' in self.loss_weights):
                raise ValueError(f'{image_name(b, target)} has no boxes: SegTargets.with_boxes() makes them of masks')

    def _weight_sums(self, classes: Tensor, like: Tensor) -> Tensor:
        """What the class loss of each layer is divided by, (L,); 1 for the focal loss, which counts masks."""
        if self.class_weight is None:
            return like.new_ones(len(classes))
        return self.class_weight.to(like.dtype)[classes].flatten(1).sum(1)

    def _part(
        self,
        part: MaskPredictions,
        matching: Matching,
        classes: Tensor,
        targets: Sequence[SegTargets],
        counts: Tensor,
        weight_sums: Tensor,
        first: int,
    ) -> dict[str, Tensor]:
        """Every term of the queries that are matched, or of the noised ones, (L,) each.

        Args:
            classes: wanted of every query, (L, B, Q).
            counts: normalisers, (2,): objects, for all terms but those of masks and the cross-entropy, and masks.
            weight_sums: normaliser of the cross-entropy.
            first: index of the first layer among those for which points are drawn.
        """
        logits = torch.stack(part.class_logits)
        num_objects, num_masks = counts
        if self.class_weight is None:
            terms = dict(loss_cls=focal_class_loss(logits, classes) / num_objects)
        else:
            terms = dict(loss_cls=class_loss(logits, classes, self.class_weight.to(logits.dtype), weight_sums))
        if part.mask_features is not None and (not first or self.denoise_masks):
            known = matching.of_images([target.masks is not None for target in targets])
            mask_terms, dice_terms = self._mask_terms(part, known, targets, first)
            terms.update(loss_mask=mask_terms / num_masks, loss_dice=dice_terms / num_masks)
        if 'loss_bbox' in self.loss_weights:
            box_terms, giou_terms = box_terms_of(part, matching, targets, self.box_classes)
            terms.update(loss_bbox=box_terms / num_objects, loss_iou=giou_terms / num_objects)
        elif part.boxes is not None:  # nobody teaches them, but their weights want a gradient
            terms['loss_cls'] = terms['loss_cls'] + 0 * sum(boxes.sum() for boxes in part.boxes)
        return terms

    def _mask_terms(
        self, predictions: MaskPredictions, matching: Matching, targets: Sequence[SegTargets], first: int
    ) -> tuple[Tensor, Tensor]:
        """Sums over the matched masks of mask and dice loss, (L,) each.

        They are compared layer by layer, which bounds what exists at once.
        """
        objects = zip(
            *(index.split(counts) for index, counts in zip(matching.by_image(matching.target), matching.counts))
        )
        compare = self._at_pixels if self.num_points is None else self._at_points
        return compare(zip(matched_masks(predictions, matching), objects), targets, first).unbind(1)

    def _at_points(self, layers: Iterable[Matched], targets: Sequence[SegTargets], first: int) -> Tensor:
        """Both sums of each layer, (L, 2), at points that are drawn for every mask."""
        wanted_masks = [BinaryMasks(target.clip_masks.flatten(0, 1)) for target in targets]  # (N * T, H, W)
        terms = []
        for layer, (logits, index) in enumerate(layers, start=first):
            frames = logits[0].shape[1]
            logits = join([part.flatten(0, 1) for part in logits])  # (n * T, h, w) of all images
            points = uncertain_points(
                logits.detach(), self.num_points, self.oversample_ratio, self.importance_ratio, layer, self.draw
            )
            sampled = sample_logits(logits, points)
            wanted = sample_objects(wanted_masks, frames, index, points, sampled.dtype)
            terms.append(self._terms(sampled, wanted))
        return torch.stack(terms)

    def _at_pixels(self, layers: Iterable[Matched], targets: Sequence[SegTargets], first: int) -> Tensor:
        """Both sums of each layer, (L, 2), at every pixel of the padded input.

        Masks of that size exist for ``PIXELS`` at a time and are made again in the backward pass.
        """
        return torch.stack(
            [
                sum(
                    checkpoint(
                        self._whole, part, target.clip_masks, rows, use_reentrant=False, preserve_rng_state=False
                    )
                    for image, objects, target in zip(logits, index, targets)
                    for part, rows in zip(
                        *(
                            whole.split(max(1, PIXELS // target.clip_masks.shape[1:].numel()))
                            for whole in (image, objects)
                        )
                    )
                )
                for logits, index in layers
            ]
        )

    def _whole(self, logits: Tensor, masks: Tensor, rows: Tensor) -> Tensor:
        """Logits (n, T, h, w) at the size of the masks (N, T, H, W), compared with some of those: (2,)."""
        logits = F.interpolate(logits, masks.shape[-2:], mode='bilinear', align_corners=False).flatten(0, 1)
        return self._terms(logits.flatten(1), masks[rows].flatten(0, 1).flatten(1).to(logits.dtype))

    def _terms(self, logits: Tensor, wanted: Tensor) -> Tensor:
        """Sums over the masks of mask and dice loss, (2,), from logits and targets (R, P)."""
        return torch.stack((self.mask_loss(logits, wanted).sum(), dice_loss(logits, wanted).sum()))


def join(parts: Sequence[Tensor]) -> Tensor:
    """``torch.cat`` that copies only where there is something to join."""
    return torch.cat(parts) if len(parts) > 1 else parts[0]


def sample_objects(
    masks: Sequence[BinaryMasks], frames: int, index: Sequence[Tensor], points: Tensor, dtype: torch.dtype
) -> Tensor:
    """What is wanted at points (M * T, P, 2) of the objects ``index``, (n,) of each image: (M * T, P)."""
    sampled = []
    for image, objects, where in zip(masks, index, points.split([frames * len(objects) for objects in index])):
        rows = (objects[:, None] * frames + torch.arange(frames, device=objects.device)).flatten()
        sampled.append(image.sample(rows, where, dtype))
    return join(sampled)


def wanted_classes(
    predictions: MaskPredictions, matching: Matching, targets: Sequence[SegTargets], no_object: bool
) -> Tensor:
    """The class that every query is to predict, (L, B, Q); C for those without a pair, which the last of C + 1 logits
    is for, and none of C logits, without ``no_object``."""
    logits = predictions.class_logits[-1]
    background = logits.shape[-1] - no_object
    classes = torch.full((predictions.num_layers, *logits.shape[:2]), background, device=logits.device)
    labels = torch.cat(
        [target.class_targets(background)[index] for target, index in zip(targets, matching.by_image(matching.target))]
    )
    classes[matching.layer, matching.batch, matching.query] = labels
    return classes


def known_pairs(denoising: MaskPredictions, groups: int, targets: Sequence[SegTargets]) -> Matching:
    """The pairs of noised objects, which nobody has to find: slot n of every group is object n."""
    layers, slots = denoising.num_layers, denoising.class_logits[0].shape[1] // groups
    pairs, counts = [], []
    for b, target in enumerate(targets):
        layer, group, index = np.indices((layers, groups, len(target)))
        pairs.append(np.stack((layer, np.full_like(layer, b), group * slots + index, index)).reshape(4, -1))
        counts.append([groups * len(target)] * layers)
    packed = torch.from_numpy(np.concatenate(pairs, 1)).to(denoising.device, non_blocking=True)
    return Matching(*packed, counts)


def box_terms_of(
    predictions: MaskPredictions, matching: Matching, targets: Sequence[SegTargets], num_classes: int | None
) -> tuple[Tensor, Tensor]:
    """Sums over the pairs of both losses of boxes, (L,) each; of the first ``num_classes`` classes alone, if given."""
    boxes = torch.stack(predictions.boxes)[matching.layer, matching.batch, matching.query]
    objects = list(zip(targets, matching.by_image(matching.target)))
    wanted = torch.cat([target.boxes[index] for target, index in objects]).to(boxes.dtype)
    counted = 1
    if num_classes is not None:
        counted = torch.cat([target.labels[index] for target, index in objects]) < num_classes
    terms = (loss(boxes, wanted) * counted for loss in (l1_loss, giou_loss))
    return tuple(boxes.new_zeros(predictions.num_layers).index_add(0, matching.layer, each) for each in terms)


def named(
    terms: dict[str, Tensor], num_layers: int, num_predictions: int, prefix: str, selected: bool
) -> dict[str, Tensor]:
    """Terms (L,) by name: the last layer bare, the others ``d{i}.``, chosen tokens ``enc_``.

    Args:
        terms: of ``num_layers`` layers, the first of them of chosen tokens if ``selected``.
        num_predictions: supervised predictions of the decoder; where there are fewer layers, the first are missing.
        prefix: before ``loss``.
    """
    start = num_predictions - num_layers + selected
    starts = ['enc_'] * selected + [f'd{i}.{prefix}' for i in range(start, num_predictions - 1)] + [prefix]
    return {
        begin + name: value for begin, values in zip(starts, zip(*terms.values())) for name, value in zip(terms, values)
    }


def matched_masks(predictions: MaskPredictions, matching: Matching) -> Iterator[tuple[Tensor, ...]]:
    """Mask logits of the matched queries only: layer after layer those of each image (n, T, h, w).

    No rows still carry the graph of every parameter.
    """
    embeds = matching.by_image(torch.stack(predictions.mask_embeds)[matching.layer, matching.batch, matching.query])
    first = 0
    for features, number in predictions.feature_runs():  # one, unless layers have features of their own
        counts = [image[first : first + number] for image in matching.counts]
        before = [sum(image[:first]) for image in matching.counts]
        rows = [image[n : n + sum(some)] for image, n, some in zip(embeds, before, counts)]
        yield from zip(*map(masks_by_layer, rows, features, counts))
        first += number


def masks_by_layer(embeds: Tensor, features: Tensor, counts: Sequence[int]) -> Iterator[Tensor]:
    """Masks (n, T, h, w) of one image's pairs, layer after layer; one product makes those of as many layers as fit
    ``PRODUCT``."""
    layers = max(1, PRODUCT // max(1, max(counts) * features[:, 0].numel()))
    for first in range(0, len(counts), layers):
        together = counts[first : first + layers]
        part, embeds = embeds.split([sum(together), len(embeds) - sum(together)])
        yield from mask_logits_from(part, features).split(together)


def at_least_float32(predictions: MaskPredictions) -> MaskPredictions:
    """The predictions of all layers in float32 or wider."""
    widened: dict[int, Tensor] = {}  # by identity: layers share their mask features

    def widen(x: Tensor | None) -> Tensor | None:
        if x is None:
            return None
        if id(x) not in widened:
            widened[id(x)] = x.to(torch.promote_types(x.dtype, torch.float32))
        return widened[id(x)]

    return replace(
        predictions,
        layers=[
            LayerPrediction(*map(widen, (layer.class_logits, layer.mask_embeds, layer.mask_features, layer.boxes)))
            for layer in predictions
        ],
        denoising=predictions.denoising and at_least_float32(predictions.denoising),
    )


def average_over_workers(values: Tensor) -> Tensor:
    """Mean of each value over all workers, in one exchange."""
    if get_world_size() > 1:
        all_reduce(values, op='mean')
    return values
