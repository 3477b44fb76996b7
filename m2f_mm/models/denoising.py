"""Noised objects as further queries of a training step (DN-DETR, section 4; Mask DINO, section 3.3).

Shapes: B images, E channels, C classes, G groups, M the largest number of objects of an image, N of all.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from m2f_mm.structures import SegTargets

from .transformer_decoders.mask_dino import inverse_sigmoid


class RandomNoise:
    """Every random draw of denoising comes from here, so that a test can replay recorded ones. Objects are counted
    image after image, and all of them group after group."""

    def chance(self, count: int, device: torch.device) -> Tensor:
        """(count,) in 0..1: a label is replaced where this is small."""
        return torch.rand(count, device=device)

    def labels(self, replaced: Tensor, num_classes: int) -> Tensor:
        """int64 (count,): a label for each object; those that are not replaced go unused."""
        return torch.randint(num_classes, replaced.shape, device=replaced.device)

    def boxes(self, count: int, device: torch.device) -> Tensor:
        """(count, 4) in 0..1: the shift of centre and size; 0.5 is none, 0 and 1 are the largest."""
        return torch.rand(count, 4, device=device)


class NoisedQueries(NamedTuple):
    """Queries made of objects whose labels and boxes are noised; they learn to restore the objects.

    Args:
        content: (B, G * M, E); zero where an image has no object.
        reference_logits: boxes (B, G * M, 4) before the sigmoid; zero likewise.
        groups: G.
    """

    content: Tensor
    reference_logits: Tensor
    groups: int

    def mask(self, num_queries: int) -> Tensor:
        """bool (1, 1, G * M + Q, G * M + Q), true where attention is allowed: queries of a group attend to
        the group and to the Q matching queries, which attend to each other alone."""
        number = self.content.shape[1]
        group = torch.arange(number, device=self.content.device) // (number // self.groups)
        group = torch.cat((group, group.new_full((num_queries,), self.groups)))
        same = group[:, None] == group
        return (same | (group == self.groups))[None, None]


def noised_queries(
    targets: Sequence[SegTargets], embedding: nn.Embedding, budget: int, scale: float, draw: RandomNoise
) -> NoisedQueries | None:
    """As many groups of queries as ``budget`` allows; None without objects, or where one group is larger than it.

    Args:
        targets: of the images of the batch, with boxes.
        embedding: of C labels.
        budget: largest number of queries.
        scale: of the noise: a label is replaced with half this chance, a box moves by up to this share of its size.
        draw: source of the random numbers.
    """
    counts = [len(target) for target in targets]
    largest = max(counts)
    groups = budget // largest if largest else 0
    if not groups:
        return None
    labels = torch.cat([target.labels for target in targets]).repeat(groups)
    boxes = torch.cat([target.boxes for target in targets if target.boxes is not None]).repeat(groups, 1)
    replaced = draw.chance(len(labels), labels.device) < 0.5 * scale
    labels = torch.where(replaced, draw.labels(replaced, embedding.num_embeddings), labels)
    reach = torch.cat((boxes[:, 2:] / 2, boxes[:, 2:]), 1)
    boxes = (boxes + (draw.boxes(len(boxes), boxes.device) * 2 - 1) * reach * scale).clamp(0, 1)
    batch, slot = noised_indices(counts, groups).to(labels.device, non_blocking=True)
    content = embedding.weight.new_zeros(len(counts), groups * largest, embedding.embedding_dim)
    reference = boxes.new_zeros(len(counts), groups * largest, 4)
    content = content.index_put((batch, slot), embedding(labels))
    reference = reference.index_put((batch, slot), inverse_sigmoid(boxes))
    return NoisedQueries(content, reference, groups)


def noised_indices(counts: Sequence[int], groups: int) -> Tensor:
    """Image and slot of every noised object, int64 (2, groups * N), in the order of ``RandomNoise``."""
    batch = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    slot = torch.cat([torch.arange(count) for count in counts])
    slots = max(counts) * torch.arange(groups)[:, None] + slot
    return torch.stack((batch.expand(groups, -1), slots)).flatten(1)
