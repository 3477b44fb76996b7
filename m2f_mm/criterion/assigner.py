"""Optimal assignment of queries to objects (Mask2Former, section 3.2.1; MaskFormer, section 3.2).

Shapes: L supervised predictions, B images, Q queries, C classes, N objects of one image, P points, T frames.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from m2f_mm.deprecation import renamed_arguments, renamed_value
from m2f_mm.registry import TASK_UTILS
from m2f_mm.structures import MaskPredictions, SegTargets

from .boxes import giou_cost, l1_cost
from .losses import FOCAL_ALPHA, OLD_MASK_TERMS
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

    def of_images(self, kept: Sequence[bool]) -> 'Matching':
        """The pairs of some of the images alone."""
        if all(kept):
            return self
        parts = [
            torch.cat([part for part, keep in zip(self.by_image(pairs), kept) if keep] or [pairs[:0]])
            for pairs in (self.layer, self.batch, self.query, self.target)
        ]
        return Matching(*parts, [counts if keep else [0] * len(counts) for counts, keep in zip(self.counts, kept)])

    def by_image(self, pairs: Tensor) -> tuple[Tensor, ...]:
        """Split something with one row for each pair, (R, ...)."""
        return pairs.split([sum(counts) for counts in self.counts])


@TASK_UTILS.register_module(name='MaskHungarianAssigner')
class HungarianAssigner:
    """Bipartite matching by class, a cost of the masks' pixels, dice, and boxes where the predictions have them.

    The costs of all predictions and images go to the host in one transfer, and the pairs come back in one. Where an
    image has no masks, or the model predicts none, the others decide.

    Args:
        class_weight, mask_weight, dice_weight: weights of the three costs.
        num_points: P, drawn once per image and prediction (Mask2Former); None for every pixel of the mask features,
            with objects taken at the nearest pixel (MaskFormer).
        mask_term: 'bce' or 'focal'.
        l1_weight, giou_weight: weights of the boxes' distance and generalised IoU (Mask DINO).
        class_term: 'probability', of a softmax, or 'focal', of a sigmoid (Mask DINO, whatever its loss).
        no_object: whether the last class logit is no-object.
    """

    @renamed_arguments(box_weight='l1_weight', overlap_weight='giou_weight')
    def __init__(
        self,
        class_weight: float = 2.0,
        mask_weight: float = 5.0,
        dice_weight: float = 5.0,
        num_points: int | None = 12544,
        mask_term: str = 'bce',
        l1_weight: float = 0.0,
        giou_weight: float = 0.0,
        class_term: str = 'probability',
        no_object: bool = True,
    ):
        mask_term = renamed_value('HungarianAssigner: mask_term', mask_term, OLD_MASK_TERMS)
        if mask_term not in MASK_COSTS:
            raise ValueError(f'mask_term must be one of {", ".join(MASK_COSTS)}, got {mask_term!r}')
        if class_term not in CLASS_COSTS:
            raise ValueError(f'class_term must be one of {", ".join(CLASS_COSTS)}, got {class_term!r}')
        self.class_weight = class_weight
        self.mask_weight = mask_weight
        self.dice_weight = dice_weight
        self.num_points = num_points
        self.mask_cost = MASK_COSTS[mask_term]
        self.l1_weight = l1_weight
        self.giou_weight = giou_weight
        self.class_costs = CLASS_COSTS[class_term]
        self.no_object = no_object

    @torch.no_grad()
    def __call__(self, predictions: MaskPredictions, targets: Sequence[SegTargets], draw: RandomPoints) -> Matching:
        """At most min(Q, N) pairs for each image and prediction.

        Raises:
            FloatingPointError: where a prediction or a cost is not finite; names layer and image.
            ValueError: where a label is no class of the model; names image and label.
        """
        costs = self.costs(predictions, targets, draw)
        sums = torch.stack([*prediction_sums(predictions).values()], 1)  # (L, parts, B)
        flat = torch.cat([sums.flatten()] + [cost.flatten() for layer in costs for cost in layer]).cpu().numpy()
        if not np.isfinite(flat).all():
            explain_non_finite(costs, targets, predictions, self._num_classes(predictions), self.no_object)
        return self._solve(flat[sums.numel() :], costs, predictions.device)

    def costs(
        self, predictions: MaskPredictions, targets: Sequence[SegTargets], draw: RandomPoints
    ) -> list[list[Tensor]]:
        """The (Q, N) cost matrix of every prediction and image, L x B of them."""
        class_costs = self.class_costs(torch.stack(predictions.class_logits))  # (L, B, Q, C or C + 1)
        num_classes = self._num_classes(predictions)
        unknown = [unknown_labels(target, num_classes, self.no_object) for target in targets]
        labels = [target.class_targets(num_classes).masked_fill(wrong, 0) for target, wrong in zip(targets, unknown)]
        if predictions.mask_features is None:
            masks = [[None] * len(targets)] * predictions.num_layers
        elif self.num_points is None:
            masks = at_pixels(predictions, targets)
        else:
            masks = at_points(predictions, targets, self.num_points, draw)
        costs = []
        for layer, images in enumerate(masks):
            costs.append([])
            for b, compared in enumerate(images):  # (Q, P), (N, P)
                terms = []
                if compared is not None:
                    terms += [self.mask_weight * self.mask_cost(*compared), self.dice_weight * dice_cost(*compared)]
                terms.append(self.class_weight * class_costs[layer, b][:, labels[b]])
                if self.l1_weight or self.giou_weight:
                    boxes = predictions.boxes[layer][b], targets[b].boxes.to(class_costs.dtype)
                    terms.append(self.l1_weight * l1_cost(*boxes) + self.giou_weight * giou_cost(*boxes))
                costs[-1].append(sum(terms).masked_fill_(unknown[b], float('inf')))  # found out after the transfer
        return costs

    def _num_classes(self, predictions: MaskPredictions) -> int:
        return predictions.class_logits[0].shape[-1] - self.no_object

    @staticmethod
    def _solve(flat: np.ndarray, costs: list[list[Tensor]], device: torch.device) -> Matching:
        """SciPy's assignment for every cost matrix, in the order in which they were flattened."""
        pairs, start = [[] for _ in costs[0]], 0
        for layer, matrices in enumerate(costs):
            for b, cost in enumerate(matrices):
                queries, objects = linear_sum_assignment(flat[start : start + cost.numel()].reshape(cost.shape))
                pairs[b].append(np.stack(np.broadcast_arrays(layer, b, queries, objects)))
                start += cost.numel()
        packed = torch.from_numpy(np.concatenate([pair for image in pairs for pair in image], axis=1))
        counts = [[pair.shape[1] for pair in image] for image in pairs]
        return Matching(*packed.to(device, non_blocking=True), counts)


