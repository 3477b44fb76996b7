"""Whole models in half precision, images of other channels, pixels and weights that are no numbers."""

import copy

import pytest
import torch

from m2f_mm.heads import head_of
from tests.helpers.mask_dino_models import detector as mask_dino
from tests.helpers.per_pixel_models import segmentor as per_pixel
from tests.helpers.tiny_models import (
    build,
    clip_batch,
    detection_batch,
    maskformer_config,
    mmdet_config,
    mmseg_config,
    our_detector,
    semantic_batch,
    use_our_heads,
)

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')
HALF = dict(half=(torch.float16, 3e-3), bfloat16=(torch.bfloat16, 8 * 3e-3))  # which has three bits less


def ours(config, name, **test_cfg):
    cfg = use_our_heads(config)
    cfg.type = f'm2f_mm.{name}'
    cfg.test_cfg.update(test_cfg)
    return cfg


def mask2former(**test_cfg):
    return build(ours(mmdet_config(), 'Mask2Former', semantic_on=True, **test_cfg), 'mmdet')


def maskformer(**test_cfg):
    return build(ours(maskformer_config(), 'MaskFormer', **test_cfg), 'mmdet')


def segmentor(**options):
    cfg = mmseg_config()
    cfg.type = 'm2f_mm.MaskSegmentor'
    cfg.decode_head.type = 'm2f_mm.Mask2FormerSegHead'
    cfg.update(options)
    return build(cfg, 'mmseg')


def images():
    return detection_batch((2,), sizes=((64, 64),))


def clips():
    return clip_batch(clips=1, size=(64, 64))


def label_maps():
    return semantic_batch(sizes=((64, 64),))


# How a model is built and the batch it predicts.
MODELS = {
    'Mask2Former': (mask2former, images),
    'MaskFormer': (maskformer, images),
    'Mask DINO': (mask_dino, images),
    'video': (lambda: our_detector('clips')[0], clips),
    'semantic': (segmentor, label_maps),
    'per-pixel': (per_pixel, label_maps),
    'per-pixel plus': (lambda: per_pixel('PerPixelPlusSegHead'), label_maps),
}
each_model = pytest.mark.parametrize('kind', MODELS)


def built(kind):
    build_model, batch = MODELS[kind]
    return build_model().eval(), batch()


def predict(model, data):
    with torch.no_grad():
        return model.test_step(copy.deepcopy(data))


def class_scores(model, data):
    """The best score of each class among the queries; of a per-pixel model its probabilities."""
    head = head_of(model)
    batch = model.data_preprocessor(copy.deepcopy(data), False)['inputs']
    with torch.no_grad():
        predictions = head(model.extract_feat(batch.flatten(0, -4)))
    if isinstance(predictions, list):
        return predictions[-1].float().softmax(1)
    logits = predictions.class_logits[-1].float()
    return (logits.sigmoid() if predictions.boxes else logits.softmax(-1)).amax(1)


@each_model
def test_half_precision(kind):
    """Predicts from the loader's images on; scores are those of float32 but for rounding."""
    model, data = built(kind)
    for name, (dtype, tolerance) in HALF.items():
        half = getattr(copy.deepcopy(model), name)()
        [result] = predict(half, data)
        assert result is not None and next(half.parameters()).dtype == dtype
        tolerance *= 2 if kind == 'video' else 1  # its queries are made to differ wildly
        assert (class_scores(half, data) - class_scores(model, data)).abs().max() < tolerance


@each_model
def test_weights_that_are_not_finite(kind):
    """Named, wherever they are, also where predictions before have been right."""
    model, data = built(kind)
    predict(model, data)
    names = [name for name, parameter in model.named_parameters() if parameter.dim() > 1 and 'label_embed' not in name]
    for name in (names[0], names[-1], next(name for name in names if 'pixel_decoder' in name)):
        parameter = model.get_parameter(name)
        before = parameter.data.clone()
        parameter.data[0] = float('nan')
        with pytest.raises(FloatingPointError, match=f'Weights of the model are not finite: {name}') as error:
            predict(model, data)
        assert str(error.value).count('Weights of the model') == 1  # not once more by the fusion head
        parameter.data.copy_(before)


