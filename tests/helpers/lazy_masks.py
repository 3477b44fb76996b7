"""Lazy masks at every combination of sizes, and the same masks computed at once."""

import pytest
import torch
import torch.nn.functional as F

from m2f_mm.postprocess import Sizes
from m2f_mm.postprocess.tiles import tiles

SIZES = {
    'nothing to do': Sizes((32, 48), (32, 48), (32, 48)),
    'larger': Sizes((32, 48), (32, 48), (75, 101)),
    'smaller': Sizes((32, 48), (32, 48), (9, 13)),
    'padded and larger': Sizes((64, 64), (43, 51), (100, 77)),
    'padded and smaller': Sizes((64, 64), (43, 51), (17, 30)),
    'padding only': Sizes((64, 64), (43, 51), (43, 51)),
    'wider and lower': Sizes((64, 64), (43, 51), (20, 99)),
    'one row': Sizes((32, 32), (31, 3), (1, 64)),
    'one pixel': Sizes((32, 32), (31, 3), (1, 1)),
}
each_size = pytest.mark.parametrize('sizes', SIZES.values(), ids=SIZES)


def random_predictions(sizes, queries=7, classes=4, dims=5):
    """Smooth random masks at a quarter of the padded size, class logits that are sure of something."""
    generator = torch.Generator().manual_seed(0)
    height, width = sizes.padded[0] // 4, sizes.padded[1] // 4
    coarse = torch.randn(1, dims, 4, 4, generator=generator)
    features = F.interpolate(coarse, (height, width), mode='bicubic')
    logits = torch.randn(queries, classes + 1, generator=generator) * 3
    return logits, torch.randn(queries, dims, generator=generator) * 3, features


def resize(maps, size):
    return F.interpolate(maps[None], size, mode='bilinear', align_corners=False)[0]


def whole_masks(embeds, features, sizes):
    """Mask logits (Q, H, W) of the output: resize to the padded size, cut the padding off, resize again."""
    padded = resize(torch.einsum('qd,dhw->qhw', embeds, features[0]), sizes.padded)
    return resize(padded[:, : sizes.image[0], : sizes.image[1]], sizes.output)


def tiled_masks(embeds, features, sizes, tile_bytes=2**40):
    """The same out of tiles, by default one for each chunk of queries."""
    masks = torch.full((len(embeds), *sizes.output), float('nan'))
    for rows, queries, logits in tiles(embeds, features, sizes, tile_bytes):
        masks[queries, rows] = logits
    return masks