# For each image what is predicted, (Q, P), and what is wanted, (N, P); None where only boxes are known.
Compared = Iterator[tuple[Tensor, Tensor] | None]


def at_points(
    predictions: MaskPredictions, targets: Sequence[SegTargets], num_points: int, draw: RandomPoints
) -> Iterator[Compared]:
    """Masks of each prediction and image at random points, T * P of them."""
    device = predictions.mask_features.device
    points = [draw.matching(layer, len(targets), num_points, device) for layer in range(predictions.num_layers)]
    frames = predictions.mask_features.shape[1]
    rows = [torch.arange(len(target) * frames, device=device) for target in targets]
    masks = [
        None if target.masks is None else BinaryMasks(target.clip_masks.flatten(0, 1))  # (N * T, H, W)
        for target in targets
    ]
    for logits, where in zip(predictions.samples(points), points):  # (B, Q, T * P), (B, P, 2)
        yield (
            None if known is None else (image, known.sample(index, places, image.dtype).view(-1, image.shape[-1]))
            for image, index, known, places in zip(logits, rows, masks, where.split(1))
        )


def at_pixels(predictions: MaskPredictions, targets: Sequence[SegTargets]) -> Iterator[Compared]:
    """Masks of each prediction and image at every pixel of the mask features, T * h * w of them."""
    size = predictions.mask_features.shape[-2:]
    wanted = [
        None
        if target.masks is None
        else F.interpolate(target.clip_masks.view(torch.uint8), size, mode='nearest').flatten(1)
        for target in targets
    ]
    for layer in range(predictions.num_layers):
        yield (
            None if masks is None else (logits.flatten(1), masks.to(logits.dtype))
            for logits, masks in zip(predictions.mask_logits(layer), wanted)
        )


def probability_cost(logits: Tensor) -> Tensor:
    """Of every class: minus its probability (MaskFormer, section 3.2)."""
    return -logits.softmax(-1)


def focal_class_cost(logits: Tensor) -> Tensor:
    """Of every class: its focal loss if it is the one, less that if it is not (Mask DINO, as Deformable DETR)."""
    probability = logits.sigmoid()
    right = FOCAL_ALPHA * (1 - probability) ** 2 * -(probability + 1e-8).log()
    wrong = (1 - FOCAL_ALPHA) * probability**2 * -(1 - probability + 1e-8).log()
    return right - wrong


CLASS_COSTS = dict(probability=probability_cost, focal=focal_class_cost)


