"""More or fewer feature maps than a pixel decoder was built for, and maps of other channels."""

import pytest
import torch
from torch import nn

from m2f_mm.models import MSDeformAttnPixelDecoder, NeckPixelDecoder
from m2f_mm.registry import MODELS
from tests.helpers.tiny_models import CHANNELS

SMALL = dict(in_channels=CHANNELS, feat_channels=64, out_channels=32)
LAYER = dict(num_layers=1, num_heads=4, feedforward_channels=16)
FPN = dict(type='m2f_mm.FPNPixelDecoder', **SMALL)
DECODERS = {
    'Mask2Former': dict(type='m2f_mm.MSDeformAttnPixelDecoder', **SMALL, **LAYER),
    'Mask DINO': dict(
        type='m2f_mm.MSDeformAttnPixelDecoder',
        **SMALL,
        **LAYER,
        num_outs=4,
        num_extra_levels=1,
        fine_first=True,
        always_fpn=True,
    ),
    'FPN': FPN,
    'FPN, coarsest': dict(FPN, memory='coarsest'),
    'TransformerEncoder': dict(SMALL, type='m2f_mm.TransformerEncoderPixelDecoder', **LAYER),
}


class PlainNeck(nn.Module):
    """A 1x1 convolution for each map."""

    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.in_channels = in_channels
        self.convs = nn.ModuleList(nn.Conv2d(channels, out_channels, 1) for channels in in_channels)

    def forward(self, feats):
        return [conv(feat) for conv, feat in zip(self.convs, feats, strict=True)]


def decoder(kind):
    torch.manual_seed(0)
    if kind == 'neck':
        return NeckPixelDecoder(PlainNeck(CHANNELS, 64), **SMALL).eval()
    return MODELS.build(DECODERS[kind]).eval()


def maps(channels, size=32):
    generator = torch.Generator().manual_seed(1)
    return [
        torch.randn(1, width, size // 4 >> level, size // 4 >> level, generator=generator)
        for level, width in enumerate(channels)
    ]


each_decoder = pytest.mark.parametrize('kind', [*DECODERS, 'neck'])


@each_decoder
@torch.no_grad()
def test_the_finest_maps_are_taken(kind):
    """Bit-equal with and without coarser ones, as MMDetection's decoder, but with a warning that has both numbers."""
    module = decoder(kind)
    feats = maps(CHANNELS + [128])
    expected, memories = module(feats[:4])
    for options in ({}, dict(release=True)) if isinstance(module, MSDeformAttnPixelDecoder) else ({},):
        with pytest.warns(UserWarning, match='has 4 in_channels, but gets 5 feature maps'):
            actual, others = module(list(feats), **options)
        assert torch.equal(actual, expected) and len(others) == len(memories)
        assert all(torch.equal(a, b) for a, b in zip(others, memories))


@torch.no_grad()
@pytest.mark.parametrize('kind', ['Mask2Former', 'Mask DINO'])
def test_maps_are_released_where_that_is_asked_for(kind):
    module, feats = decoder(kind), maps(CHANNELS)
    module(feats)
    assert len(feats) == len(CHANNELS)
    module(feats, release=True)
    assert not feats


@each_decoder
@pytest.mark.parametrize('count', [0, 1, 3])
def test_fewer_maps_are_refused(kind, count):
    with pytest.raises(ValueError, match=rf'has 4 in_channels, .* but gets {count} feature maps'):
        decoder(kind)(maps(CHANNELS[:count]))


@each_decoder
@pytest.mark.parametrize('level', [0, 2, 3])
def test_other_channels_are_refused(kind, level):
    channels = [*CHANNELS[:level], 24, *CHANNELS[level + 1 :]]
    with pytest.raises(ValueError, match=rf'map {level} .* has 24 channels instead of {CHANNELS[level]}'):
        decoder(kind)(maps(channels))


def test_a_necks_own_channels():
    with pytest.raises(ValueError, match='returned 16 channels in map 0 .* but feat_channels is 64'):
        NeckPixelDecoder(PlainNeck(CHANNELS, 16), **SMALL)(maps(CHANNELS))
