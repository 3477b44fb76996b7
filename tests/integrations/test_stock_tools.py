"""What MMDetection's and MMSegmentation's own tools call: ``mode='tensor'``, batches of any sizes, TTA."""

import copy
from functools import partial

import numpy as np
import pytest
import torch
from mmengine.registry import MODELS, DefaultScope

from tests.helpers.tiny_models import (
    build_detector,
    build_segmentor,
    clip_batch,
    detection_batch,
    maskformer_config,
    mmdet_config,
    mmseg_config,
    stock_config,
    use_our_heads,
    use_our_track_head,
    video_config,
)

mmdet = pytest.importorskip('mmdet')


def tensors(model, batch):
    """Of ``mode='tensor'``."""
    data = model.data_preprocessor(batch, False)
    with torch.no_grad():
        return model.eval()(data['inputs'], data['data_samples'], mode='tensor')


@pytest.mark.parametrize(
    'config, ours',
    [(mmdet_config, use_our_heads), (maskformer_config, use_our_heads), (video_config, use_our_track_head)],
)
def test_stock_tuple(config, ours):
    """Class and mask logits of every layer, as the stock detectors and heads give them."""
    model = build_detector(ours(config()))
    theirs = build_detector(config())
    theirs.load_state_dict(model.state_dict())
    batch = clip_batch(1, 2) if config is video_config else detection_batch()
    actual = tensors(model, copy.deepcopy(batch))
    if config is video_config:  # the stock video detector has no mode='tensor', but its head a forward
        data = theirs.data_preprocessor(copy.deepcopy(batch), False)
        with torch.no_grad():
            features = theirs.eval().backbone(data['inputs'].flatten(0, 1))
            expected = theirs.track_head.forward(features, data['data_samples'])
    else:
        expected = tensors(theirs, copy.deepcopy(batch))
    assert type(actual) is tuple and len(actual) == 2
    for mine, stock in zip(actual, expected):
        assert type(mine) is type(stock) and len(mine) == len(stock)
        for layer, other in zip(mine, stock):
            assert layer.shape == other.shape
            if config is not maskformer_config:  # whose stock head does not attend to padding
                assert (layer - other).abs().max() < 1e-3 * other.abs().max()


def test_flops():
    """As MMDetection's get_flops.py counts them: what the stock model takes, or less."""
    from mmengine.analysis import get_model_complexity_info

    counts = []
    for change in (use_our_heads, lambda model: model):
        model = build_detector(change(mmdet_config())).eval()
        data = model.data_preprocessor(detection_batch(), False)
        model.forward = partial(model.forward, data_samples=data['data_samples'])
        counts.append(get_model_complexity_info(model, None, inputs=data['inputs'], show_table=False, show_arch=False))
    ours, stock = counts
    assert ours['params'] == stock['params'] and 0.5 * stock['flops'] < ours['flops'] < 1.1 * stock['flops']


@pytest.mark.parametrize(
    'name, expected',
    [
        ('mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic.py', 5.629e9),
        ('maskformer/maskformer_r50_ms-16xb1-75e_coco.py', 4.214e9),
    ],
)
def test_flops_of_published_networks(name, expected):
    """Of an image of 128 x 128; ours leave out less than a hundredth of what the stock heads compute."""
    from mmengine.analysis import get_model_complexity_info

    model = stock_config(mmdet, name).model
    model.backbone.init_cfg = None
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(use_our_heads(model)).eval()
    data = model.data_preprocessor(detection_batch((1,), sizes=((128, 128),)), False)
    model.forward = partial(model.forward, data_samples=data['data_samples'])
    actual = get_model_complexity_info(model, None, inputs=data['inputs'], show_table=False, show_arch=False)
    assert actual['flops'] == pytest.approx(expected, rel=0.01)


def segmentor(**test_cfg):
    pytest.importorskip('mmseg')
    model = mmseg_config()
    model.update(type='m2f_mm.MaskSegmentor', test_cfg=test_cfg)
    model.decode_head.type = 'm2f_mm.Mask2FormerSegHead'
    model.data_preprocessor.test_cfg = dict(size_divisor=32)
    return build_segmentor(model).eval()


SIZES = (48, 64), (80, 64), (48, 64), (33, 47)


def semantic_images():
    from mmseg.structures import SegDataSample

    random = np.random.RandomState(0)
    images = [torch.from_numpy(random.randint(0, 256, (3, *size), np.uint8)) for size in SIZES]
    samples = [
        SegDataSample(metainfo=dict(img_shape=size, ori_shape=size, img_path=f'{i}.jpg'))
        for i, size in enumerate(SIZES)
    ]
    return dict(inputs=images, data_samples=samples)


@pytest.mark.smoke
@pytest.mark.parametrize('test_cfg', [dict(mode='whole'), dict(mode='slide', crop_size=(32, 32), stride=(20, 20))])
@torch.no_grad()
def test_images_of_several_sizes_in_a_batch(test_cfg):
    """Each as if it were alone, to the last bit."""
    model, data = segmentor(**test_cfg), semantic_images()
    together = model.test_step(copy.deepcopy(data))
    for step in (model.test_step, model.val_step):
        for index, sample in enumerate(together):
            (alone,) = step({key: copy.deepcopy(value[index : index + 1]) for key, value in data.items()})
            assert sample.img_path == f'{index}.jpg' and sample.pred_sem_seg.data.shape[-2:] == SIZES[index]
            assert torch.equal(sample.pred_sem_seg.data, alone.pred_sem_seg.data)


@torch.no_grad()
def test_tta_of_a_batch_and_a_module_that_is_exchanged():
    """The module may come later than the model that wraps it, as in MMSegmentation's own tests; it stays as it was."""
    from m2f_mm.integrations import SegTTAModel

    model = SegTTAModel(module=segmentor(mode='slide', crop_size=(32, 32), stride=(20, 20)))
    model.module = segmentor(mode='whole')
    data = semantic_images()
    merged = model.test_step({key: [value, copy.deepcopy(value)] for key, value in data.items()})
    assert model.module.keep_logits is False
    for sample, alone in zip(merged, model.module.test_step(semantic_images())):
        assert (sample.pred_sem_seg.data != alone.pred_sem_seg.data).float().mean() < 1e-3


@torch.no_grad()
def test_segmentor_in_tensor_mode():
    model = segmentor(mode='whole')
    classes, masks = model(torch.rand(1, 3, 64, 64))
    assert classes[-1].shape[:2] == masks[-1].shape[:2] == (1, 20) and masks[-1].shape[2:] == (16, 16)