@pytest.mark.parametrize('task', ['panoptic_on', 'instance_on', 'semantic_on'])
def test_every_result_of_a_stock_detector(task):
    """The head looks at its own weights, where the detector is MMDetection's."""
    cfg = use_our_heads(mmdet_config())
    cfg.test_cfg.update(panoptic_on=False, instance_on=False, semantic_on=False)
    cfg.test_cfg[task] = True
    model = build(cfg, 'mmdet').eval()
    model.panoptic_head.cls_embed.weight.data[:] = float('inf')
    data = model.data_preprocessor(images(), False)
    with torch.no_grad(), pytest.raises(FloatingPointError, match='not finite: cls_embed.weight'):
        outputs = model.panoptic_head.predict(model.extract_feat(data['inputs']), data['data_samples'])
        model.panoptic_fusion_head.predict(*outputs, data['data_samples'])


def test_windows_of_a_video():
    detector, head = our_detector('clips')
    head.test_cfg = dict(head.test_cfg, window_size=2, window_overlap=1)
    detector.eval()
    data = clip_batch(clips=1, frames=4, size=(32, 32))
    predict(detector, data)
    head.mask_embed[-1].bias.data[3] = float('nan')
    with pytest.raises(FloatingPointError, match='not finite: track_head.mask_embed.4.bias') as error:
        predict(detector, data)
    assert str(error.value).count('Weights of the model') == 1


@pytest.mark.parametrize('mode', ['loss', 'predict'])
def test_pixels_that_are_not_finite(mode):
    """With batch norm they spoil the whole batch; the image that has them is named."""
    model = mask2former()
    data = detection_batch((2, 2), sizes=((64, 64), (64, 64)))
    data['inputs'] = [image.float() for image in data['inputs']]
    data['inputs'][1][0, 5, 5] = float('nan')
    prepared = model.data_preprocessor(data, mode == 'loss')
    model.backbone.train()
    with pytest.raises(FloatingPointError, match=r'Pixels of image 1 of the batch \(image_1.jpg\) are not finite'):
        model(**prepared, mode=mode)


def test_a_stock_detector_blames_the_batch():
    """It does not know the images; that all of them are broken is said."""
    model = build(use_our_heads(mmdet_config()), 'mmdet').train()
    data = detection_batch((2, 2), sizes=((64, 64), (64, 64)))
    data = model.data_preprocessor(dict(data, inputs=[image.float() for image in data['inputs']]), True)
    features = [feature * float('nan') for feature in model.extract_feat(data['inputs'])]
    with pytest.raises(FloatingPointError, match='not finite for image 0 .* and every other image of it'):
        model.panoptic_head.loss(features, data['data_samples'])


@pytest.mark.parametrize('channels', [1, 4, 5])
@pytest.mark.parametrize('kind', ['Mask2Former', 'semantic', 'video'])
def test_images_of_other_channels(kind, channels):
    """The fourth channel is not dropped in silence."""
    model, data = built(kind)
    axis = 1 if kind == 'video' else 0
    data['inputs'] = [torch.stack([image.select(axis, 0)] * channels, axis) for image in data['inputs']]
    with pytest.raises(
        ValueError,
        match=rf'image 0 of the batch \(.*\.jpg\) has {channels} channels, but the '
        r'data_preprocessor has 3 means',
    ):
        predict(model, data)


def test_a_model_of_four_channels():
    """One mean for all, since MMEngine takes no four; the backbone has to take them, too."""
    cfg = ours(mmdet_config(), 'Mask2Former')
    cfg.data_preprocessor.update(mean=[110.0], std=[58.0])
    data = images()
    data['inputs'] = [torch.cat((image, image[:1])) for image in data['inputs']]
    model = build(copy.deepcopy(cfg), 'mmdet').eval()
    with pytest.raises(ValueError, match='4 channels, but the data_preprocessor changes the order of 3'):
        predict(model, data)
    cfg.data_preprocessor.bgr_to_rgb = False
    model = build(copy.deepcopy(cfg), 'mmdet').eval()
    with pytest.raises(ValueError, match='images have 4 channels, but the backbone takes 3: set .*in_channels=4'):
        predict(model, data)
    cfg.backbone.in_channels = 4
    [result] = predict(build(cfg, 'mmdet').eval(), data)
    assert result.pred_panoptic_seg.sem_seg.shape[-2:] == result.ori_shape
