"""Mask logits at output size, a tile at a time: some rows of some queries.

Masks are predicted at a quarter of the padded input. The official code makes and resizes all of them to the padded
size, crops the padding, and resizes again to the output. Here the product that makes a mask and the same two bilinear
resizes are made for as many queries and output rows as fit a budget, so memory grows neither with the queries nor with
the height of the image.

Results do not depend on the budget, to the last bit. The rounding of a matrix product may change with its shape, so
products have one shape, whatever the tile: ``FEATURE_ROWS`` rows of the features, and blocks of ``ROWS`` rows and
``QUERIES`` queries. Everything else is elementwise (``sigmoid_`` says what that takes) or a sum along one row.

Shapes: n queries, D mask channels, h x w the mask features, H x W the output, q queries and r rows of a tile.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import floor

import torch
import torch.nn.functional as F
from torch import Tensor

from m2f_mm.mask_ops import mask_logits_from

TILE_BYTES = dict(cpu=8 * 2**20, cuda=64 * 2**20)  # what a cache holds; what keeps a GPU busy
FEATURE_ROWS = 2
ROWS = 8  # every tile but the last has a multiple of this many rows
QUERIES = 100  # as many as the published models have
MARGIN = 0.01  # of a row


@dataclass(frozen=True)
class Sizes:
    """The (height, width) of the stages that an image goes through.

    Args:
        padded: network input, padding included.
        image: its part that is image.
        output: of the results, usually the size of the file.
    """

    padded: tuple[int, int]
    image: tuple[int, int]
    output: tuple[int, int]


class Blocks:
    """Rows of maps out of consecutive blocks, each computed when it is needed and dropped once passed.

    Args:
        blocks: (n, rows, width) each, from the top.
    """

    def __init__(self, blocks: Iterator[Tensor]):
        self.blocks = blocks
        self.held: list[Tensor] = []
        self.start = self.stop = 0  # rows in ``held``

    def __call__(self, start: int, stop: int) -> Tensor:
        """Rows ``start`` to ``stop - 1``; ``start`` never decreases from call to call."""
        self._drop(start)
        while self.stop < stop:
            self.held.append(next(self.blocks))
            self.stop += self.held[-1].shape[1]
            self._drop(start)
        rows = torch.cat(self.held, 1) if len(self.held) > 1 else self.held[0]
        return rows[:, start - self.start : stop - self.start]

    def _drop(self, start: int) -> None:
        while self.held and self.start + self.held[0].shape[1] <= start:
            self.start += self.held.pop(0).shape[1]


class RowResize:
    """A bilinear resize of the height, some rows at a time, with PyTorch's coordinates (align_corners false)."""

    def __init__(self, source: int, target: int, device: torch.device):
        self.identity = source == target
        scale = torch.full((), source / target, dtype=torch.float32, device=device)
        position = (scale * (torch.arange(target, dtype=torch.float32, device=device) + 0.5) - 0.5).clamp(min=0)
        self.upper = position.long().clamp(max=source - 1)
        self.lower = (self.upper + 1).clamp(max=source - 1)
        self.weight = (position - self.upper)[:, None]
        self.ratio, self.source = source / target, source

    def needed(self, start: int, stop: int) -> tuple[int, int]:
        """Source rows that targets start..stop - 1 read, with a margin for float32's rounding of positions.

        A position above the first row's centre is clamped to it, and reads the second row, too, with weight 0.
        """
        if self.identity:
            return start, stop
        first, last = (
            max(floor((row + 0.5) * self.ratio - 0.5 + margin), 0)
            for row, margin in ((start, -MARGIN), (stop - 1, MARGIN))
        )
        return first, min(last + 2, self.source)

    def __call__(self, x: Tensor, start: int, stop: int, offset: int) -> Tensor:
        """Targets start..stop - 1 from ``x`` (n, rows, width), whose first row is source row ``offset``."""
        if self.identity:
            return x[:, start - offset : stop - offset]
        weight = self.weight[start:stop].to(x.dtype)
        upper = x.index_select(1, self.upper[start:stop] - offset)
        lower = x.index_select(1, self.lower[start:stop] - offset)
        return upper.mul_(1 - weight).add_(lower.mul_(weight))


