"""Optimal assignment of queries to objects (Mask2Former, section 3.2.1; MaskFormer, section 3.2).

Shapes: L supervised predictions, B images, Q queries, C classes, N objects of one image, P points, T frames.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from m2f_mm.deprecation import renamed_arguments, renamed_value
from m2f_mm.registry import TASK_UTILS
from m2f_mm.structures import MaskPredictions, SegTargets

from .checks import prediction_sums, raise_first_cause, target_name, unknown_labels
from .costs import CLASS_COSTS, MASK_COSTS, dice_cost, giou_cost, l1_cost
from .losses import OLD_MASK_TERMS
from .matching import Matching
from .points import RandomPoints, TargetMasks

MaskPairs = Iterator[tuple[Tensor, Tensor] | None]  # of each image (Q, P) logits, (N, P) targets; None without masks


@TASK_UTILS.register_module(name='MaskHungarianAssigner')
class HungarianAssigner:
    """Bipartite matching by the costs of classes, of masks (their pixels and dice), and of boxes.

    The costs of all predictions and images go to the host in one transfer, and the pairs come back in one. Of an image
    without masks, and where the model predicts none, there are no costs of masks.

    Args:
        class_weight, mask_weight, dice_weight: weights of the three costs.
        num_points: P, drawn once per image and prediction (Mask2Former); None for every pixel of the mask features,
            with objects taken at the nearest pixel (MaskFormer).
        mask_term: 'bce' or 'focal'.
        l1_weight, giou_weight: weights of the L1 distance and generalised IoU of boxes (Mask DINO).
        class_term: 'probability', of a softmax, or 'focal', of a sigmoid (Mask DINO, whatever its loss).
        no_object: whether the last class logit is no-object.

    Raises:
        ValueError: there is no such term.
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
    def __call__(
        self,
        predictions: MaskPredictions,
        targets: Sequence[SegTargets],
        draw: RandomPoints,
        masks: TargetMasks | None = None,
    ) -> Matching:
        """The optimal pairs, min(Q, N) for each image and prediction, by ascending query.

        Args:
            predictions: of all supervised layers.
            targets: of the images.
            draw: source of the random points.
            masks: of the targets, where they are packed for others, too.

        Raises:
            FloatingPointError: a prediction or a cost is not finite; names layer and image.
            ValueError: a label is no class of the model, or a box is missing or not finite; names the image.
        """
        costs = self.costs(predictions, targets, draw, masks)
        sums = torch.stack([*prediction_sums(predictions).values()], 1)  # (L, parts, B)
        flat = torch.cat([sums.flatten()] + [cost.flatten() for layer in costs for cost in layer]).cpu().numpy()
        if not np.isfinite(flat).all():
            raise_first_cause(costs, targets, predictions, self._num_classes(predictions), self.no_object)
        return self._solve(flat[sums.numel() :], costs, predictions.device)

    def costs(
        self,
        predictions: MaskPredictions,
        targets: Sequence[SegTargets],
        draw: RandomPoints,
        masks: TargetMasks | None = None,
    ) -> list[list[Tensor]]:
        """The (Q, N) cost matrix of every prediction and image, L x B of them; arguments as above."""
        class_costs = self.class_costs(torch.stack(predictions.class_logits))  # (L, B, Q, C or C + 1)
        num_classes = self._num_classes(predictions)
        unknown = [unknown_labels(target, num_classes, self.no_object) for target in targets]
        labels = [target.class_targets(num_classes).masked_fill(wrong, 0) for target, wrong in zip(targets, unknown)]
        box_costs = self._box_costs(predictions, targets) if self.l1_weight or self.giou_weight else None
        costs: list[list[Tensor]] = []
        for layer, images in enumerate(self._mask_pairs(predictions, targets, draw, masks)):
            costs.append([])
            for b, pair in enumerate(images):
                cost = self.class_weight * class_costs[layer, b][:, labels[b]]
                if pair is not None:  # (Q, P), (N, P)
                    cost = self.mask_weight * self.mask_cost(*pair) + self.dice_weight * dice_cost(*pair) + cost
                if box_costs is not None:
                    cost = cost + box_costs[layer][b]
                costs[-1].append(cost.masked_fill_(unknown[b], float('inf')))  # reported after the transfer
        return costs

    def _mask_pairs(
        self,
        predictions: MaskPredictions,
        targets: Sequence[SegTargets],
        draw: RandomPoints,
        masks: TargetMasks | None,
    ) -> Iterable[MaskPairs]:
        """What the costs of masks compare, for every prediction."""
        if predictions.mask_features is None:
            return [iter([None] * len(targets)) for _ in predictions]
        if self.num_points is None:
            return pairs_at_pixels(predictions, targets)
        return pairs_at_points(predictions, masks or TargetMasks(targets), self.num_points, draw)

    def _box_costs(self, predictions: MaskPredictions, targets: Sequence[SegTargets]) -> list[list[Tensor]]:
        """Weighted costs (Q, N) of the boxes of every prediction and image."""
        assert predictions.boxes is not None
        boxes: list[Tensor] = []
        for b, target in enumerate(targets):
            if target.boxes is None:
                raise ValueError(f'{target_name(b, target)} has no boxes: SegTargets.with_boxes() makes them of masks')
            boxes.append(target.boxes.to(predictions.class_logits[0].dtype))
        return [
            [self.l1_weight * l1_cost(*pair) + self.giou_weight * giou_cost(*pair) for pair in zip(layer_boxes, boxes)]
            for layer_boxes in predictions.boxes
        ]

    def _num_classes(self, predictions: MaskPredictions) -> int:
        return predictions.class_logits[0].shape[-1] - self.no_object

    @staticmethod
    def _solve(flat: np.ndarray, costs: list[list[Tensor]], device: torch.device) -> Matching:
        """SciPy's assignment for every cost matrix, in the order in which they were flattened."""
        pairs: list[list[np.ndarray]] = [[] for _ in costs[0]]
        start = 0
        for layer, matrices in enumerate(costs):
            for b, cost in enumerate(matrices):
                queries, objects = linear_sum_assignment(flat[start : start + cost.numel()].reshape(cost.shape))
                pairs[b].append(np.stack(np.broadcast_arrays(layer, b, queries, objects)))
                start += cost.numel()
        packed = torch.from_numpy(np.concatenate([pair for image in pairs for pair in image], axis=1))
        layers, batch, query, target = packed.to(device, non_blocking=True)
        counts = [[pair.shape[1] for pair in image] for image in pairs]
        return Matching(layers, batch, query, target, counts)


