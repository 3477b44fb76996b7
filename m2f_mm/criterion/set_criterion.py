"""Predictions and targets in, a dict of losses out (Mask2Former, section 3.2.1 and 3.3).

Shapes: L supervised predictions, B images, Q queries, C classes, D mask channels, M matched pairs, P points, T frames.
"""
from collections.abc import Sequence

import torch
from mmengine.dist import all_reduce, get_world_size
from torch import Tensor, nn

from m2f_mm.structures import MaskPredictions, SegTargets, contract

from .assigner import HungarianAssigner, Matching
from .losses import class_loss, dice_loss, mask_loss
from .points import RandomPoints, sample_binary_masks, sample_logits, uncertain_points


class SetCriterion(nn.Module):
    """Deep supervision of every prediction, each with a matching of its own, in float32 even inside autocast.

    Both normalisers, the number of masks and the sum of class weights, are averaged over all workers, so that several
    workers learn what one would learn from the joint batch. The official code does so for the masks only; with one
    worker there is no difference.

    Args:
        assigner: finds the pairs.
        class_weight: weight of each class in the cross-entropy, C + 1 numbers, the last for no-object.
        loss_class, loss_mask, loss_dice: weights of the three terms.
        num_points: P, points per mask.
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
                 num_points: int = 12544,
                 oversample_ratio: float = 3.0,
                 importance_ratio: float = 0.75,
                 draw: RandomPoints | None = None):
        super().__init__()
        if oversample_ratio < 1 or not 0 <= importance_ratio <= 1:
            raise ValueError('oversample_ratio must be at least 1 and importance_ratio in 0..1, got '
                             f'{oversample_ratio} and {importance_ratio}')
        self.assigner = assigner
        self.register_buffer('class_weight', torch.tensor(class_weight, dtype=torch.float32), persistent=False)
        self.loss_weights = dict(loss_cls=loss_class, loss_mask=loss_mask, loss_dice=loss_dice)
        self.num_points = num_points
        self.oversample_ratio = oversample_ratio
        self.importance_ratio = importance_ratio
        self.draw = draw or RandomPoints()

    def forward(self, predictions: MaskPredictions, targets: Sequence[SegTargets]) -> dict[str, Tensor]:
        """Weighted losses ``loss_cls, loss_mask, loss_dice`` of the last prediction and ``d{i}.loss_...`` of the
        auxiliary ones, d0 made before the first decoder layer."""
        with torch.autocast(predictions.mask_features.device.type, enabled=False):
            predictions = at_least_float32(predictions)
            matchings = self.assigner(predictions, targets, self.draw)
            labels = torch.cat([target.labels for target in targets])
            masks = torch.cat([target.clip_masks for target in targets])  # (N of the batch, T, H, W)
            classes = torch.stack([self._classes(predictions, m, labels) for m in matchings])  # (L, B, Q)
            weights = self.class_weight.to(predictions.mask_features.dtype)
            sums = weights[classes].flatten(1).sum(1)  # (L,)
            num_masks, *weight_sums = average_over_workers(torch.cat((sums.new_full((1,), len(labels)), sums)))
            num_masks = num_masks.clamp(min=1)
            losses = {}
            for layer, matching in enumerate(matchings):
                logits, points, wanted = self._points(predictions, layer, matching, masks)
                sampled = sample_logits(logits, points)
                terms = dict(
                    loss_cls=class_loss(predictions.class_logits[layer], classes[layer], weights, weight_sums[layer]),
                    loss_mask=mask_loss(sampled, wanted, num_masks),
                    loss_dice=dice_loss(sampled, wanted, num_masks))
                prefix = '' if layer == predictions.num_layers - 1 else f'd{layer}.'
                losses.update({prefix + name: self.loss_weights[name] * value for name, value in terms.items()})
        return losses

    @staticmethod
    def _classes(predictions: MaskPredictions, matching: Matching, labels: Tensor) -> Tensor:
        """The class that every query is to predict, (B, Q); C for those without a pair."""
        no_object = predictions.class_logits[0].shape[-1] - 1
        classes = labels.new_full(predictions.class_logits[0].shape[:2], no_object)
        classes[matching.batch, matching.query] = labels[matching.target]
        return classes

    def _points(self, predictions: MaskPredictions, layer: int, matching: Matching,
                masks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of the matched masks (M * T, h, w), the points where they are compared (M * T, P, 2), and what is
        wanted there (M * T, P)."""
        logits = matched_masks(predictions, layer, matching).flatten(0, 1)
        points = uncertain_points(logits.detach(), self.num_points, self.oversample_ratio, self.importance_ratio,
                                  layer, self.draw)
        frames = masks.shape[1]
        index = (matching.target[:, None] * frames + torch.arange(frames, device=masks.device)).flatten()
        return logits, points, sample_binary_masks(masks.flatten(0, 1), index, points, logits.dtype)


def matched_masks(predictions: MaskPredictions, layer: int, matching: Matching) -> Tensor:
    """Mask logits of the matched queries only, (M, T, h, w); zero rows still carry the graph of every parameter."""
    embeds = predictions.mask_embeds[layer][matching.batch, matching.query].split(matching.counts)
    masks: list[Tensor] = [contract(e, features) for e, features in zip(embeds, predictions.mask_features)]
    return torch.cat(masks)


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
