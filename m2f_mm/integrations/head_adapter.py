"""What the heads for MMDetection and MMSegmentation have in common beside their network."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from m2f_mm.criterion import SetCriterion
from m2f_mm.models.mask_transformer import MaskNetwork
from m2f_mm.structures import MaskPredictions, SegTargets


def height_width(shape: Sequence[int]) -> tuple[int, int]:
    """Of a shape (H, W, ...), as samples and tensors have it."""
    return shape[0], shape[1]


class HeadAdapter(MaskNetwork):
    """A network with a criterion. Adapters have no constructor: a head makes ``parts`` of its options, constructs the
    network of them, and attaches the rest (``parts.Parts``). It *is* the network, so that parameters have MMDetection's
    names.
    """

    criterion: SetCriterion
    class_names: tuple[str, ...] | None

    def losses(self, feats: Sequence[Tensor], targets: Sequence[SegTargets], **options: Any) -> dict[str, Tensor]:
        """Losses by name, see ``SetCriterion``.

        Args:
            feats: of the backbone, fine to coarse.
            targets: of each image or clip.
            **options: of the network's forward pass.
        """
        if self.predicts_boxes:
            targets = [target.with_boxes() for target in targets]
        return self.criterion(self(feats, targets=targets, **options), targets)


def stock_outputs(predictions: MaskPredictions) -> tuple[list[Tensor], ...]:
    """What the stock heads' ``forward`` gives: of every layer class logits (B, Q, C + 1) and mask logits (B, Q, h, w),
    those of a clip (B, Q, T, h, w); and boxes (B, Q, 4) where there are any."""
    parts = [predictions.class_logits]
    if predictions.mask_features is not None:
        masks = [torch.stack(predictions.mask_logits(layer)) for layer in range(predictions.num_layers)]
        parts.append([mask[:, :, 0] for mask in masks] if predictions.mask_features.shape[1] == 1 else masks)
    if predictions.boxes is not None:
        parts.append(predictions.boxes)
    return tuple(parts)