def resize_columns(x: Tensor, width: int) -> Tensor:
    """Maps (n, rows, w) resized bilinearly to ``width``; rows stay."""
    if x.shape[-1] == width:
        return x
    return F.interpolate(x[None], (x.shape[1], width), mode='bilinear', align_corners=False)[0]


def tiles(
    embeds: Tensor, features: Tensor, sizes: Sizes, tile_bytes: int | None = None
) -> Iterator[tuple[slice, slice, Tensor]]:
    """Mask logits at output size.

    Args:
        embeds: (n, D).
        features: (1, D, h, w).
        sizes: of padded input, image and output.
        tile_bytes: bound on the size of a tile, which has at least ``ROWS`` rows; by default what suits the device.

    Yields:
        Rows, queries, and their logits, (q, r, W), which may be changed in place. Rows come from the top; for
        each band of rows there is a tile for each chunk of queries, in order.
    """
    if not len(embeds):
        return
    height, width = sizes.output
    mask_height, mask_width = features.shape[-2:]
    chunks = [slice(first, min(first + QUERIES, len(embeds))) for first in range(0, len(embeds), QUERIES)]
    mask_rows = [Blocks(_products(embeds[queries], features)) for queries in chunks]
    to_padded = RowResize(mask_height, sizes.padded[0], features.device)
    to_output = RowResize(sizes.image[0], height, features.device)
    untouched = (mask_height, mask_width) == sizes.padded and sizes.image == sizes.output
    tile_bytes = tile_bytes or TILE_BYTES.get(features.device.type, TILE_BYTES['cuda'])
    for start, stop in _bands(sizes, min(len(embeds), QUERIES), tile_bytes):
        top, bottom = to_output.needed(start, stop)
        first, end = to_padded.needed(top, bottom)
        for queries, rows_of in zip(chunks, mask_rows):
            logits = resize_columns(rows_of(first, end), sizes.padded[1])[..., : sizes.image[1]]
            logits = to_padded(resize_columns(logits, width), top, bottom, first)  # columns first: there are fewer rows
            logits = to_output(logits, start, stop, top)
            yield slice(start, stop), queries, logits.clone() if untouched else logits


def _products(embeds: Tensor, features: Tensor) -> Iterator[Tensor]:
    """Mask logits (q, ``FEATURE_ROWS``, w) at the size of the features, from the top."""
    for row in range(0, features.shape[2], FEATURE_ROWS):
        yield mask_logits_from(embeds, features[:, :, row : row + FEATURE_ROWS])[:, 0]


def _bands(sizes: Sizes, queries: int, tile_bytes: int) -> Iterator[tuple[int, int]]:
    """Start and stop of each band of output rows; its rows at the padded size fit the budget, too."""
    height, width = sizes.output
    row_bytes = max(1, queries) * width * 4 * max(1.0, sizes.image[0] / height)
    step = max(1, int(tile_bytes / row_bytes / ROWS)) * ROWS
    for start in range(0, height, step):
        yield start, min(start + step, height)


def logits_type(features: Tensor) -> torch.dtype:
    """Dtype of the mask logits that features give: at least float32."""
    return torch.promote_types(features.dtype, torch.float32)


def sigmoid_(x: Tensor) -> Tensor:
    """The sigmoid in place, with the same rounding at every position.

    On CPU ``torch.sigmoid`` computes the end of a run of memory, and of each thread's part of it, with another function
    than the rest, and the two round differently.
    """
    return x.neg_().exp_().add_(1).reciprocal_() if x.device.type == 'cpu' else x.sigmoid_()


def first_argmax(x: Tensor) -> tuple[Tensor, Tensor]:
    """Largest value along the first axis and its index, the first of equals: a faster ``x.max(0)``.

    On CPU PyTorch reduces the first axis with a vectorized ``amax``, but with a scalar loop for ``max`` and ``argmax``.

    Returns:
        Values and int64 indices.
    """
    best = x.amax(0)
    dtype = torch.uint8 if len(x) <= 256 else torch.int16
    backwards = torch.arange(len(x) - 1, -1, -1, device=x.device).to(dtype)
    hits = (x == best).view(torch.uint8).to(dtype)
    index = hits.mul_(backwards.view(-1, *[1] * (x.dim() - 1))).amax(0)
    return best, len(x) - 1 - index.long()