def pairs_at_points(
    predictions: MaskPredictions, masks: TargetMasks, num_points: int, draw: RandomPoints
) -> Iterator[MaskPairs]:
    """Masks of each prediction and image at random points, T * P of them."""
    assert predictions.mask_features is not None
    device, targets = predictions.mask_features.device, masks.targets
    points = [draw.matching(layer, len(targets), num_points, device) for layer in range(predictions.num_layers)]
    frames = predictions.mask_features.shape[1]
    rows = [torch.arange(len(target) * frames, device=device) for target in targets]
    packed = [None if target.masks is None else image for target, image in zip(targets, masks.packed)]
    for logits, where in zip(predictions.samples(points), points):  # (B, Q, T * P), (B, P, 2)
        yield (
            None if target is None else (image, target.sample(index, xy, image.dtype).view(-1, image.shape[-1]))
            for image, index, target, xy in zip(logits, rows, packed, where.split(1))
        )


def pairs_at_pixels(predictions: MaskPredictions, targets: Sequence[SegTargets]) -> Iterator[MaskPairs]:
    """Masks of each prediction and image at every pixel of the mask features, T * h * w of them."""
    assert predictions.mask_features is not None
    size = predictions.mask_features.shape[-2:]
    masks = [
        None
        if target.masks is None
        else F.interpolate(target.clip_masks.view(torch.uint8), size, mode='nearest').flatten(1)
        for target in targets
    ]
    for layer in range(predictions.num_layers):
        yield (
            None if target is None else (logits.flatten(1), target.to(logits.dtype))
            for logits, target in zip(predictions.mask_logits(layer), masks)
        )
