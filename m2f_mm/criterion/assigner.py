"""Optimal assignment of queries to objects (Mask2Former, section 3.2.1; MaskFormer, section 3.2).

Shapes: L supervised predictions, B images, Q queries, C classes, N objects of one image, P points, T frames.
"""
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from m2f_mm.registry import TASK_UTILS
from m2f_mm.structures import MaskPredictions, SegTargets

from .points import BinaryMasks, RandomPoints


@dataclass
class Matching:
    """The matched pairs of all predictions: image after image, in it layer after layer, in that queries ascending.

    Args:
        layer, batch, query: prediction, image and query of each pair, int64 (R,).
        target: its object, counted within the image, int64 (R,).
        counts: pairs by image and layer; known on the host, so nobody has to ask the device.
    """
    layer: Tensor
    batch: Tensor
    query: Tensor
    target: Tensor
    counts: list[list[int]]

    def by_image(self, pairs: Tensor) -> tuple[Tensor, ...]:
        """Split something with one row for each pair, (R, ...)."""
        return pairs.split([sum(counts) for counts in self.counts])


@TASK_UTILS.register_module(name='MaskHungarianAssigner')
class HungarianAssigner:
    """Bipartite matching by class probability, binary cross-entropy and dice at random points.

    The costs of all predictions and images go to the host in one transfer, and the pairs come back in one.

    Args:
        class_weight, mask_weight, dice_weight: weights of the three costs.
        num_points: P, drawn once per image and prediction.
    """

    def __init__(self,
                 class_weight: float = 2.0,
                 mask_weight: float = 5.0,
                 dice_weight: float = 5.0,
                 num_points: int = 12544):
        self.class_weight = class_weight
        self.mask_weight = mask_weight
        self.dice_weight = dice_weight
        self.num_points = num_points

    @torch.no_grad()
    def __call__(self, predictions: MaskPredictions, targets: Sequence[SegTargets], draw: RandomPoints) -> Matching:
        """At most min(Q, N) pairs for each image and prediction.

        Raises:
            FloatingPointError: where a prediction or a cost is not finite; names layer and image.
            ValueError: where a label is no class of the model; names image and label.
        """
        costs = self.costs(predictions, targets, draw)
        sums = prediction_sums(predictions)
        flat = torch.cat([sums.flatten()] + [cost.flatten() for layer in costs for cost in layer]).cpu().numpy()
        if not np.isfinite(flat).all():
            explain_non_finite(flat[:sums.numel()].reshape(sums.shape), costs, targets, predictions)
        return self._solve(flat[sums.numel():], costs, predictions.mask_features.device)

    def costs(self, predictions: MaskPredictions, targets: Sequence[SegTargets],
              draw: RandomPoints) -> list[list[Tensor]]:
        """The (Q, N) cost matrix of every prediction and image, L x B of them."""
        device = predictions.mask_features.device
        points = [draw.matching(layer, len(targets), self.num_points, device)
                  for layer in range(predictions.num_layers)]
        probabilities = torch.stack(predictions.class_logits).softmax(-1)  # (L, B, Q, C + 1)
        labels = [target.labels.clamp(0, probabilities.shape[-1] - 2) for target in targets]
        masks = [BinaryMasks(target.clip_masks.flatten(0, 1)) for target in targets]  # (N * T, H, W)
        unknown = [known != target.labels for known, target in zip(labels, targets)]
        costs = []
        for layer, logits in enumerate(predictions.samples(points)):  # (B, Q, T * P)
            costs.append([])
            for b, target in enumerate(targets):
                index = torch.arange(target.clip_masks.shape[:2].numel(), device=device)
                wanted = masks[b].sample(index, points[layer][b:b + 1], logits.dtype)
                wanted = wanted.view(len(target), logits.shape[-1])  # (N, T * P)
                cost = (self.mask_weight * mask_cost(logits[b], wanted) +
                        self.dice_weight * dice_cost(logits[b], wanted) -
                        self.class_weight * probabilities[layer, b][:, labels[b]])
                costs[-1].append(cost.masked_fill_(unknown[b], float('inf')))  # found out after the transfer
        return costs

    @staticmethod
    def _solve(flat: np.ndarray, costs: list[list[Tensor]], device: torch.device) -> Matching:
        """SciPy's assignment for every cost matrix, in the order in which they were flattened."""
        pairs, start = [[] for _ in costs[0]], 0
        for layer, matrices in enumerate(costs):
            for b, cost in enumerate(matrices):
                queries, objects = linear_sum_assignment(flat[start:start + cost.numel()].reshape(cost.shape))
                pairs[b].append(np.stack(np.broadcast_arrays(layer, b, queries, objects)))
                start += cost.numel()
        packed = torch.from_numpy(np.concatenate([pair for image in pairs for pair in image], axis=1))
        counts = [[pair.shape[1] for pair in image] for image in pairs]
        return Matching(*packed.to(device, non_blocking=True), counts)


