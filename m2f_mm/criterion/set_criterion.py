"""Predictions and targets in, a dict of losses out (MaskFormer, section 3.2; Mask2Former, sections 3.2.1 and 3.3).

Shapes: L supervised predictions, B images, Q queries, C classes.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from mmengine.dist import all_reduce, get_world_size
from torch import Tensor, nn

from m2f_mm.deprecation import renamed_arguments, renamed_value
from m2f_mm.gradients import with_zero_gradients
from m2f_mm.structures import LayerPrediction, MaskPredictions, SegTargets

from .assigner import HungarianAssigner
from .checks import target_name
from .losses import MASK_LOSSES, OLD_MASK_TERMS
from .matching import Matching, known_matching
from .points import RandomPoints, TargetMasks
from .terms import BoxTerms, CrossEntropyTerm, FocalTerm, LossTerm, MaskTerms, QueryGroup, Step


class SetCriterion(nn.Module):
    """Deep supervision of every prediction, each with a matching of its own, in float32 even inside autocast.

    The losses are a list of terms (``terms.py``), each of which skips queries whose predictions it has no use for: a
    model that predicts boxes alone has no losses of masks. They are computed for groups of queries: the matched ones,
    and those whose objects are known (denoising).

    All normalisers, the numbers of objects and of masks and the sum of class weights, are averaged over all workers, so
    that several workers learn what one would learn from the joint batch. The official code does so for the masks only;
    with one worker there is no difference.

    An image of which only boxes are known has no part in the losses of masks, which are means over the objects that
    have masks.

    Args:
        assigner: finds the pairs of queries and objects.
        class_weight: weight of each class in the cross-entropy, C + 1 numbers, the last for no-object. None makes it
            the focal loss of C classes, over the number of objects (Mask DINO).
        loss_class, loss_mask, loss_dice: weights of the three losses.
        mask_term: what ``loss_mask`` is, 'bce' or 'focal'.
        num_points: P, points per mask (Mask2Former); None for every pixel of the padded input (MaskFormer).
        oversample_ratio: candidates for uncertain points, as a multiple of P.
        importance_ratio: share of P that is selected by uncertainty.
        draw: source of the random points.
        loss_l1, loss_giou: weights of the L1 distance and generalised IoU of boxes; both 0 for no such losses.
        box_classes: only objects of the classes below this number learn their boxes; None for all.
        denoise_masks: queries with known objects learn masks, too, not only classes and boxes.

    Raises:
        ValueError: an option has no such value.
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
        weight = None if class_weight is None else torch.tensor(class_weight, dtype=torch.float32)
        self.class_weight: Tensor | None
        self.register_buffer('class_weight', weight, persistent=False)
        self.class_term = FocalTerm() if weight is None else CrossEntropyTerm()
        self.mask_terms = MaskTerms(
            MASK_LOSSES[mask_term], num_points, oversample_ratio, importance_ratio, known_objects=denoise_masks
        )
        self.box_terms = BoxTerms(box_classes) if loss_l1 or loss_giou else None
        self.loss_weights = dict(loss_cls=loss_class, loss_mask=loss_mask, loss_dice=loss_dice)
        if self.box_terms is not None:
            self.loss_weights.update(loss_bbox=loss_l1, loss_iou=loss_giou)
        self.draw = draw or RandomPoints()

    @property
    def terms(self) -> list[LossTerm]:
        """Computed for every group of queries, in this order."""
        terms: list[LossTerm] = [self.class_term, self.mask_terms]
        return terms if self.box_terms is None else [*terms, self.box_terms]

    def forward(
        self, predictions: MaskPredictions, targets: Sequence[SegTargets], matching: Matching | None = None
    ) -> dict[str, Tensor]:
        """
        Args:
            predictions: of all supervised layers.
            targets: of the images.
            matching: the assignment, where it is known; otherwise the assigner finds it.

        Returns:
            Weighted losses ``loss_cls``, ``loss_mask``, ``loss_dice``, with boxes ``loss_bbox``, ``loss_iou``, of the
            last prediction, and ``d{i}.loss_...`` of those before, d0 the first; ``enc_loss_...`` of selected tokens
            and ``dn_loss_...`` of noised objects, as MMDetection's DINO has them.

        Raises:
            ValueError: a target lacks masks or boxes, or has a label that is no class of the model.
            FloatingPointError: a prediction is not finite.
        """
        with torch.autocast(predictions.device.type, enabled=False):
            predictions = at_least_float32(predictions)
            self._check(targets, predictions)
            masks = TargetMasks(targets)
            if matching is None:
                matching = self.assigner(predictions, targets, self.draw, masks)
            groups = [self._group(predictions, matching, targets)]
            denoising = predictions.denoising
            if denoising is not None:
                num_queries = denoising.class_logits[0].shape[1]
                known = known_matching(len(denoising), num_queries, predictions.groups, targets, denoising.device)
                groups.append(
                    self._group(denoising, known, targets, predictions.groups, first_layer=len(predictions), known=True)
                )
            step = self._step(groups[0], masks)
            losses: dict[str, Tensor] = {}
            for group in groups:
                losses.update(self._group_losses(group, step, len(predictions) - predictions.selected))
        return {
            name: self.loss_weights['loss_' + name.rpartition('loss_')[2]] * value for name, value in losses.items()
        }

    def _check(self, targets: Sequence[SegTargets], predictions: MaskPredictions) -> None:
        """Raise where a target has boxes alone and the model learns none, or where boxes are learned and missing."""
        for b, target in enumerate(targets):
            if target.masks is None and self.box_terms is None and predictions.mask_features is not None:
                raise ValueError(
                    f'{target_name(b, target)} has boxes but no masks, and this model learns no boxes. '
                    'Load the masks, or give loss_bbox and loss_iou a weight'
                )
            if target.boxes is None and self.box_terms is not None:
                raise ValueError(f'{target_name(b, target)} has no boxes: SegTargets.with_boxes() makes them of masks')

    def _group(
        self,
        predictions: MaskPredictions,
        matching: Matching,
        targets: Sequence[SegTargets],
        copies: int = 1,
        first_layer: int = 0,
        known: bool = False,
    ) -> QueryGroup:
        classes = class_targets(predictions, matching, targets, no_object=self.class_weight is not None)
        sums = None
        if self.class_weight is not None:
            sums = self.class_weight.to(predictions.class_logits[0].dtype)[classes].flatten(1).sum(1)  # (L,)
        return QueryGroup(predictions, matching, classes, sums, copies, first_layer, known)

    def _step(self, matched: QueryGroup, masks: TargetMasks) -> Step:
        """What all groups share. Averages the normalisers over the workers, but for the class weights of queries with
        known objects: the number of their groups differs between workers."""
        num_objects = sum(len(target) for target in masks.targets)
        num_masks = sum(len(target) for target in masks.targets if target.masks is not None)
        like = matched.predictions.class_logits[0]
        normalisers = [like.new_full((1,), num_objects), like.new_full((1,), num_masks)]
        if matched.class_weight_sums is not None:
            normalisers.append(matched.class_weight_sums)
        averaged = average_over_workers(torch.cat(normalisers))
        if matched.class_weight_sums is not None:
            matched.class_weight_sums = averaged[2:]
        counts = averaged[:2].clamp(min=1)
        return Step(masks, self.class_weight, counts[0], counts[1], self.draw)

    def _group_losses(self, group: QueryGroup, step: Step, num_predictions: int) -> dict[str, Tensor]:
        losses: dict[str, Tensor] = {}
        for term in self.terms:
            if term.applies(group):
                losses.update(term(group, step))
        if self.box_terms is None and group.predictions.boxes is not None:
            losses['loss_cls'] = with_zero_gradients(losses['loss_cls'], *group.predictions.boxes)
        selected = group.predictions.selected
        return losses_by_name(
            losses, len(group.predictions), num_predictions, 'dn_' if group.known else '', bool(selected)
        )


