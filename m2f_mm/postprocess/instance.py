"""Instance segmentation from mask predictions (Mask2Former's official inference).

Shapes: Q queries, K results, C classes, D mask channels, h x w the mask features, H x W the output.
"""
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from m2f_mm.structures import contract

from .tiles import Sizes, bands


@dataclass
class Instances:
    """K instances of one image, in no order.

    Args:
        scores: class probability times mean probability of the mask's pixels, (K,).
        labels: (K,).
        masks: bool (K, H, W).
        boxes: tight boxes of the masks (K, 4) as x0, y0, x1, y1 in output pixels, x1 and y1 exclusive; zero for an
            empty mask.
    """
    scores: Tensor
    labels: Tensor
    masks: Tensor
    boxes: Tensor


def instance_segmentation(class_logits: Tensor,
                          mask_embeds: Tensor,
                          mask_features: Tensor,
                          sizes: Sizes,
                          max_per_image: int = 100,
                          is_thing: Sequence[bool] | None = None) -> Instances:
    """The best (query, class) pairs with their masks; a query may appear with several classes.

    Args:
        class_logits: (Q, C + 1), the last is no-object.
        mask_embeds: (Q, D).
        mask_features: (1, D, h, w).
        sizes: of padded input, image and output.
        max_per_image: pairs chosen; all Q * C where there are fewer.
        is_thing: for each class; pairs of other classes are dropped after the choice.
    """
    num_classes = class_logits.shape[-1] - 1
    probabilities = class_logits.softmax(-1)[:, :-1].flatten()
    scores, index = probabilities.topk(min(max_per_image, len(probabilities)), sorted=False)
    labels, queries = index % num_classes, index.div(num_classes, rounding_mode='floor')
    if is_thing is not None:
        things = torch.tensor(is_thing, dtype=torch.bool, device=labels.device)[labels]
        scores, labels, queries = scores[things], labels[things], queries[things]
    unique, inverse = queries.unique(return_inverse=True)  # each mask is made once

    masks = torch.zeros(len(unique), *sizes.output, dtype=torch.bool, device=scores.device)
    inside = torch.zeros(len(unique), dtype=torch.float64, device=scores.device)  # float64: bands add up exactly enough
    area = torch.zeros_like(inside)
    for rows, logits in bands(contract(mask_embeds[unique], mask_features)[:, 0], sizes):
        band = logits > 0
        masks[:, rows] = band
        inside += (logits.sigmoid_() * band).flatten(1).sum(1)
        area += band.flatten(1).sum(1)
    quality = (inside / (area + 1e-6)).to(scores.dtype)
    return Instances(scores * quality[inverse], labels, masks[inverse], mask_boxes(masks)[inverse])


def mask_boxes(masks: Tensor) -> Tensor:
    """Tight boxes of bool masks (K, H, W) as x0, y0, x1, y1 with x1, y1 exclusive, float32 (K, 4)."""
    boxes = []
    for along in (1, 2):  # columns, then rows
        used = masks.any(along).to(torch.uint8)
        first = used.argmax(1)
        last = used.shape[1] - used.flip(1).argmax(1)
        boxes.append(torch.stack((first, last), 1) * used.any(1, keepdim=True))
    return torch.stack(boxes, 2).flatten(1).float()
