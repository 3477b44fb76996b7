"""Deformable sampling as products with sparse matrices, for CPUs.

Bilinear sampling reads the four pixels around a point. For each of the four there is a matrix with one row for every
query and head, and in it L K entries: attention weight times bilinear factor, at the pixels of that row's points. The
samples themselves, (B, M, D, N, K) of every level, never exist, and nothing but the arguments is kept for the
backward pass, as in mmcv's CUDA operator.

Shapes: B images, N queries, V value tokens of all levels, M heads, D channels of a head, L levels, K points.
"""
import math
import warnings
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from scipy.sparse import csr_matrix
from torch import Tensor

from m2f_mm.bilinear import neighbours

ENTRIES = 2**19  # of a sparse matrix at once; what fits into the caches is faster, too


class SparseSampling(torch.autograd.Function):
    """``SparseSampling.apply(value, locations, weights, spatial_shapes)``; arguments as in ``sample_levels``."""

    @staticmethod
    def forward(ctx, value: Tensor, locations: Tensor, weights: Tensor,
                spatial_shapes: tuple[tuple[int, int], ...]) -> Tensor:
        ctx.save_for_backward(value, locations, weights)
        ctx.spatial_shapes = spatial_shapes
        table = value.reshape(-1, value.shape[-1])
        result = value.new_zeros(*weights.shape[:3], value.shape[-1])
        for part in _pieces(weights, ENTRIES):
            for index, across, down, _, _ in corners(locations[:, part], spatial_shapes):
                entries = weights[:, part] * across * down
                result[:, part] += F.embedding_bag(_rows(index), table, mode='sum',
                                                   per_sample_weights=_rows(entries)).view_as(result[:, part])
        return result.flatten(2)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        value, locations, weights = ctx.saved_tensors
        table = value.reshape(-1, value.shape[-1])  # (B * V * M, D)
        grad = grad.unflatten(-1, value.shape[2:])  # (B, N, M, D)
        grad_table, grad_weights = torch.zeros_like(table), torch.zeros_like(weights)
        grad_locations = torch.zeros_like(locations)
        for part in _pieces(weights, 4 * ENTRIES):  # every piece costs a pass over the table
            dense, weight = grad[:, part].flatten(0, 2), weights[:, part]
            grad_weight, (grad_x, grad_y) = grad_weights[:, part], grad_locations[:, part].unbind(-1)
            for index, across, down, slope_x, slope_y in corners(locations[:, part], ctx.spatial_shapes):
                factors = across * down
                grad_table += transposed_product(_rows(index), _rows(weight * factors), dense, len(table))
                dots = row_products(dense, table, _rows(index)).view(weight.shape)
                grad_weight.addcmul_(dots, factors)
                dots *= weight
                grad_x.addcmul_(dots, down * slope_x)
                grad_y.addcmul_(dots, across * slope_y)
        return grad_table.view(value.shape), grad_locations, grad_weights, None


def _pieces(weights: Tensor, entries: int) -> list[slice]:
    """Queries that are sampled at once, so that no matrix has more than ``entries`` entries."""
    batch, queries, *rest = weights.shape
    step = max(1, entries // (batch * math.prod(rest)))
    return [slice(start, start + step) for start in range(0, queries, step)]


def corners(locations: Tensor, spatial_shapes: tuple[tuple[int, int], ...]) -> Iterator[tuple]:
    """The four pixels around every location (B, N, M, L, K, 2), one after the other.

    Yields:
        For all locations, (B, N, M, L, K): the row of the pixel in the values seen as (B * V * M, D), int32; its
        factors in x and in y, zero outside of the level; and the derivatives of the two factors by the location.
    """
    batch, _, heads, _, points, _ = locations.shape
    sizes = torch.tensor(spatial_shapes, dtype=torch.int32)
    height, width = sizes.repeat_interleave(points, 0).T.contiguous()  # (L * K,): long runs are fast
    tokens = sizes.prod(1)
    start = (tokens.cumsum(0) - tokens).repeat_interleave(points) + tokens.sum() * torch.arange(batch).view(-1, 1, 1, 1)
    head = torch.arange(heads).view(-1, 1)
    offset = (start * heads + head).int()  # (B, 1, M, L * K)
    x, y = locations.flatten(-3, -2).unbind(-1)  # (B, N, M, L * K)
    across_unit, down_unit = width.to(x.dtype), height.to(x.dtype)
    columns, rows = neighbours(x * width - 0.5, width), neighbours(y * height - 0.5, height)
    for (row, down, inside_y), sign_y in zip(rows, (-1, 1)):
        row = row * (width * heads) + offset
        for (column, across, inside_x), sign_x in zip(columns, (-1, 1)):
            index = torch.add(row, column, alpha=heads)
            slopes = (torch.where(inside_x, sign_x * across_unit, 0), torch.where(inside_y, sign_y * down_unit, 0))
            yield tuple(part.view(locations.shape[:-1]) for part in (index, across, down, *slopes))


def _rows(entries: Tensor) -> Tensor:
    """(B, N, M, L, K) as the entries of a sparse matrix with one row for every query and head."""
    return entries.flatten(0, 2).flatten(1)


def transposed_product(index: Tensor, entries: Tensor, dense: Tensor, size: int) -> Tensor:
    """S^T dense, where row i of S has ``entries[i]`` in the columns ``index[i]``.

    Args:
        index, entries: (R, J).
        dense: (R, D).
        size: columns of S.

    Returns:
        (size, D).
    """
    matrix = csr_matrix((entries.flatten().numpy(), index.flatten().numpy(), _starts(index).numpy()),
                        (len(index), size))
    return torch.from_numpy(matrix.T @ dense.numpy())


def row_products(left: Tensor, right: Tensor, index: Tensor) -> Tensor:
    """``left[i] . right[index[i, j]]`` for every i, j: (R, D) and (S, D) at index (R, J) give (R, J)."""
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', 'Sparse CSR tensor support is in beta state')
        pattern = torch.sparse_csr_tensor(_starts(index), index.flatten(), left.new_zeros(index.numel()),
                                          (len(left), len(right)), check_invariants=False)
        return torch.sparse.sampled_addmm(pattern, left, right.T).values().view(index.shape)


def _starts(index: Tensor) -> Tensor:
    return torch.arange(0, index.numel() + 1, index.shape[1], dtype=index.dtype)
