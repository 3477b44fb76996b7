"""MMDetection's and MMSegmentation's own MaskFormer, built from their own installed configs, against ours."""
import pytest
import torch
from thin import (
    SEMANTIC_CLASSES,
    assert_close,
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


def our_detector(encoder, stock):
    """Of our type, with the stock detector's weights: with an FPN one of its names is not ours."""
    cfg = use_our_heads(maskformer_config(encoder))
    cfg.type = 'm2f_mm.MaskFormer'
    ours = build_detector(cfg)
    ours.load_state_dict(stock.state_dict(), strict=True)
    return ours


@pytest.mark.smoke
@pytest.mark.parametrize('encoder', [True, False], ids=['encoder', 'fpn'])
def test_layers_losses_gradients_and_results(encoder):
    stock = build_detector(maskformer_config(encoder))
    ours = our_detector(encoder, stock)
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
    names = {name.replace('decoder_input_projs.0', 'decoder_input_proj'): parameter.grad
             for name, parameter in ours.named_parameters()}
    largest = max(parameter.grad.norm() for parameter in stock.parameters() if parameter.grad is not None)
    for name, parameter in stock.named_parameters():
        if parameter.requires_grad:
            error = (names[name] - parameter.grad).norm()
            assert error <= max(1e-3 * parameter.grad.norm(), 1e-5 * largest), name

    with torch.no_grad():  # queries of a random network agree on a class: let what is left decide
        for model in (ours, stock):
            model.panoptic_head.cls_embed.bias -= class_logits[-1].mean((0, 1))
    found, wanted = (predict(model) for model in (ours, stock))
    for mine, theirs in zip(found, wanted):
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


def test_segmentor():
    pytest.importorskip('mmseg')
    stock = build_segmentor(segmentor_config()).train()
    cfg = segmentor_config()
    cfg.type, cfg.decode_head.type = 'm2f_mm.MaskSegmentor', 'm2f_mm.MaskFormerSegHead'
    ours = build_segmentor(cfg).train()
    ours.load_state_dict(stock.state_dict(), strict=True)
    losses, expected = (step(model, semantic_batch()) for model in (ours, stock))
    for name, value in expected.items():
        assert_close(losses[name.removeprefix('decode.')] if name not in losses else losses[name], value.squeeze(),
                     1e-4, name)
    results = []
    for model in (ours, stock):
        with torch.no_grad():
            results.append(model.eval().test_step(semantic_batch()))
    for mine, theirs in zip(*results):
        assert float((mine.pred_sem_seg.data != theirs.pred_sem_seg.data).float().mean()) < 1e-3
