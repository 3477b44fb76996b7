"""MMDetection's and MMSegmentation's own MaskFormer, built from their own installed configs, against ours."""

import pytest
import torch

from tests.helpers.tiny_models import (
    SEMANTIC_CLASSES,
    assert_close,
    assert_same_gradients,
    build_detector,
    build_segmentor,
    detection_batch,
    maskformer_config,
    semantic_batch,
    step,
    stock_config,
    thin_backbone,
    thin_maskformer_head,
    use_our_heads,
)

pytest.importorskip('mmdet')
SIZES = ((96, 128), (96, 128))  # the stock head does not look at padding; the official one does


@pytest.mark.smoke
@pytest.mark.parametrize('encoder', [True, False], ids=['encoder', 'fpn'])
def test_layers_losses_gradients_and_results(encoder):
    stock = build_detector(maskformer_config(encoder))
    ours = build_detector(use_our_heads(maskformer_config(encoder)))
    stock.load_state_dict(ours.state_dict(), strict=True)
    ours.load_state_dict(stock.state_dict(), strict=True)
    data = stock.data_preprocessor(detection_batch(sizes=SIZES), True)
    with torch.no_grad():
        features = stock.train().extract_feat(data['inputs'])
        class_logits, masks = stock.panoptic_head(features, data['data_samples'])
        predictions = ours.train().panoptic_head(features, data['data_samples'])
    assert predictions.num_layers == len(class_logits) == 3
    for layer, (logits, mask) in enumerate(zip(class_logits, masks)):
        assert_close(predictions.class_logits[layer], logits, 1e-4, f'class logits of layer {layer}')
        assert_close(torch.stack(predictions.mask_logits(layer))[:, :, 0], mask, 1e-4, f'masks of layer {layer}')

    losses, expected = (step(model, detection_batch(sizes=SIZES)) for model in (ours, stock))
    assert losses.keys() == expected.keys()
    for name in losses:
        assert_close(losses[name], expected[name].squeeze(), 1e-4, name)
    assert_same_gradients(ours, stock)

    with torch.no_grad():  # queries of a random network agree on a class: let what is left decide
        for model in (ours, stock):
            model.panoptic_head.cls_embed.bias -= class_logits[-1].mean((0, 1))
    results, expected_results = (predict(model) for model in (ours, stock))
    for mine, theirs in zip(results, expected_results):
        mine, theirs = mine.pred_panoptic_seg.sem_seg, theirs.pred_panoptic_seg.sem_seg
        assert mine.shape == theirs.shape and len(theirs.unique()) > 2, 'nothing to compare'
        assert float((mine != theirs).float().mean()) < 1e-3


def predict(model):
    model.eval()
    data = model.data_preprocessor(detection_batch(sizes=SIZES), False)
    with torch.no_grad():
        return model.predict(data['inputs'], data['data_samples'])


def segmentor_config():
    """The ``model`` of mmseg's MaskFormer R50 ADE20K config, thin and without dropout."""
    import mmseg

    model = stock_config(mmseg, 'maskformer/maskformer_r50-d32_8xb2-160k_ade20k-512x512.py').model
    thin_backbone(model.backbone)
    model.backbone.norm_cfg.type = 'BN'  # SyncBN has no CPU version
    model.data_preprocessor.size = (64, 96)
    thin_maskformer_head(model.decode_head, SEMANTIC_CLASSES, encoder=False)
    model.decode_head.num_classes = SEMANTIC_CLASSES
    return model


@pytest.mark.parametrize('kind', ['EncoderDecoder', 'm2f_mm.MaskSegmentor'])
def test_segmentor(kind):
    pytest.importorskip('mmseg')
    stock = build_segmentor(segmentor_config()).train()
    cfg = segmentor_config()
    cfg.type, cfg.decode_head.type = kind, 'm2f_mm.MaskFormerSegHead'
    ours = build_segmentor(cfg).train()
    ours.load_state_dict(stock.state_dict(), strict=True)
    stock.load_state_dict(ours.state_dict(), strict=True)
    losses, expected = (step(model, semantic_batch()) for model in (ours, stock))
    for name, value in expected.items():
        assert_close(
            losses[name.removeprefix('decode.')] if name not in losses else losses[name], value.squeeze(), 1e-4, name
        )
    results = []
    for model in (ours, stock):
        with torch.no_grad():
            results.append(model.eval().test_step(semantic_batch()))
    for mine, theirs in zip(*results):
        assert float((mine.pred_sem_seg.data != theirs.pred_sem_seg.data).float().mean()) < 1e-3
