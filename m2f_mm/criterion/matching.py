"""Which query learns which object."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from m2f_mm.structures import SegTargets


@dataclass
class Matching:
    """The pairs of queries and objects of all predictions: image after image, in it layer after layer.

    Shapes: R pairs.

    Args:
        layer, batch, query: prediction, image and query of each pair, int64 (R,).
        target: its object, counted within the image, int64 (R,).
        counts: pairs by image and layer; on the host, so that no size has to be read from the device.
    """

    layer: Tensor
    batch: Tensor
    query: Tensor
    target: Tensor
    counts: list[list[int]]

    def select_images(self, selected: Sequence[bool]) -> 'Matching':
        """The pairs of the selected images alone."""
        if all(selected):
            return self

        def select(pairs: Tensor) -> Tensor:
            return torch.cat([rows for rows, keep in zip(self.by_image(pairs), selected) if keep] or [pairs[:0]])

        counts = [counts if keep else [0] * len(counts) for counts, keep in zip(self.counts, selected)]
        return Matching(select(self.layer), select(self.batch), select(self.query), select(self.target), counts)

    def by_image(self, pairs: Tensor) -> tuple[Tensor, ...]:
        """Split a tensor with one row for each pair, (R, ...)."""
        return pairs.split([sum(counts) for counts in self.counts])

    def objects_by_layer(self) -> list[tuple[Tensor, ...]]:
        """Of each layer and image the objects of its pairs, int64 (n,)."""
        return list(zip(*(rows.split(counts) for rows, counts in zip(self.by_image(self.target), self.counts))))


def known_matching(
    num_layers: int, num_queries: int, groups: int, targets: Sequence[SegTargets], device: torch.device
) -> Matching:
    """The pairs of groups of queries whose objects are known (DN-DETR, section 4): query n of every group is object n.

    Args:
        num_layers: supervised predictions, L.
        num_queries: of all groups; of an image with fewer objects than a group has queries, the last have no object.
        groups: how many.
        targets: of each image.
        device: of the pairs.
    """
    group_size = num_queries // groups
    pairs, counts = [], []
    for b, target in enumerate(targets):
        layers, group, objects = np.indices((num_layers, groups, len(target)))
        queries = group * group_size + objects
        pairs.append(np.stack((layers, np.full_like(layers, b), queries, objects)).reshape(4, -1))
        counts.append([groups * len(target)] * num_layers)
    layer, batch, query, index = torch.from_numpy(np.concatenate(pairs, 1)).to(device, non_blocking=True)
    return Matching(layer, batch, query, index, counts)