def mask_cost(logits: Tensor, wanted: Tensor) -> Tensor:
    """Mean binary cross-entropy of every pair: logits (Q, P), wanted (N, P) give (Q, N).

    BCE(x, t) = softplus(x) - x t for every t in 0..1, so one product of matrices is enough.
    """
    return (F.softplus(logits).sum(-1, keepdim=True) - logits @ wanted.T) / logits.shape[-1]


def dice_cost(logits: Tensor, wanted: Tensor) -> Tensor:
    """Dice loss of every pair, with 1 added above and below: logits (Q, P), wanted (N, P) give (Q, N)."""
    probabilities = logits.sigmoid()
    both = probabilities @ wanted.T
    either = probabilities.sum(-1)[:, None] + wanted.sum(-1)
    return 1 - (2 * both + 1) / (either + 1)


def prediction_sums(predictions: MaskPredictions) -> Tensor:
    """Sums of class logits, mask embeddings and mask features, (L, 3, B): not finite if any of their numbers is not."""
    logits, embeds = (torch.stack(layers).flatten(2).sum(2) for layers in
                      (predictions.class_logits, predictions.mask_embeds))
    features = predictions.mask_features.flatten(1).sum(1)
    return torch.stack((logits, embeds, features.expand_as(logits)), 1)


def layer_name(layer: int, num_layers: int) -> str:
    """``d0`` is the prediction before the first decoder layer."""
    return 'the last layer' if layer == num_layers - 1 else f'layer d{layer}'


def explain_non_finite(sums: np.ndarray, costs: list[list[Tensor]], targets: Sequence[SegTargets],
                       predictions: MaskPredictions) -> None:
    """Raise the error that names the first cause; called only when something is known to be wrong."""
    num_classes = predictions.class_logits[0].shape[-1] - 1
    for b, target in enumerate(targets):
        wrong = target.labels[(target.labels < 0) | (target.labels >= num_classes)]
        if wrong.numel():
            raise ValueError(f'{image_name(b, target)} has the label {int(wrong[0])}, but the model has {num_classes} '
                             f'classes (labels 0 to {num_classes - 1}). Compare the class counts of the head with the '
                             'classes in the metainfo of the data set')
    for layer in range(len(costs)):
        where = layer_name(layer, len(costs))
        for b, target in enumerate(targets):
            for part, value in zip(('class logits', 'mask embeddings', 'mask features'), sums[layer, :, b]):
                if not np.isfinite(value):
                    raise FloatingPointError(
                        f'The {part} of {where} are not finite for {image_name(b, target)}. The training has diverged '
                        'or the input is broken: look at the learning rate, at fp16 (bf16 has more range) and at the '
                        'image')
            if not costs[layer][b].isfinite().all():
                raise FloatingPointError(f'The matching cost of {where} is not finite for {image_name(b, target)}, '
                                         'though the predictions are. Their values are too large for float32')


def image_name(index: int, target: SegTargets) -> str:
    return f'image {index} of the batch' + (f' ({target.name})' if target.name else '')