def bce_cost(logits: Tensor, wanted: Tensor) -> Tensor:
    """Mean binary cross-entropy of every pair: logits (Q, P), wanted (N, P) give (Q, N).

    BCE(x, t) = softplus(x) - x t for every t in 0..1, so one product of matrices is enough.
    """
    return (F.softplus(logits).sum(-1, keepdim=True) - logits @ wanted.T) / logits.shape[-1]


def focal_cost(logits: Tensor, wanted: Tensor) -> Tensor:
    """Mean focal loss of every pair, a mixture of its values for 0 and 1 where an object has a share of a point:
    logits (Q, P), wanted (N, P) give (Q, N)."""
    probabilities = logits.sigmoid()
    inside = FOCAL_ALPHA * (1 - probabilities) ** 2 * F.softplus(-logits)
    outside = (1 - FOCAL_ALPHA) * probabilities**2 * F.softplus(logits)
    return ((inside - outside) @ wanted.T + outside.sum(-1, keepdim=True)) / logits.shape[-1]


MASK_COSTS = dict(bce=bce_cost, focal=focal_cost)


def dice_cost(logits: Tensor, wanted: Tensor) -> Tensor:
    """Dice loss of every pair, with 1 added above and below: logits (Q, P), wanted (N, P) give (Q, N)."""
    probabilities = logits.sigmoid()
    both = probabilities @ wanted.T
    either = probabilities.sum(-1)[:, None] + wanted.sum(-1)
    return 1 - (2 * both + 1) / (either + 1)


def prediction_sums(predictions: MaskPredictions) -> dict[str, Tensor]:
    """Sums of whatever is predicted, (L, B) each: not finite if any of its numbers is not."""
    layers = {
        'class logits': predictions.class_logits,
        'mask embeddings': predictions.mask_embeds,
        'boxes': predictions.boxes,
    }
    sums = {name: torch.stack(part).flatten(2).sum(2) for name, part in layers.items() if part}
    if predictions.mask_features is not None:
        sums['mask features'] = torch.cat(
            [features.flatten(1).sum(1).expand(number, -1) for features, number in predictions.feature_runs()]
        )
    return sums


def layer_name(layer: int, predictions: MaskPredictions) -> str:
    """``d0`` is the first prediction of the decoder: MaskFormer's after its first layer, the others' before it."""
    if layer == predictions.num_layers - 1:
        return 'the last layer'
    return f'layer d{layer - predictions.selected}' if layer >= predictions.selected else 'the chosen tokens'


def unknown_labels(target: SegTargets, num_classes: int, no_object: bool) -> Tensor:
    """Which objects have a label that is none of the model's, bool (N,)."""
    negative = (target.class_targets(num_classes) if no_object else target.labels) < 0
    return negative | (target.labels >= num_classes)


def explain_non_finite(
    costs: list[list[Tensor]],
    targets: Sequence[SegTargets],
    predictions: MaskPredictions,
    num_classes: int,
    no_object: bool,
) -> None:
    """Raise the error that names the first cause; called only when something is known to be wrong."""
    for b, target in enumerate(targets):
        wrong = target.labels[unknown_labels(target, num_classes, no_object)]
        if wrong.numel():
            raise ValueError(
                f'{image_name(b, target)} has the label {int(wrong[0])}, but the model has {num_classes} '
                f'classes (labels 0 to {num_classes - 1}). Compare the class counts of the head with the '
                'classes in the metainfo of the data set; of a label map, see that pixels have the number '
                f'of their class; if {int(wrong[0])} is to be ignored: ignore_index={int(wrong[0])}'
            )
        if target.boxes is not None and not target.boxes.isfinite().all():
            raise ValueError(f'{image_name(b, target)} has boxes that are not finite: mend its annotations')
    sums = prediction_sums(predictions)
    for layer in range(len(costs)):
        where = layer_name(layer, predictions)
        for b, target in enumerate(targets):
            for part, values in sums.items():
                if not values[layer, b].isfinite():
                    spoilt = len(targets) > 1 and not values[layer].isfinite().any()  # by one, with batch norm
                    image = image_name(b, target) + (' and every other image of it' if spoilt else '')
                    raise FloatingPointError(
                        f'The {part} of {where} are not finite for {image}. The training has diverged or the input is '
                        'broken: look at the learning rate, at fp16 (bf16 has more range) and at the '
                        f'image{"s" if spoilt else ""}'
                    )
            if not costs[layer][b].isfinite().all():
                raise FloatingPointError(
                    f'The matching cost of {where} is not finite for {image_name(b, target)}, '
                    'though the predictions are. Their values are too large for float32'
                )


def image_name(index: int, target: SegTargets) -> str:
    return f'image {index} of the batch' + (f' ({target.name})' if target.name else '')
