"""Predictions and targets in, a dict of losses out (MaskFormer, section 3.2; Mask2Former, sections 3.2.1 and 3.3).

Shapes: L supervised predictions, B images, Q queries, C classes, R matched pairs of all layers, P points, T frames.
"""
from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce, get_world_size
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from m2f_mm.structures import MaskPredictions, SegTargets, contract

from .assigner import HungarianAssigner, Matching
from .losses import class_loss, dice_loss, focal_loss, mask_loss
from .points import BinaryMasks, RandomPoints, sample_logits, uncertain_points

MASK_LOSSES = dict(cross_entropy=mask_loss, focal=focal_loss)
Matched = tuple[Sequence[Tensor], Sequence[Tensor]]  # of each image mask logits (n, T, h, w) and objects (n,)
PIXELS = 2**22  # of masks that exist at their full size at once


class SetCriterion(nn.Module):
    """Deep supervision of every prediction, each with a matching of its own, in float32 even inside autocast.

    Both normalisers, the number of masks and the sum of class weights, are averaged over all workers, so that several
    workers learn what one would learn from the joint batch. The official code does so for the masks only; with one
    worker there is no difference.

    Args:
        assigner: finds the pairs.
        class_weight: weight of each class in the cross-entropy, C + 1 numbers, the last for no-object.
        loss_class, loss_mask, loss_dice: weights of the three terms.
        mask_term: what ``loss_mask`` is, 'cross_entropy' or 'focal'.
        num_points: P, points per mask (Mask2Former); None for every pixel of the padded input (MaskFormer).
        oversample_ratio: candidates for uncertain points, as a multiple of P.
        importance_ratio: share of P that is chosen by uncertainty.
        draw: source of the random points.
    """

    def __init__(self,
                 assigner: HungarianAssigner,
                 class_weight: Sequence[float],
                 loss_class: float = 2.0,
                 loss_mask: float = 5.0,
                 loss_dice: float = 5.0,
                 mask_term: str = 'cross_entropy',
                 num_points: int | None = 12544,
                 oversample_ratio: float = 3.0,
                 importance_ratio: float = 0.75,
                 draw: RandomPoints | None = None):
        super().__init__()
        if oversample_ratio < 1 or not 0 <= importance_ratio <= 1:
            raise ValueError('oversample_ratio must be at least 1 and importance_ratio in 0..1, got '
                             f'{oversample_ratio} and {importance_ratio}')
        if mask_term not in MASK_LOSSES:
            raise ValueError(f'mask_term must be one of {", ".join(MASK_LOSSES)}, got {mask_term!r}')
        self.assigner = assigner
        self.register_buffer('class_weight', torch.tensor(class_weight, dtype=torch.float32), persistent=False)
        self.loss_weights = dict(loss_cls=loss_class, loss_mask=loss_mask, loss_dice=loss_dice)
        self.mask_loss = MASK_LOSSES[mask_term]
        self.num_points = num_points
        self.oversample_ratio = oversample_ratio
        self.importance_ratio = importance_ratio
        self.draw = draw or RandomPoints()

    def forward(self, predictions: MaskPredictions, targets: Sequence[SegTargets]) -> dict[str, Tensor]:
        """Weighted losses ``loss_cls, loss_mask, loss_dice`` of the last prediction and ``d{i}.loss_...`` of the
        auxiliary ones, d0 the first."""
        with torch.autocast(predictions.mask_features.device.type, enabled=False):
            predictions = at_least_float32(predictions)
            matching = self.assigner(predictions, targets, self.draw)
            logits = torch.stack(predictions.class_logits)  # (L, B, Q, C + 1)
            classes = wanted_classes(logits, matching, targets)
            weights = self.class_weight.to(logits.dtype)
            sums = weights[classes].flatten(1).sum(1)  # (L,)
            num_masks = sum(len(target) for target in targets)
            num_masks, *weight_sums = average_over_workers(torch.cat((sums.new_full((1,), num_masks), sums)))
            num_masks = num_masks.clamp(min=1)
            mask_terms, dice_terms = self._mask_terms(predictions, matching, targets)  # (L,)
            terms = dict(
                loss_cls=class_loss(logits, classes, weights, torch.stack(weight_sums)),
                loss_mask=mask_terms / num_masks,
                loss_dice=dice_terms / num_masks)
        prefixes = [f'd{layer}.' for layer in range(len(logits) - 1)] + ['']
        return {prefix + name: self.loss_weights[name] * value
                for prefix, values in zip(prefixes, zip(*terms.values())) for name, value in zip(terms, values)}

    def _mask_terms(self, predictions: MaskPredictions, matching: Matching,
                    targets: Sequence[SegTargets]) -> tuple[Tensor, Tensor]:
        """Sums over the matched masks of mask and dice loss, (L,) each.

        The masks of all layers are one product for each image; they are compared layer by layer, which bounds what
        exists at once.
        """
        masks = zip(*(logits.split(counts) for logits, counts in
                      zip(matched_masks(predictions, matching), matching.counts)))
        objects = zip(*(index.split(counts) for index, counts in
                        zip(matching.by_image(matching.target), matching.counts)))
        compare = self._at_pixels if self.num_points is None else self._at_points
        return compare(zip(masks, objects), targets).unbind(1)

    def _at_points(self, layers: Iterable[Matched], targets: Sequence[SegTargets]) -> Tensor:
        """Both sums of each layer, (L, 2), at points that are drawn for every mask."""
        wanted_masks = [BinaryMasks(target.clip_masks.flatten(0, 1)) for target in targets]  # (N * T, H, W)
        frames = targets[0].clip_masks.shape[1]
        terms = []
        for layer, (logits, index) in enumerate(layers):
            logits = join([part.flatten(0, 1) for part in logits])  # (n * T, h, w) of all images
            points = uncertain_points(logits.detach(), self.num_points, self.oversample_ratio, self.importance_ratio,
                                      layer, self.draw)
            sampled = sample_logits(logits, points)
            wanted = sample_objects(wanted_masks, frames, index, points, sampled.dtype)
            terms.append(self._terms(sampled, wanted))
        return torch.stack(terms)

    def _at_pixels(self, layers: Iterable[Matched], targets: Sequence[SegTargets]) -> Tensor:
        """Both sums of each layer, (L, 2), at every pixel of the padded input.

        Masks of that size exist for ``PIXELS`` at a time and are made again in the backward pass.
        """
        return torch.stack([
            sum(checkpoint(self._whole, part, target.clip_masks, rows, use_reentrant=False, preserve_rng_state=False)
                for image, objects, target in zip(logits, index, targets)
                for part, rows in zip(*(whole.split(max(1, PIXELS // target.clip_masks.shape[1:].numel()))
                                        for whole in (image, objects))))
            for logits, index in layers
        ])

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


def sample_objects(masks: Sequence[BinaryMasks], frames: int, index: Sequence[Tensor], points: Tensor,
                   dtype: torch.dtype) -> Tensor:
    """What is wanted at points (M * T, P, 2) of the objects ``index``, (n,) of each image: (M * T, P)."""
    sampled = []
    for image, objects, where in zip(masks, index, points.split([frames * len(objects) for objects in index])):
        rows = (objects[:, None] * frames + torch.arange(frames, device=objects.device)).flatten()
        sampled.append(image.sample(rows, where, dtype))
    return join(sampled)


def wanted_classes(logits: Tensor, matching: Matching, targets: Sequence[SegTargets]) -> Tensor:
    """The class that every query is to predict, (L, B, Q); C, no-object, for those without a pair."""
    classes = torch.full(logits.shape[:3], logits.shape[-1] - 1, device=logits.device)
    labels = torch.cat([t.labels[index] for t, index in zip(targets, matching.by_image(matching.target))])
    classes[matching.layer, matching.batch, matching.query] = labels
    return classes


def matched_masks(predictions: MaskPredictions, matching: Matching) -> list[Tensor]:
    """Mask logits of the matched queries only: for each image (R of it, T, h, w).

    One product for all layers of an image. No rows still carry the graph of every parameter.
    """
    embeds = torch.stack(predictions.mask_embeds)[matching.layer, matching.batch, matching.query]
    return [contract(*pair) for pair in zip(matching.by_image(embeds), predictions.mask_features)]


def at_least_float32(predictions: MaskPredictions) -> MaskPredictions:
    def widen(x: Tensor) -> Tensor:
        return x.to(torch.promote_types(x.dtype, torch.float32))

    return MaskPredictions([widen(x) for x in predictions.class_logits], [widen(x) for x in predictions.mask_embeds],
                           widen(predictions.mask_features), predictions.boxes)


def average_over_workers(values: Tensor) -> Tensor:
    """Mean of each value over all workers, in one exchange."""
    if get_world_size() > 1:
        all_reduce(values, op='mean')
    return values
