"""Training with the masks of all queries made, as other implementations have it: the same network and criterion, but
every layer's masks exist at the size of the mask features, and matching and losses look into them.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor

from m2f_mm.criterion import Matching, set_criterion, terms
from m2f_mm.structures import MaskPredictions

widened = set_criterion.at_least_float32  # before another takes its place there


@dataclass
class MadePredictions(MaskPredictions):
    """``MaskPredictions`` with the masks computed at once: (B, Q, h, w) of each layer."""

    masks: list[Tensor] = field(init=False)

    def __post_init__(self):
        self.masks = [torch.einsum('bqc,bchw->bqhw', embeds, self.mask_features[:, 0]) for embeds in self.mask_embeds]

    @torch.no_grad()
    def samples(self, points: Iterable[Tensor]) -> Iterator[Tensor]:
        for masks, where in zip(self.masks, points):
            yield F.grid_sample(masks, 2 * where[:, None] - 1, align_corners=False)[:, :, 0]


def make_all(predictions: MaskPredictions) -> MadePredictions:
    """All masks of the matched queries and of the noised ones."""
    denoising = predictions.denoising and make_all(predictions.denoising)
    wide = widened(replace(predictions, denoising=None))
    features = features_with_one(wide)
    layers = [replace(layer, mask_features=features) for layer in wide]
    return MadePredictions(layers, wide.selected, denoising, wide.groups)


def features_with_one(predictions: MaskPredictions) -> Tensor:
    """With a channel of ones where the embeddings have a constant."""
    features = predictions.mask_features
    if predictions.mask_embeds[0].shape[-1] == features.shape[2]:
        return features
    return torch.cat((features, torch.ones_like(features[:, :, :1])), 2)


def picked_masks(predictions: MadePredictions, matching: Matching) -> Iterator[list[Tensor]]:
    """Those of the pairs, layer after layer, of each image (n, 1, h, w)."""
    queries = zip(*(image.split(counts) for image, counts in zip(matching.by_image(matching.query), matching.counts)))
    for masks, images in zip(predictions.masks, queries):
        yield [masks[b][query][:, None] for b, query in enumerate(images)]


@contextmanager
def full_masks() -> Iterator[None]:
    """Every criterion makes all masks while this lasts."""
    with (
        patch.object(set_criterion, 'at_least_float32', make_all),
        patch.object(terms, 'matched_masks', picked_masks),
    ):
        yield
