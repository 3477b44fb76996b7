"""The per-pixel baselines in MMSegmentation: sizes, types, labels that are missing, and what is delivered."""

import pytest
import torch
import torch.nn.functional as F

from tests.helpers.per_pixel_models import segmentor
from tests.helpers.tiny_models import CHANNELS, semantic_batch, step

pytest.importorskip('mmseg')


def features(height, width):
    torch.manual_seed(0)
    return [
        torch.randn(1, channels, -(-height // 4 // 2**i), -(-width // 4 // 2**i)) for i, channels in enumerate(CHANNELS)
    ]


@pytest.mark.parametrize('size', [(64, 96), (62, 93), (61, 95)], ids=str)
def test_maps_are_enlarged_four_times_and_cut(size):
    """As the official head does it, whatever the image's size: not stretched to it."""
    head = segmentor().decode_head.eval()
    feats = features(64, 96)
    actual = head.predict(feats, [dict(pad_shape=size, img_shape=size)])
    [logits] = head(feats)
    expected = F.interpolate(logits, scale_factor=4, mode='bilinear', align_corners=False)[..., : size[0], : size[1]]
    assert actual.shape[-2:] == size and torch.equal(actual, expected)


@pytest.mark.parametrize('kind', ['PerPixelSegHead', 'PerPixelPlusSegHead'])
def test_nothing_labelled_is_no_loss(kind):
    model = segmentor(kind).train()
    losses = step(model, semantic_batch(ignore_everything=True))
    assert all(loss.item() == 0 for name, loss in losses.items() if 'loss' in name)
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters() if parameter.grad is not None)


def test_float32_results_inside_amp():
    head = segmentor().decode_head.eval()
    with torch.no_grad(), torch.autocast('cpu', torch.bfloat16):
        assert head.predict(features(64, 96), [dict(pad_shape=(64, 96))]).dtype == torch.float32


@pytest.mark.parametrize('keep', [False, True])
def test_logits_are_kept_on_demand(keep):
    model = segmentor(keep_logits=keep).eval()
    with torch.no_grad():
        results = model.test_step(semantic_batch())
    assert all(('seg_logits' in sample) == keep and 'pred_sem_seg' in sample for sample in results)


@pytest.mark.parametrize('kind', ['PerPixelSegHead', 'PerPixelPlusSegHead'])
def test_stock_options(kind):
    from m2f_mm.registry import MODELS

    options = dict(type=f'm2f_mm.{kind}', num_classes=2, in_channels=CHANNELS)
    MODELS.build(dict(options, in_index=[0, 1, 2, 3], align_corners=False))
    with pytest.raises(ValueError, match='in_index=.3, 2, 1, 0. is not supported'):
        MODELS.build(dict(options, in_index=[3, 2, 1, 0]))
    with pytest.raises(ValueError, match='align_corners=True'):
        MODELS.build(dict(options, align_corners=True))
