"""Points at which masks are compared, and masks that are sampled there (PointRend; Mask2Former, section 3.3)."""

import itertools
from collections.abc import Sequence
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from m2f_mm.bilinear import to_pixel_coords
from m2f_mm.structures import SegTargets


class RandomPoints:
    """The source of every random point of a training step; a test can replay recorded ones.

    All coordinates are x, y in 0..1 of the padded image, float32. ``layer`` is the index of the supervised
    prediction; it matters to a replay only.
    """

    def matching(self, layer: int, batch: int, num_points: int, device: torch.device) -> Tensor:
        """(B, num_points, 2): the points at which one image is matched, shared by its queries and objects."""
        return torch.rand(batch, num_points, 2, device=device)

    def candidates(self, layer: int, num_masks: int, num_points: int, device: torch.device) -> Tensor:
        """(num_masks, num_points, 2): points among which the uncertain ones are selected."""
        return torch.rand(num_masks, num_points, 2, device=device)

    def uniform(self, layer: int, num_masks: int, num_points: int, device: torch.device) -> Tensor:
        """(num_masks, num_points, 2): points that are used as they are."""
        return torch.rand(num_masks, num_points, 2, device=device)


def sample_logits(masks: Tensor, points: Tensor) -> Tensor:
    """Bilinear samples of float masks (M, h, w) at points (M, P, 2), zero outside: (M, P).

    The points have no gradient, and the masks are not saved for the backward pass.
    """
    return _PointSamples.apply(masks, points.to(masks.dtype))


def _grid_samples(masks: Tensor, points: Tensor) -> Tensor:
    return F.grid_sample(masks[:, None], (2 * points).sub_(1)[:, :, None], align_corners=False)[:, 0, :, 0]


class _PointSamples(torch.autograd.Function):
    """``F.grid_sample`` without saving its input, which only a gradient of the points would need."""

    @staticmethod
    def forward(ctx, masks: Tensor, points: Tensor) -> Tensor:
        ctx.save_for_backward(points)
        ctx.shape = masks.shape
        return _grid_samples(masks, points)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        with torch.enable_grad():  # sampling is linear: any masks of this shape have the same gradient
            masks = grad.new_zeros(ctx.shape, requires_grad=True)
            sampled = _grid_samples(masks, *ctx.saved_tensors)
        (gradient,) = torch.autograd.grad(sampled, masks, grad)
        return gradient, None


class BinaryMasks:
    """Binary masks that are sampled many times, without a float copy of any.

    The four pixels around a point are the bits of one number, so a sample reads memory once.

    Args:
        masks: bool (N, H, W).
    """

    def __init__(self, masks: Tensor):
        number, height, width = masks.shape
        self.size = height, width
        # Entry (i, j) has the pixels (i - 2, j - 2) to (i - 1, j - 1); what lies outside of the masks is zero.
        self.quads = masks.new_zeros((number, height + 3, width + 3), dtype=torch.uint8)
        for bit, (row, column) in enumerate(itertools.product((2, 1), (2, 1))):
            self.quads[:, row : row + height, column : column + width].add_(masks.view(torch.uint8), alpha=2**bit)

    def sample(self, index: Tensor, points: Tensor, dtype: torch.dtype) -> Tensor:
        """What ``sample_logits(masks[index].to(dtype), points)`` gives.

        Args:
            index: which mask each row of points belongs to, (M,).
            points: (M, P, 2), or (1, P, 2) for points that all rows share.
            dtype: float type of the result.

        Returns:
            (M, P), in 0..1.
        """
        x, y = to_pixel_coords(points, self.size, dtype)
        quads = self._quads_around(index, x, y)
        right, lower = (coord.sub_(coord.floor()) for coord in (x, y))
        sampled = torch.zeros((), dtype=dtype, device=quads.device)
        for bit, (down, across) in enumerate(itertools.product((1 - lower, lower), (1 - right, right))):
            sampled = torch.where((quads & 2**bit).bool(), across * down, 0).add_(sampled)
        return sampled

    def _quads_around(self, index: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """The four pixels around pixel coordinates (M, P) or (1, P), uint8 (M, P)."""
        height, width = self.size
        column, row = (coord.floor().int().clamp_(-2, length).add_(2) for coord, length in ((x, width), (y, height)))
        entry = torch.add(column, row, alpha=width + 3) + index[:, None] * ((height + 3) * (width + 3))
        return self.quads.flatten().index_select(0, entry.flatten()).view(entry.shape)


class TargetMasks:
    """The masks of a step's targets, packed when they are first sampled, once for matching and losses.

    Args:
        targets: of each image.
    """

    def __init__(self, targets: Sequence[SegTargets]):
        self.targets = targets

    @cached_property
    def packed(self) -> list[BinaryMasks]:
        """Of each image (N * T, H, W); no masks where only boxes are known."""
        return [BinaryMasks(target.clip_masks.flatten(0, 1)) for target in self.targets]


@torch.no_grad()
def uncertain_points(
    masks: Tensor, num_points: int, oversample_ratio: float, importance_ratio: float, layer: int, draw: RandomPoints
) -> Tensor:
    """Points where predictions are least certain, plus uniform ones (PointRend, section 3.3 "training").

    Of ``oversample_ratio * num_points`` candidates per mask the ``importance_ratio * num_points`` with the smallest
    absolute logit are used; the rest are new uniform ones.

    Args:
        masks: predicted logits (M, h, w).
        num_points: P.
        oversample_ratio: candidates as a multiple of P.
        importance_ratio: share of P that is chosen by uncertainty.
        layer: index of the prediction, for ``draw``.
        draw: source of the points.

    Returns:
        (M, P, 2), without gradient.
    """
    num_masks = masks.shape[0]
    num_uncertain = int(importance_ratio * num_points)
    points = []
    if num_uncertain > 0:
        candidates = draw.candidates(layer, num_masks, int(oversample_ratio * num_points), masks.device)
        points.append(least_certain(masks, candidates, num_uncertain, at_once=num_points))
        del candidates
    if num_uncertain < num_points:
        points.append(draw.uniform(layer, num_masks, num_points - num_uncertain, masks.device))
    return torch.cat(points, 1)


def least_certain(masks: Tensor, candidates: Tensor, number: int, at_once: int) -> Tensor:
    """The candidates with the smallest absolute logits, (M, number, 2).

    Args:
        masks: logits (M, h, w).
        candidates: points (M, P', 2) of each mask, as x, y in 0..1.
        number: of points that are chosen for each mask.
        at_once: candidates of each mask that are sampled together; sampling takes more memory than its result.
    """
    certainty = masks.new_empty(candidates.shape[:2])
    for part, points in zip(certainty.split(at_once, 1), candidates.split(at_once, 1)):
        torch.abs(sample_logits(masks, points), out=part)
    index = certainty.topk(number, dim=1, largest=False, sorted=False).indices
    return candidates.gather(1, index[..., None].expand(-1, -1, 2))
