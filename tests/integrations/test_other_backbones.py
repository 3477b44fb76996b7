"""Backbones of MMDetection and MMSegmentation other than the recipes' ones: a step reaches them, results come out."""

import pytest
import torch

from tests.helpers.mask_dino_models import NETWORK
from tests.helpers.tiny_models import (
    SEMANTIC_CLASSES,
    STUFF,
    THINGS,
    build,
    detection_batch,
    gradients,
    mmdet_config,
    mmseg_config,
    semantic_batch,
    step,
)

PVT = dict(embed_dims=8, num_layers=[1, 1, 1, 1], num_heads=[1, 1, 1, 1], init_cfg=None)
DETECTION = {  # and the channels of its features, strides 4 to 32
    'RegNet': (
        dict(type='RegNet', arch=dict(w0=8, wa=8.0, wm=2.0, group_w=8, depth=8, bot_mul=1.0), base_channels=8),
        None,
    ),
    'PyramidVisionTransformerV2': (dict(type='PyramidVisionTransformerV2', **PVT), [8, 8, 8, 8]),
    'HRNet': (
        dict(
            type='HRNet',
            extra={
                f'stage{i + 1}': dict(
                    num_modules=1,
                    num_branches=i + 1,
                    block='BASIC' if i else 'BOTTLENECK',
                    num_blocks=(1,) * (i + 1),
                    num_channels=tuple(8 * 2**j for j in range(i + 1)),
                )
                for i in range(4)
            },
        ),
        [8, 16, 32, 64],
    ),
    'SwinTransformer': (
        dict(type='SwinTransformer', embed_dims=8, depths=(1, 1, 1, 1), num_heads=(1, 1, 1, 1), window_size=4),
        [8, 16, 32, 64],
    ),
}
SEGMENTATION = {
    'MixVisionTransformer': (
        dict(type='MixVisionTransformer', embed_dims=8, num_layers=[1, 1, 1, 1], num_heads=[1, 1, 1, 1]),
        [8, 8, 8, 8],
    ),
    'MSCAN': (
        dict(
            type='MSCAN', embed_dims=[8, 8, 16, 16], depths=[1, 1, 1, 1], drop_path_rate=0.0, norm_cfg=dict(type='BN')
        ),
        [8, 8, 16, 16],
    ),
}
MASK2FORMER = dict(NETWORK, transformer_decoder=dict(num_layers=2, embed_dims=64, feedforward_channels=96))


@pytest.mark.parametrize('name', DETECTION)
@pytest.mark.parametrize('head', ['Mask2FormerHead', 'MaskDINOHead'])
def test_detection(name, head):
    pytest.importorskip('mmdet')
    cfg = mmdet_config()
    backbone, channels = DETECTION[name]
    if channels is None:  # RegNet's follow from its formula
        from mmdet.models import RegNet

        channels = RegNet(**{key: value for key, value in backbone.items() if key != 'type'}).stage_widths
    cfg.type, cfg.backbone, cfg.panoptic_fusion_head = 'm2f_mm.MaskDINO', backbone, None
    cfg.train_cfg = dict(num_points=50)
    network = NETWORK if head == 'MaskDINOHead' else MASK2FORMER
    cfg.panoptic_head = dict(
        network, type=f'm2f_mm.{head}', in_channels=list(channels), num_things_classes=THINGS, num_stuff_classes=STUFF
    )
    model = build(cfg, 'mmdet').train()
    losses = step(model, detection_batch())
    assert all(loss.isfinite() for loss in losses.values())
    assert [name for name, gradient in gradients(model).items() if gradient is None] == []
    with torch.no_grad():
        results = model.eval().test_step(detection_batch())
    assert all(sample.pred_panoptic_seg.sem_seg.shape[1:] == sample.ori_shape for sample in results)


@pytest.mark.parametrize('name', SEGMENTATION)
@pytest.mark.parametrize('head', ['Mask2FormerSegHead', 'MaskDINOSegHead'])
def test_segmentation(name, head):
    pytest.importorskip('mmseg')
    cfg = mmseg_config()
    backbone, channels = SEGMENTATION[name]
    network = NETWORK if head == 'MaskDINOSegHead' else MASK2FORMER
    cfg.type, cfg.backbone = 'm2f_mm.MaskSegmentor', backbone
    cfg.decode_head = dict(
        network,
        type=f'm2f_mm.{head}',
        in_channels=channels,
        num_classes=SEMANTIC_CLASSES,
        train_cfg=dict(num_points=50),
    )
    model = build(cfg, 'mmseg').train()
    losses = step(model, semantic_batch())
    assert all(loss.isfinite() for loss in losses.values())
    assert [name for name, gradient in gradients(model).items() if gradient is None] == []
    with torch.no_grad():
        results = model.eval().test_step(semantic_batch())
    assert all(sample.pred_sem_seg.data.shape[1:] == sample.ori_shape for sample in results)
