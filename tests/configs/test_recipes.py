"""Every config parses and builds; the three recipes have the official numbers (papers and official configurations)."""
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import MODELS, DefaultScope

ROOT = Path(__file__).resolve().parents[2] / 'configs'
CONFIGS = sorted(path.relative_to(ROOT) for path in ROOT.glob('[!_]*/*.py'))
METHOD = Path('mask2former')
# trainable parameters of the official models; their FrozenBN has none
PARAMETERS = {
    'mask2former_r50_8xb2-lsj-50e_coco-panoptic.py': 43_983_878,
    'mask2former_r50_8xb2-lsj-50e_coco.py': 43_970_257,
    'mask2former_r50_8xb2-160k_ade20k-512x512.py': 43_988_247,
}


def read(name):
    return Config.fromfile(ROOT / name)


@pytest.mark.parametrize('name', CONFIGS, ids=str)
def test_builds(name):
    cfg = read(name)
    pytest.importorskip(cfg.default_scope)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = MODELS.build(cfg.model)
        for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
            Compose(loader.dataset.pipeline)
    expected = PARAMETERS.get(name.name)
    if expected is not None:
        assert sum(p.numel() for p in model.parameters() if p.requires_grad) == expected
    else:
        assert name.parent != METHOD, f'{name} has no entry in the table of official parameter counts'


@pytest.mark.parametrize('name', PARAMETERS)
def test_shared_recipe(name):
    cfg = read(METHOD / name)
    wrapper = cfg.optim_wrapper
    assert wrapper.optimizer.to_dict() == dict(type='AdamW', lr=1e-4, weight_decay=0.05, betas=(0.9, 0.999), eps=1e-8)
    assert wrapper.clip_grad.to_dict() == dict(max_norm=0.01, norm_type=2)
    assert wrapper.constructor == 'm2f_mm.Mask2FormerOptimWrapperConstructor' and 'paramwise_cfg' not in wrapper
    assert cfg.auto_scale_lr.base_batch_size == 16 and cfg.train_dataloader.batch_size == 2
    preprocessor = cfg.model.data_preprocessor
    assert preprocessor.mean == [123.675, 116.28, 103.53] and preprocessor.std == [58.395, 57.12, 57.375]
    assert preprocessor.bgr_to_rgb is True
    head = cfg.model.get('panoptic_head') or cfg.model.decode_head
    train = head.get('train_cfg') or cfg.model.train_cfg
    assert (train.num_points, train.oversample_ratio, train.importance_sample_ratio) == (12544, 3.0, 0.75)
    assert [head[f'loss_{term}'].loss_weight for term in ('cls', 'mask', 'dice')] == [2.0, 5.0, 5.0]
    assert head.loss_cls.no_object_weight == 0.1 and head.num_queries == 100
    assert head.pixel_decoder.num_layers == 6 and head.pixel_decoder.feedforward_channels == 1024
    assert (head.transformer_decoder.num_layers, head.transformer_decoder.feedforward_channels) == (9, 2048)
    assert cfg.model.backbone.frozen_stages == -1 and cfg.model.backbone.norm_cfg.type == 'm2f_mm.FrozenBN'
    if 'test_cfg' in cfg.model and 'max_per_image' in cfg.model.test_cfg:
        test = cfg.model.test_cfg
        assert (test.max_per_image, test.object_mask_thr, test.iou_thr, test.filter_low_score) == (100, 0.8, 0.8, True)


@pytest.mark.parametrize('name', [name for name in PARAMETERS if 'coco' in name])
def test_coco_schedule_and_pipeline(name):
    cfg = read(METHOD / name)
    assert cfg.train_cfg.max_iters == 368750 and cfg.train_cfg.val_interval == 5000
    [schedule] = cfg.param_scheduler
    assert schedule.type == 'MultiStepLR' and schedule.milestones == [327778, 355092] and schedule.gamma == 0.1
    steps = {step.type.split('.')[-1]: step for step in cfg.train_dataloader.dataset.pipeline}
    assert [name for name in steps if name in ('RandomFlip', 'LargeScaleJitter')] == ['RandomFlip', 'LargeScaleJitter']
    jitter = steps['LargeScaleJitter']
    assert jitter.scale == jitter.crop_size == (1024, 1024) and jitter.ratio_range == (0.1, 2.0)
    resize = next(step for step in cfg.test_dataloader.dataset.pipeline if step.type == 'Resize')
    assert resize.scale == (1333, 800)


def test_ade20k_schedule_and_pipeline():
    cfg = read(METHOD / 'mask2former_r50_8xb2-160k_ade20k-512x512.py')
    assert cfg.train_cfg.max_iters == 160000
    [schedule] = cfg.param_scheduler
    assert (schedule.type, schedule.power, schedule.eta_min, schedule.end) == ('PolyLR', 0.9, 0, 160000)
    steps = {step.type.split('.')[-1]: step for step in cfg.train_dataloader.dataset.pipeline}
    order = [name for name in steps if name in ('RandomChoiceResize', 'RandomCrop', 'ColorAugSSD', 'RandomFlip', 'Pad')]
    assert order == ['RandomChoiceResize', 'RandomCrop', 'ColorAugSSD', 'RandomFlip', 'Pad']
    sides = [256, 307, 358, 409, 460, 512, 563, 614, 665, 716, 768, 819, 870, 921, 972, 1024]
    assert steps['RandomChoiceResize'].scales == [(2048, side) for side in sides]
    assert steps['RandomCrop'].crop_size == (512, 512) and steps['RandomCrop'].cat_max_ratio == 1.0
    assert steps['Pad'].size == (512, 512) and steps['Pad'].pad_val.to_dict() == dict(img=128, seg=255)
    assert cfg.model.data_preprocessor.test_cfg.size_divisor == 32
    tta = cfg.tta_pipeline[-1].transforms[0]
    assert [step.scale for step in tta] == [(3584, side) for side in (256, 384, 512, 640, 768, 896)]
