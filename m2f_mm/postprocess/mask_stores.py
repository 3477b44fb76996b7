"""Where tiles of bool masks are collected: as bitmaps, or a bit per pixel on the way to COCO's run-length codes (RLE).

Shapes: K results, n masks, H x W the output; q masks and r rows of a tile.
"""

import numpy as np
import torch
from torch import Tensor


class BitmapStore:
    """A byte per pixel and result. A mask that several results share is written once, and copied in ``finish``.

    Args:
        source: the mask of each result, int64 (K,).
        count: n.
        height, width: H and W.
    """

    def __init__(self, source: Tensor, count: int, height: int, width: int):
        results = torch.arange(len(source), device=source.device)
        self.source = source
        self.first_result = results.new_full((count,), len(source)).scatter_reduce_(0, source, results, 'amin')
        repeated = self.first_result[source] != results
        self.copies = (~repeated).to(torch.uint8).argsort(stable=True)[: len(source) - count]
        self.masks = torch.zeros(len(source), height, width, dtype=torch.bool, device=source.device)

    def put(self, chunk: slice, rows: slice, masks: Tensor) -> None:
        """Store masks (q, r, W), ``chunk`` of the n, in ``rows``."""
        self.masks[:, rows].index_copy_(0, self.first_result[chunk], masks)

    def finish(self) -> Tensor:
        """bool (K, H, W)."""
        for copies in self.copies.split(8):  # a few at a time: they pass through a buffer
            self.masks.index_copy_(0, copies, self.masks[self.first_result[self.source[copies]]])
        return self.masks


class RLEStore:
    """A bit per pixel and mask; eight rows share a byte, so that a column's bytes give its pixels in order.

    Arguments as for ``BitmapStore``.
    """

    def __init__(self, source: Tensor, count: int, height: int, width: int):
        self.source = source
        self.bits = torch.zeros(count, -(-height // 8), width, dtype=torch.uint8, device=source.device)
        self.height = height

    def put(self, chunk: slice, rows: slice, masks: Tensor) -> None:
        """Store masks (q, r, W); ``rows`` start at a multiple of eight, and r is one, too, except at the bottom."""
        groups = masks.view(torch.uint8).split(8, 1)
        for byte, group in enumerate(groups, rows.start // 8):
            packed = self.bits[chunk, byte]
            for row in range(group.shape[1]):
                packed |= group[:, row] << (7 - row)

    def finish(self) -> list[dict]:
        """K RLEs ``dict(size=[H, W], counts=bytes)``, equal to ``pycocotools.mask.encode`` of the bitmaps."""
        from pycocotools import mask as coco_masks

        rles = []
        for packed in self.bits.cpu().numpy():
            pixels = np.unpackbits(np.ascontiguousarray(packed.T), axis=1, count=self.height)  # (W, H)
            rles.append(coco_masks.encode(pixels.T))  # column-major, as COCO counts
        return [dict(rles[mask]) for mask in self.source.tolist()]