def class_targets(
    predictions: MaskPredictions, matching: Matching, targets: Sequence[SegTargets], no_object: bool
) -> Tensor:
    """The class that every query learns, int64 (L, B, Q). Those without a pair have C, the last of C + 1 logits with
    ``no_object``, and none of C logits without."""
    logits = predictions.class_logits[-1]
    background = logits.shape[-1] - no_object
    classes = torch.full((len(predictions), *logits.shape[:2]), background, device=logits.device)
    labels = torch.cat(
        [target.class_targets(background)[index] for target, index in zip(targets, matching.by_image(matching.target))]
    )
    classes[matching.layer, matching.batch, matching.query] = labels
    return classes


def losses_by_name(
    losses: dict[str, Tensor], num_layers: int, num_predictions: int, prefix: str, selected: bool
) -> dict[str, Tensor]:
    """The losses of each layer under the names that are logged: ``loss_mask`` of the last layer, ``d{i}.loss_mask`` of
    the others, ``enc_loss_mask`` of selected tokens.

    Args:
        losses: of ``num_layers`` layers, the first of them of selected tokens if ``selected``.
        num_layers: supervised predictions of this group of queries, L.
        num_predictions: supervised predictions of the decoder; where there are fewer layers, the first are missing.
        prefix: before ``loss``.
        selected: whether the first layer is of selected tokens.
    """
    start = num_predictions - num_layers + selected
    layers = ['enc_'] * selected + [f'd{i}.{prefix}' for i in range(start, num_predictions - 1)] + [prefix]
    return {
        layer + name: value
        for layer, values in zip(layers, zip(*losses.values()))
        for name, value in zip(losses, values)
    }


def at_least_float32(predictions: MaskPredictions) -> MaskPredictions:
    """The predictions of all layers in float32 or wider."""
    widened: dict[int, Tensor] = {}  # by identity: layers share their mask features

    def widen(x: Tensor | None) -> Tensor | None:
        if x is None:
            return None
        if id(x) not in widened:
            widened[id(x)] = x.to(torch.promote_types(x.dtype, torch.float32))
        return widened[id(x)]

    def widen_layer(layer: LayerPrediction) -> LayerPrediction:
        logits = layer.class_logits
        return LayerPrediction(
            logits.to(torch.promote_types(logits.dtype, torch.float32)),
            widen(layer.mask_embeds),
            widen(layer.mask_features),
            widen(layer.boxes),
        )

    return replace(
        predictions,
        layers=[widen_layer(layer) for layer in predictions],
        denoising=None if predictions.denoising is None else at_least_float32(predictions.denoising),
    )


def average_over_workers(values: Tensor) -> Tensor:
    """Mean of each value over all workers, in one exchange."""
    if get_world_size() > 1:
        all_reduce(values, op='mean')
    return values
