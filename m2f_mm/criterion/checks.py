"""The first cause of costs that are not finite, which stop the matching.

Shapes: L supervised predictions, B images, N objects of an image.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from m2f_mm.structures import MaskPredictions, SegTargets


def prediction_sums(predictions: MaskPredictions) -> dict[str, Tensor]:
    """Sums of each part of the predictions, (L, B): not finite if any of its numbers is not."""
    parts = {
        'class logits': predictions.class_logits,
        'mask embeddings': predictions.mask_embeds,
        'boxes': predictions.boxes,
    }
    sums = {name: torch.stack(layers).flatten(2).sum(2) for name, layers in parts.items() if layers}
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
    """Which objects have a label that is no class of the model, bool (N,)."""
    negative = (target.class_targets(num_classes) if no_object else target.labels) < 0
    return negative | (target.labels >= num_classes)


def raise_first_cause(
    costs: list[list[Tensor]],
    targets: Sequence[SegTargets],
    predictions: MaskPredictions,
    num_classes: int,
    no_object: bool,
) -> None:
    """Raise the error that names the first cause; called only where a cost or a sum is not finite.

    Args:
        costs: (Q, N) of every prediction and image.
        targets: of each image.
        predictions: of the step.
        num_classes: C.
        no_object: whether the last class logit is no-object.

    Raises:
        ValueError: a label is no class of the model, or a target box is not finite.
        FloatingPointError: a prediction or a cost is not finite.
    """
    for b, target in enumerate(targets):
        wrong = target.labels[unknown_labels(target, num_classes, no_object)]
        if wrong.numel():
            raise ValueError(
                f'{target_name(b, target)} has the label {int(wrong[0])}, but the model has {num_classes} '
                f'classes (labels 0 to {num_classes - 1}). Compare the class counts of the head with the '
                'classes in the metainfo of the data set; of a label map, see that pixels have the number '
                f'of their class; if {int(wrong[0])} is to be ignored: ignore_index={int(wrong[0])}'
            )
        if target.boxes is not None and not target.boxes.isfinite().all():
            raise ValueError(f'{target_name(b, target)} has boxes that are not finite: mend its annotations')
    sums = prediction_sums(predictions)
    for layer in range(len(costs)):
        where = layer_name(layer, predictions)
        for b, target in enumerate(targets):
            for part, values in sums.items():
                if not values[layer, b].isfinite():
                    spoilt = len(targets) > 1 and not values[layer].isfinite().any()  # by one, with batch norm
                    image = target_name(b, target) + (' and every other image of it' if spoilt else '')
                    raise FloatingPointError(
                        f'The {part} of {where} are not finite for {image}. The training has diverged or the input is '
                        'broken: look at the learning rate, at fp16 (bf16 has more range) and at the '
                        f'image{"s" if spoilt else ""}'
                    )
            if not costs[layer][b].isfinite().all():
                raise FloatingPointError(
                    f'The matching cost of {where} is not finite for {target_name(b, target)}, '
                    'though the predictions are. Their values are too large for float32'
                )


def target_name(index: int, target: SegTargets) -> str:
    """What an error message calls an image."""
    return f'image {index} of the batch' + (f' ({target.name})' if target.name else '')
