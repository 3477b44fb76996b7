"""Which query of a window is which track of the video so far.

A query of one window and one of the next are the same object where their vectors are alike (MinVIS, section 3.2) and,
in the frames that both windows have, their masks.

Shapes: Q queries and tracks, E channels of a query, D mask channels, O frames that two windows share, h x w the mask
features.
"""

from typing import Protocol

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn.functional import normalize

from m2f_mm.mask_ops import mask_logits_from


class Associator(Protocol):
    """A strategy of joining windows; holds what it needs of the window before, in the order of the tracks."""

    def order(self, queries: Tensor, mask_embeds: Tensor, overlap: Tensor) -> Tensor:
        """The query of each track, int64 (Q,).

        Args:
            queries: of the new window, (Q, E).
            mask_embeds: (Q, D).
            overlap: mask features of the frames that the window before has, too, (O, D, h, w).

        Raises:
            FloatingPointError: the costs are not finite.
        """

    def remember(self, queries: Tensor, mask_embeds: Tensor, overlap: Tensor) -> None:
        """Hold what the next call of ``order`` needs.

        Args:
            queries: as for ``order``, in the order of the tracks.
            mask_embeds: as for ``order``, in the order of the tracks.
            overlap: mask features of the frames that the next window will have, too.
        """


class CosineAssociator:
    """The assignment with the largest sum of cosine similarities of the queries (MinVIS)."""

    def __init__(self) -> None:
        self.queries: Tensor | None = None  # (Q, E)

    def order(self, queries: Tensor, mask_embeds: Tensor, overlap: Tensor) -> Tensor:
        """As ``Associator.order``; the device is waited for once."""
        if self.queries is None:
            return torch.arange(len(queries), device=queries.device)
        cost = self.cost(queries, mask_embeds, overlap).cpu().numpy()
        if not np.isfinite(cost).all():
            raise FloatingPointError('the costs of associating queries with tracks are not finite')
        return torch.from_numpy(linear_sum_assignment(cost)[1]).to(queries.device)

    def cost(self, queries: Tensor, mask_embeds: Tensor, overlap: Tensor) -> Tensor:
        """Of each track (rows) and query, (Q, Q)."""
        assert self.queries is not None
        return 1 - cosine_similarity(self.queries, queries)

    def remember(self, queries: Tensor, mask_embeds: Tensor, overlap: Tensor) -> None:
        """As ``Associator.remember``."""
        self.queries = queries


class CosineIoUAssociator(CosineAssociator):
    """Cosine similarity of the queries plus IoU of the masks in the frames that two windows share, if there are any.

    Args:
        mask_weight: of the IoU.
    """

    def __init__(self, mask_weight: float = 1.0) -> None:
        super().__init__()
        self.mask_weight = mask_weight
        self.overlap_masks: Tensor | None = None  # bool (Q, O, h, w)

    def cost(self, queries: Tensor, mask_embeds: Tensor, overlap: Tensor) -> Tensor:
        """Of each track (rows) and query, (Q, Q)."""
        cost = super().cost(queries, mask_embeds, overlap)
        if not len(overlap):
            return cost
        assert self.overlap_masks is not None
        iou = mask_iou(self.overlap_masks[:, -len(overlap) :], low_res_masks(mask_embeds, overlap))
        return cost + self.mask_weight * (1 - iou)

    def remember(self, queries: Tensor, mask_embeds: Tensor, overlap: Tensor) -> None:
        """As ``Associator.remember``."""
        super().remember(queries, mask_embeds, overlap)
        self.overlap_masks = low_res_masks(mask_embeds, overlap)


def cosine_similarity(a: Tensor, b: Tensor) -> Tensor:
    """Cosine of the vectors (n, E) and (m, E): (n, m)."""
    with torch.autocast(a.device.type, enabled=False):
        return normalize(a.float(), dim=-1) @ normalize(b.float(), dim=-1).T


def low_res_masks(embeds: Tensor, features: Tensor) -> Tensor:
    """Masks at the size of the features (T, D, h, w), bool (Q, T, h, w), computed a frame at a time."""
    masks = features.new_empty((len(embeds), len(features), *features.shape[-2:]), dtype=torch.bool)
    for t in range(len(features)):
        masks[:, t] = mask_logits_from(embeds, features[t : t + 1])[:, 0] > 0
    return masks


def mask_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU of masks over all frames, bool (n, T, h, w) and (m, T, h, w): (n, m); 0 where both are empty."""
    intersection = torch.zeros(len(a), len(b), device=a.device)
    with torch.autocast(a.device.type, enabled=False):  # numbers of pixels are too large for half precision
        for x, y in zip(a.unbind(1), b.unbind(1)):
            intersection += x.flatten(1).float() @ y.flatten(1).float().T
    areas = [masks.flatten(1).sum(1).float() for masks in (a, b)]
    return intersection / (areas[0][:, None] + areas[1] - intersection).clamp(min=1)
