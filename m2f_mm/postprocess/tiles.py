"""Mask logits at output size, a band of rows at a time.

Masks are predicted at a quarter of the padded input. The official code resizes all of them to the padded size, crops
the padding, and resizes again to the output. Here the same two bilinear resizes are made for as many output rows as
fit a budget, so memory does not grow with the number of queries times the size of the picture.

Shapes: n masks, h x w their own size, H x W the output size.
"""
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

BAND_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Sizes:
    """The (height, width) of the stages that an image goes through.

    Args:
        padded: network input, padding included.
        image: its part that is image.
        output: what the caller wants, usually the size of the file.
    """
    padded: tuple[int, int]
    image: tuple[int, int]
    output: tuple[int, int]


class _Axis:
    """Bilinear interpolation along one axis, with PyTorch's coordinates (align_corners false)."""

    def __init__(self, source: int, target: int, device: torch.device):
        self.identity = source == target
        scale = torch.full((), source / target, dtype=torch.float32, device=device)
        position = (scale * (torch.arange(target, dtype=torch.float32, device=device) + 0.5) - 0.5).clamp(min=0)
        self.low = position.long().clamp(max=source - 1)
        self.high = (self.low + 1).clamp(max=source - 1)
        self.weight = position - self.low
        self.ratio, self.source = source / target, source

    def needed(self, start: int, stop: int) -> tuple[int, int]:
        """Source positions that targets start..stop - 1 read, with one of margin against rounding."""
        if self.identity:
            return start, stop
        first = int((start + 0.5) * self.ratio - 0.5) - 1
        last = int((stop - 0.5) * self.ratio - 0.5) + 2
        return max(first, 0), min(last + 1, self.source)

    def blend(self, x: Tensor, dim: int, start: int, stop: int, offset: int) -> Tensor:
        """Targets start..stop - 1 from ``x``, whose first position along ``dim`` is source position ``offset``."""
        if self.identity:
            return x.narrow(dim, start - offset, stop - start)
        weight = self.weight[start:stop].to(x.dtype)
        weight = weight[:, None] if dim == -2 else weight
        low = x.index_select(dim, self.low[start:stop] - offset)
        high = x.index_select(dim, self.high[start:stop] - offset)
        return low.mul_(1 - weight).add_(high.mul_(weight))


class _Resize:
    """Rows of the bilinear resize of maps from one size to another."""

    def __init__(self, source: tuple[int, int], target: tuple[int, int], device: torch.device):
        self.rows = _Axis(source[0], target[0], device)
        self.columns = _Axis(source[1], target[1], device)
        self.width = target[1]

    def __call__(self, x: Tensor, start: int, stop: int, offset: int) -> Tensor:
        return self.rows.blend(self.columns.blend(x, -1, 0, self.width, 0), -2, start, stop, offset)


def bands(masks: Tensor,
          sizes: Sizes,
          between: Callable[[Tensor], Tensor] | None = None,
          band_bytes: int = BAND_BYTES) -> Iterator[tuple[slice, Tensor]]:
    """Maps at output size, band by band from the top.

    Args:
        masks: (n, h, w) logits.
        sizes: where they go.
        between: turns a band of logits at the padded size, cropped to the image, (n, rows, width) into what is
            resized to the output; nothing by default.
        band_bytes: bound on the size of one band of ``n`` maps.

    Yields:
        The slice of output rows and the maps there, (n, rows, W). The maps may be changed in place.
    """
    height, width = sizes.output
    widest = max(width, sizes.padded[1]) * max(1.0, sizes.image[0] / height)
    step = max(1, int(band_bytes / (max(1, len(masks)) * widest * masks.element_size())))
    to_padded = _Resize(masks.shape[-2:], sizes.padded, masks.device)
    to_output = _Resize(sizes.image, sizes.output, masks.device)
    for start in range(0, height, step):
        stop = min(start + step, height)
        top, bottom = to_output.rows.needed(start, stop)
        low, high = to_padded.rows.needed(top, bottom)
        logits = to_padded(masks[:, low:high], top, bottom, low)[..., :sizes.image[1]]
        if between is not None:
            logits = between(logits)
        result = to_output(logits, start, stop, top)
        yield slice(start, stop), result.clone() if result._is_view() else result
