"""Deformable sampling as products with sparse matrices, for CPUs.

Bilinear sampling reads the four pixels around a point. For each of the four there is a matrix with one row for every
query and head, and in it L K entries: attention weight times bilinear factor, at the pixels of that row's points. The
samples themselves, (B, M, D, N, K) of every level, never exist, and nothing but the arguments is kept for the
backward pass, as in mmcv's CUDA operator.

Shapes: B images, N queries, V value tokens of all levels, M heads, D channels of a head, L levels, K points.
"""

import math
import warnings

import torch
import torch.nn.functional as F
from scipy.sparse import csr_matrix
from torch import Tensor

from m2f_mm.bilinear import axis_taps

ENTRIES = 2**21  # of a sparse matrix at once; what fits into the caches is faster, too


class SparseSampling(torch.autograd.Function):
    """``SparseSampling.apply(value, locations, weights, spatial_shapes)``; arguments as in ``sample_levels``."""

    @staticmethod
    def forward(
        ctx, value: Tensor, locations: Tensor, weights: Tensor, spatial_shapes: tuple[tuple[int, int], ...]
    ) -> Tensor:
        """See ``sample_levels``; keeps values, locations and weights for the backward pass."""
        ctx.save_for_backward(value, locations, weights)
        ctx.spatial_shapes = spatial_shapes
        table = value.reshape(-1, value.shape[-1])
        result = value.new_empty(*weights.shape[:3], value.shape[-1])
        for part in _pieces(weights, ENTRIES):
            corners = Corners(locations[:, part], spatial_shapes)
            result[:, part] = F.embedding_bag(
                corners.matrix(corners.index),
                table,
                mode='sum',
                per_sample_weights=corners.matrix(corners.entries(weights[:, part])),
            ).view_as(result[:, part])
        return result.flatten(2)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """Gradients of values, locations and weights."""
        value, locations, weights = ctx.saved_tensors
        table = value.reshape(-1, value.shape[-1])  # (B * V * M, D)
        grad = grad.unflatten(-1, value.shape[2:])  # (B, N, M, D)
        grad_table, grad_weights = torch.zeros_like(table), torch.empty_like(weights)
        grad_locations = torch.empty_like(locations)
        for part in _pieces(weights, ENTRIES):
            corners = Corners(locations[:, part], ctx.spatial_shapes)
            index, dense, weight = corners.matrix(corners.index), grad[:, part].flatten(0, 2), weights[:, part]
            grad_table += transposed_product(index, corners.matrix(corners.entries(weight)), dense, len(table))
            pixels = row_products(dense, table, index).view(corners.index.shape)
            grad_weights[:, part], *slopes = (each.view(weight.shape) for each in corners.sample(pixels))
            for axis, slope in enumerate(slopes):
                torch.mul(slope, weight, out=grad_locations[:, part, ..., axis])
        return grad_table.view(value.shape), grad_locations, grad_weights, None


def _pieces(weights: Tensor, entries: int) -> list[slice]:
    """Queries that are sampled at once, so that no matrix has more than ``entries`` entries."""
    batch, queries, *rest = weights.shape
    step = max(1, entries // (4 * batch * math.prod(rest)))
    return [slice(start, start + step) for start in range(0, queries, step)]


class Corners:
    """The four pixels around every location (B, N, M, L, K, 2); below, J = L K.

    Whatever belongs to single pixels has the shape (B, N, M, 2, 2, J): the upper and the lower, of these the left and
    the right.

    Attributes:
        index: the row of each pixel in the values seen as (B * V * M, D), int32.
    """

    def __init__(self, locations: Tensor, spatial_shapes: tuple[tuple[int, int], ...]):
        batch, _, heads, _, points, _ = locations.shape
        sizes = torch.tensor(spatial_shapes, dtype=torch.int32)
        height, width = sizes.repeat_interleave(points, 0).T.contiguous()  # (J,): long runs are fast
        tokens = sizes.prod(1)
        start = (tokens.cumsum(0) - tokens).repeat_interleave(points) + tokens.sum() * torch.arange(batch).view(
            -1, 1, 1, 1
        )
        offset = (start * heads + torch.arange(heads).view(-1, 1)).int()  # (B, 1, M, J)
        x, y = locations.flatten(-3, -2).unbind(-1)  # (B, N, M, J)
        columns, rows = axis_taps(x * width - 0.5, width), axis_taps(y * height - 0.5, height)
        self.index = offset.new_empty(*x.shape[:3], 2, 2, x.shape[3])
        for i, (row, _, _) in enumerate(rows):
            row = row * (width * heads) + offset
            for j, (column, _, _) in enumerate(columns):
                self.index[..., i, j, :] = torch.add(row, column, alpha=heads)
        self.size = width.to(x.dtype), height.to(x.dtype)
        self.across, self.down = (
            [(factor, inside.to(x.dtype)) for _, factor, inside in axis] for axis in (columns, rows)
        )

    @staticmethod
    def matrix(pixels: Tensor) -> Tensor:
        """(B, N, M, 2, 2, J) as the entries of a sparse matrix with one row for every query and head."""
        return pixels.flatten(0, 2).flatten(1)

    def entries(self, weights: Tensor) -> Tensor:
        """What each pixel counts in the sum over points with ``weights`` (B, N, M, L, K); zero outside of the level."""
        result = weights.new_empty(self.index.shape)
        weights = weights.flatten(-2)
        for i, (down, _) in enumerate(self.down):
            weighted = weights * down
            for j, (across, _) in enumerate(self.across):
                result[..., i, j, :] = weighted * across
        return result

    def sample(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Bilinear sample of values at the pixels, and its derivatives by the location's x and y: (B, N, M, J) each."""
        (left, inside_left), (right, inside_right) = self.across
        sampled = by_x = by_y = torch.zeros((), dtype=pixels.dtype)
        for line, (down, inside), sign in zip(pixels.unbind(-3), self.down, (-1, 1)):
            first, second = line.unbind(-2)
            along = (first * left).addcmul_(second, right)
            sampled = torch.addcmul(sampled, along, down)
            by_x = torch.addcmul(by_x, (second * inside_right).addcmul_(first, inside_left, value=-1), down)
            by_y = torch.addcmul(by_y, along, inside, value=sign)
        width, height = self.size
        return sampled, by_x * width, by_y * height


def transposed_product(index: Tensor, entries: Tensor, dense: Tensor, size: int) -> Tensor:
    """S^T dense, where row i of S has ``entries[i]`` in the columns ``index[i]``.

    Args:
        index: columns, (R, J).
        entries: (R, J).
        dense: (R, D).
        size: columns of S.

    Returns:
        (size, D).
    """
    matrix = csr_matrix(
        (entries.flatten().numpy(), index.flatten().numpy(), _starts(index).numpy()), (len(index), size)
    )
    return torch.from_numpy(matrix.T @ dense.numpy())


def row_products(left: Tensor, right: Tensor, index: Tensor) -> Tensor:
    """``left[i] . right[index[i, j]]`` for every i, j: (R, D) and (S, D) at index (R, J) give (R, J)."""
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', 'Sparse CSR tensor support is in beta state')
        pattern = torch.sparse_csr_tensor(
            _starts(index),
            index.flatten(),
            left.new_zeros(index.numel()),
            (len(left), len(right)),
            check_invariants=False,
        )
        torch.sparse.sampled_addmm(pattern, left, right.T, out=pattern)
        return pattern.values().view(index.shape)


def _starts(index: Tensor) -> Tensor:
    return torch.arange(0, index.numel() + 1, index.shape[1], dtype=index.dtype)
