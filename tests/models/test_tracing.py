"""``torch.jit.trace`` and ``torch.export`` on a CPU: the outputs of the network, and nothing left behind."""

import pytest
import torch
from torch import nn

from m2f_mm.models import (
    FPNPixelDecoder,
    Mask2FormerTransformerDecoder,
    MaskDINO,
    MaskDINOTransformerDecoder,
    MaskFormerTransformerDecoder,
    MaskTransformer,
    MSDeformAttnPixelDecoder,
)
from m2f_mm.models.layers import MSDeformAttn

WIDTHS = [4, 8, 12, 16]
LAYERS = dict(num_layers=1, embed_dims=32, num_heads=4, feedforward_channels=32)


def mask2former():
    pixel_decoder = MSDeformAttnPixelDecoder(WIDTHS, 32, 24, num_layers=1, num_heads=4, feedforward_channels=32)
    return MaskTransformer(pixel_decoder, Mask2FormerTransformerDecoder(**LAYERS), 5, 7, mask_channels=24)


def mask2former_fpn():
    pixel_decoder = FPNPixelDecoder(WIDTHS, 32, 24)
    return MaskTransformer(pixel_decoder, Mask2FormerTransformerDecoder(**LAYERS), 5, 7, mask_channels=24)


def maskformer():
    pixel_decoder = FPNPixelDecoder(WIDTHS, 32, 24, memory='coarsest')
    return MaskTransformer(pixel_decoder, MaskFormerTransformerDecoder(**LAYERS), 5, 7, 1, mask_channels=24)


def mask_dino():
    pixel_decoder = MSDeformAttnPixelDecoder(
        WIDTHS,
        32,
        24,
        num_outs=4,
        num_extra_levels=1,
        fine_first=True,
        always_fpn=True,
        num_layers=1,
        num_heads=4,
        feedforward_channels=32,
    )
    return MaskDINO(pixel_decoder, MaskDINOTransformerDecoder(**LAYERS), 5, 7, mask_channels=24)


NETWORKS = dict(mask2former=mask2former, maskformer=maskformer, mask_dino=mask_dino)


class Outputs(nn.Module):
    """Tensors instead of the structure; a trace has nothing else."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, *feats):
        predictions = self.network(feats)
        boxes = predictions.boxes[-1:] if predictions.boxes else []
        return (predictions.class_logits[-1], predictions.mask_embeds[-1], predictions.mask_features, *boxes)


def features(height, width, generator):
    """Features of an image of this size."""
    return tuple(
        torch.randn(1, channels, height // 4 >> i, width // 4 >> i, generator=generator)
        for i, channels in enumerate(WIDTHS)
    )


@pytest.fixture(params=NETWORKS)
def traced(request):
    """A network, its input, and what it gives."""
    torch.manual_seed(0)
    module = Outputs(NETWORKS[request.param]()).eval()
    generator = torch.Generator().manual_seed(1)
    feats = features(64, 96, generator)
    return module, feats


def compare(actual, expected):
    for mine, reference in zip(actual, expected, strict=True):
        torch.testing.assert_close(mine, reference, atol=2e-5, rtol=1e-4)


@pytest.mark.filterwarnings('ignore')
def test_jit(traced):
    """With gradient, as a user's first try has it, and the check that it makes itself, which has none; then the network
    predicts, and trains, as before."""
    module, feats = traced
    graph = torch.jit.trace(module, feats)
    with torch.no_grad():
        compare(graph(*feats), module(*feats))
        before = module(*feats)
    module.train()(*feats)[0].sum().backward()
    module.eval()
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(module(*feats), before))


@pytest.mark.filterwarnings('ignore')
@torch.no_grad()
def test_export_of_a_size(traced):
    """No tensor of the export is used by the next prediction."""
    module, feats = traced
    program = torch.export.export(module, feats, strict=False).module()
    expected = module(*feats)
    assert all(type(part) is torch.Tensor for part in expected)
    compare(program(*feats), expected)


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('network', [mask2former, mask2former_fpn])
@torch.no_grad()
def test_export_of_any_size(network):
    """Height and width are multiples of 32."""
    torch.manual_seed(0)
    module, feats = Outputs(network()).eval(), features(128, 192, torch.Generator().manual_seed(1))
    height, width = (torch.export.Dim(name, min=2, max=32) for name in ('height', 'width'))
    sizes = tuple({2: (8 >> i) * height, 3: (8 >> i) * width} for i in range(len(feats)))
    program = torch.export.export(module, feats, dynamic_shapes=(sizes,), strict=False).module()
    for size in ((64, 96), (128, 192), (320, 256)):
        feats = features(*size, torch.Generator().manual_seed(2))
        compare(program(*feats), module(*feats))


@pytest.mark.filterwarnings('ignore')
def test_export_of_the_attention():
    """Tensors of the export do not outlive it."""
    torch.manual_seed(0)
    shapes = ((5, 7), (3, 4))
    attention = MSDeformAttn(16, 2, 2).eval()
    tokens, reference = torch.randn(1, 47, 16), torch.rand(1, 47, 2, 2)

    class Module(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = attention

        def forward(self, tokens):
            return self.attention(tokens, tokens, reference, shapes)

    with torch.no_grad():
        program = torch.export.export(Module(), (tokens,), strict=False).module()
        expected = attention(tokens, tokens, reference, shapes)
        assert type(expected) is torch.Tensor
        torch.testing.assert_close(program(tokens), expected, atol=1e-5, rtol=1e-5)
    attention.train()(tokens, tokens, reference, shapes).sum().backward()
