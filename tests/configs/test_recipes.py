"""Every config, in one table: parses, builds, trains a step and predicts; the numbers of the recipes are the official
ones (papers, official configurations and model zoo)."""

import copy
import functools
import re
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, DefaultScope

from m2f_mm.heads import head_of
from tests.helpers.recipes import (
    B21,
    BASELINES,
    O365,
    ROOT,
    ROWS,
    B,
    L,
    S,
    T,
    file_of,
)
from tests.helpers.tiny_models import clip_batch, detection_batch, semantic_batch, step

CONFIGS = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob('[!_]*/*.py'))


class Recipe(NamedTuple):
    """What the rows of one data set and task share."""

    scope: str
    classes: int
    iters: int
    milestones: list[int] | None  # None: polynomial decay
    test: tuple[int, int]  # long and short side
    sides: list[int] | None = None  # short sides in training; None: large-scale jitter
    crop: tuple[int, int] = (1024, 1024)  # height, width
    pad: bool = True
    tta: list[int] | None = None
    longest_tta: int = 0
    eval_every: int = 5000
    object_mask_thr: float = 0.8
    batch: int = 16
    detr: bool = False  # sizes and crops of DETR
    max_size: int | None = None  # of the long side in training; None: twice the largest short side
    video: bool = False


def tenths(base: int) -> list[int]:
    return [int(0.1 * k * base) for k in range(5, 21)]


RECIPES = {
    'lsj-50e_coco-panoptic': Recipe('mmdet', 133, 368750, [327778, 355092], (1333, 800)),
    'lsj-100e_coco-panoptic': Recipe('mmdet', 133, 737500, [655556, 710184], (1333, 800)),
    'lsj-26e_objects365': Recipe('mmdet', 365, 708000, [629333, 681778], (1333, 800), eval_every=50000, batch=64),
    'lsj-20e_coco': Recipe('mmdet', 80, 147500, [131111, 142037], (1333, 800)),
    'lsj-20e_coco-panoptic': Recipe('mmdet', 133, 147500, [131111, 142037], (1333, 800)),
    'lsj-50e_coco': Recipe('mmdet', 80, 368750, [327778, 355092], (1333, 800)),
    'lsj-100e_coco': Recipe('mmdet', 80, 737500, [655556, 710184], (1333, 800)),
    '160k_ade20k-panoptic': Recipe('mmdet', 150, 160000, None, (2560, 640), tenths(640), (640, 640)),
    '160k_ade20k-instance': Recipe('mmdet', 100, 160000, None, (2560, 640), tenths(640), (640, 640)),
    '160k_ade20k-512x512': Recipe(
        'mmseg',
        150,
        160000,
        None,
        (2048, 512),
        tenths(512),
        (512, 512),
        tta=[256, 384, 512, 640, 768, 896],
        longest_tta=3584,
    ),
    '160k_ade20k-640x640': Recipe(
        'mmseg',
        150,
        160000,
        None,
        (2560, 640),
        tenths(640),
        (640, 640),
        tta=[320, 480, 640, 800, 960, 1120],
        longest_tta=4480,
    ),
    '90k_cityscapes-panoptic': Recipe('mmdet', 19, 90000, None, (2048, 1024), tenths(1024), (512, 1024), pad=False),
    '90k_cityscapes-instance': Recipe('mmdet', 8, 90000, None, (2048, 1024), tenths(1024), (512, 1024), pad=False),
    '90k_cityscapes-512x1024': Recipe(
        'mmseg',
        19,
        90000,
        None,
        (2048, 1024),
        tenths(1024),
        (512, 1024),
        pad=False,
        tta=[512, 768, 1024, 1280, 1536, 1792],
        longest_tta=4096,
    ),
    '300k_mapillary-panoptic': Recipe(
        'mmdet', 65, 300000, None, (2048, 2048), tenths(2048), (1024, 1024), eval_every=300000, object_mask_thr=0.0
    ),
    '300k_mapillary-1024x1024': Recipe(
        'mmseg',
        65,
        300000,
        None,
        (2048, 2048),
        tenths(2048),
        (1024, 1024),
        tta=list(range(400, 1201, 100)),
        longest_tta=4000,
        eval_every=300000,
    ),
    'ms-300e_coco-panoptic': Recipe(
        'mmdet', 133, 554400, [369600], (1333, 800), pad=False, eval_every=554400, batch=64, detr=True
    ),
    '720k_ade20k-panoptic': Recipe(
        'mmdet', 150, 720000, None, (2560, 640), tenths(640), (640, 640), eval_every=720000, object_mask_thr=0.7
    ),
    '60k_coco-stuff10k-640x640': Recipe(
        'mmseg',
        171,
        60000,
        None,
        (2560, 640),
        list(range(320, 961, 64)),
        (640, 640),
        tta=[320, 480, 640, 800, 960, 1120],
        longest_tta=4480,
        batch=32,
        max_size=2560,
    ),
    '200k_ade20k-full-512x512': Recipe(
        'mmseg',
        847,
        200000,
        None,
        (2048, 512),
        tenths(512),
        (512, 512),
        tta=[256, 384, 512, 640, 768, 896],
        longest_tta=3584,
    ),
    '300k_mapillary-1280x1280': Recipe(
        'mmseg',
        65,
        300000,
        None,
        (2048, 2048),
        tenths(2048),
        (1280, 1280),
        tta=list(range(400, 1201, 100)),
        longest_tta=4000,
        eval_every=300000,
    ),
}
RECIPES |= {
    name: Recipe(
        'mmdet',
        classes,
        iters,
        [milestone],
        (1333, 360),
        [360, 480],
        pad=False,
        eval_every=iters,
        max_size=1333,
        video=True,
    )
    for name, classes, iters, milestone in (
        ('8e_youtubevis2019', 40, 6000, 4000),
        ('8e_youtubevis2021', 40, 8000, 5500),
        ('10k_ovis', 25, 10000, 7000),
    )
}
BOXES_FROM_MASKS = {  # where the official configs have them
    'mask-dino-3scale_r50_8xb2-lsj-50e_coco': 'bitmask',
    'mask-dino-4scale_r50_8xb2-lsj-50e_coco': 'mask2box',
    f'mask-dino-5scale_{L}_8xb2-lsj-50e_coco': 'bitmask',
    f'mask-dino-5scale_{O365}_16xb1-lsj-20e_coco': 'bitmask',
    'mask-dino-4scale_r50-objects365_8xb2-lsj-20e_coco': 'mask2box',
}
STEPS = {160000: [135000, 150000], 90000: [80000, 87000]}  # Mask DINO's learning rate falls in steps here, too
EXACT = {  # where the official code was counted to the last one
    'mask2former_r50_8xb2-lsj-50e_coco-panoptic': 43_983_878,
    'mask2former_r50_8xb2-lsj-50e_coco': 43_970_257,
    'mask2former_r50_8xb2-160k_ade20k-512x512': 43_988_247,
    'maskformer_r50_64xb1-ms-300e_coco-panoptic': 45_012_038,
    'maskformer_r50_8xb2-160k_ade20k-512x512': 41_254_743,
}
SWINS = {  # width, depths, heads, window, pretrained on
    T: (96, (2, 2, 6, 2), (3, 6, 12, 24), 7, 224),
    S: (96, (2, 2, 18, 2), (3, 6, 12, 24), 7, 224),
    B: (128, (2, 2, 18, 2), (4, 8, 16, 32), 12, 384),
    B21: (128, (2, 2, 18, 2), (4, 8, 16, 32), 12, 384),
    L: (192, (2, 2, 18, 2), (6, 12, 24, 48), 12, 384),
}
SYNC_BN = (
    'mask2former_r101_8xb2-160k_ade20k-512x512',
    *(row for row in ROWS if 'cityscapes' in row and not row.startswith('maskformer')),
)
# Names of what does not decay: norms, embeddings, Swin's position tables. Written without a look at the constructor.
NO_DECAY = re.compile(
    r'.*(\.bn\d\.|\.gn\.|\.norms?\d?\.|post_norm\.|downsample\.1\.|relative_position_bias_table|'
    r'_head\.(query_feat|query_embed|level_embed|label_embed|memory_trans_norm)\.)'
)


def test_every_recipe_is_in_the_table():
    assert {file_of(row) for row in ROWS} == {name for name in CONFIGS if 'demo' not in name}


@functools.cache
def read(row):
    """The config of a row, which no test may change."""
    return Config.fromfile(ROOT / file_of(row))


class Parts(NamedTuple):
    """What the name of a config says."""

    method: str
    backbone: str
    workers: int
    images: int  # of each worker
    recipe: Recipe


def parts(row):
    method, backbone, rest = row.replace('r50-objects365', 'r50').replace(O365, L).split('_', 2)
    batch, recipe = rest.split('-', 1)
    recipe = RECIPES[recipe]
    if method.startswith('mask-dino'):
        recipe = recipe._replace(milestones=STEPS.get(recipe.iters, recipe.milestones), object_mask_thr=0.25)
        if O365 in row:  # 1.2 times larger
            recipe = recipe._replace(test=(1600, 960), crop=(1216, 1216))
    if recipe.video and backbone in SWINS and not (backbone == L and row.endswith('2021')):
        recipe = recipe._replace(test=(1333, 480))
    return Parts(method, backbone, *map(int, batch.split('xb')), recipe)


def optimization(row):
    """Learning rate, its factor in the backbone, weight decay."""
    method, backbone = parts(row)[:2]
    if method == 'mask2former' or method.startswith('mask-dino'):
        return 1e-4, 0.1, 0.05
    return (6e-5, 1.0, 0.01) if backbone in SWINS else (1e-4, 0.1, 1e-4)


def steps_of(pipeline):
    """Transforms, also those that are made for every frame of a clip."""
    return [
        inner for step in pipeline for inner in (step.transforms if step.type == 'TransformBroadcaster' else [step])
    ]


@pytest.mark.parametrize('name', CONFIGS, ids=str)
def test_model_and_pipelines_build(name):
    cfg = Config.fromfile(ROOT / name)
    pytest.importorskip(cfg.default_scope)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
            if loader is not None:
                Compose(loader.dataset.pipeline)
        if 'demo' in name:
            MODELS.build(cfg.model)


@pytest.mark.parametrize('row', ROWS)
def test_numbers_of_the_optimization(row):
    cfg = read(row)
    wrapper, preprocessor = cfg.optim_wrapper, cfg.model.data_preprocessor
    rate, backbone_factor, decay = optimization(row)
    assert wrapper.optimizer.to_dict() == dict(type='AdamW', lr=rate, weight_decay=decay, betas=(0.9, 0.999), eps=1e-8)
    assert wrapper.clip_grad.to_dict() == dict(max_norm=0.01, norm_type=2)
    assert wrapper.constructor == 'm2f_mm.Mask2FormerOptimWrapperConstructor'
    assert wrapper.get('paramwise_cfg', {}).get('backbone_lr_mult', 0.1) == backbone_factor
    _, _, workers, images, recipe = parts(row)
    assert workers * images == cfg.auto_scale_lr.base_batch_size == recipe.batch
    assert cfg.train_dataloader.batch_size == images
    assert preprocessor.mean == [123.675, 116.28, 103.53] and preprocessor.std == [58.395, 57.12, 57.375]
    assert preprocessor.bgr_to_rgb is True


@pytest.mark.parametrize('row', ROWS)
def test_numbers_of_the_method(row):
    cfg = read(row)
    method, backbone, *_, recipe = parts(row)
    head = head_of(cfg.model)
    if method.startswith('per-pixel'):
        assert head.pixel_decoder == dict(type='m2f_mm.FPNPixelDecoder')
        if method == 'per-pixel-plus':
            decoder = head.transformer_decoder
            assert (decoder.num_layers, decoder.feedforward_channels, decoder.dropout) == (6, 2048, 0.1)
        return
    train = head.get('train_cfg') or cfg.model.train_cfg
    weights = [head[f'loss_{term}'].loss_weight for term in ('cls', 'mask', 'dice')]
    pixel_decoder, decoder = head.pixel_decoder, head.transformer_decoder
    if method.startswith('mask-dino'):
        return check_mask_dino(row, cfg, head, train, weights, cfg.model.test_cfg)
    assert head.loss_cls.no_object_weight == 0.1
    if method == 'mask2former':
        assert (train.num_points, train.oversample_ratio, train.importance_sample_ratio) == (12544, 3.0, 0.75)
        assert weights == [2.0, 5.0, 5.0]
        assert head.num_queries == (200 if backbone == L and recipe.scope == 'mmdet' else 100)
        if recipe.video:
            assert cfg.model.test_cfg.max_per_video == 10
            start = cfg.load_from.removeprefix('m2f_mm://')
            assert parts(start).backbone == backbone and start.endswith('_coco')
        assert pixel_decoder.num_layers == 6 and pixel_decoder.feedforward_channels == 1024
        assert (decoder.num_layers, decoder.feedforward_channels) == (9, 2048)
    else:
        assert train.num_points is None and weights == [1.0, 20.0, 1.0] and head.loss_mask.type == 'FocalLoss'
        assert head.num_queries == 100
        if recipe.scope == 'mmdet' and backbone not in SWINS:
            assert pixel_decoder.type == 'm2f_mm.TransformerEncoderPixelDecoder'
            assert pixel_decoder.num_layers == 6 and pixel_decoder.feedforward_channels == 2048
            assert pixel_decoder.dropout == 0.1
        else:
            assert pixel_decoder == dict(type='m2f_mm.FPNPixelDecoder')
        assert (decoder.num_layers, decoder.feedforward_channels, decoder.dropout) == (6, 2048, 0.1)
    if recipe.scope == 'mmdet' and not recipe.video:
        test = cfg.model.test_cfg
        assert (test.max_per_image, test.object_mask_thr, test.iou_thr, test.filter_low_score) == (
            100,
            recipe.object_mask_thr,
            0.8,
            method == 'mask2former',
        )


def check_mask_dino(row, cfg, head, train, weights, test):
    semantic, scales, boxes = cfg.default_scope == 'mmseg', int(row[len('mask-dino-')]), 'boxes' in row
    weights += [head[f'loss_{term}'].loss_weight for term in ('bbox', 'iou')]
    assert weights == [4.0, 5.0, 5.0, 5.0, 2.0]
    assert (train.num_points, train.oversample_ratio, train.importance_sample_ratio) == (12544, 3.0, 0.75)
    assert head.loss_cls.type == ('CrossEntropyLoss' if semantic else 'FocalLoss')
    assert head.loss_cls.get('no_object_weight') == (0.1 if semantic else None)
    assert head.num_queries == (100 if semantic else 300) and head.two_stage is not semantic
    assert (head.denoising_queries, head.noise_scale) == (100, 0.4)
    assert head.get('boxes_from_masks', 'no') == BOXES_FROM_MASKS.get(row, 'no')
    assert head.num_transformer_feat_level == scales
    pixel_decoder, decoder = head.pixel_decoder, head.transformer_decoder
    extra = 0 if scales == 3 else 1
    assert (pixel_decoder.num_extra_levels, pixel_decoder.fine_first, pixel_decoder.always_fpn) == (extra, extra, True)
    assert (pixel_decoder.num_layers, pixel_decoder.feedforward_channels) == (6, 1024 if scales == 3 else 2048)
    assert (decoder.num_layers, decoder.feedforward_channels) == (9, 2048)
    if not semantic:
        assert (test.max_per_image, test.object_mask_thr, test.iou_thr, test.filter_low_score, test.temperature) == (
            100,
            0.25,
            0.8,
            True,
            0.06,
        )
        metrics = ['bbox'] if boxes else ['bbox', 'segm']  # boxes are predicted, so they are evaluated
        for evaluators in (cfg.val_evaluator, cfg.test_evaluator):
            evaluators = evaluators if isinstance(evaluators, list) else [evaluators]
            assert [each.metric for each in evaluators if each.type == 'm2f_mm.CocoMetric'] == [metrics]
    assert head.get('predict_masks', True) is not boxes
    start = cfg.load_from and Path(cfg.load_from)
    assert bool(start) == ('-objects365_' in row)
    if start:
        begun = read(start.parent.name)
        assert start.name == f'iter_{begun.train_cfg.max_iters}.pth'
        assert {**head_of(begun.model), 'metainfo': 0, 'boxes_from_masks': 0} == {
            **head,
            'metainfo': 0,
            'boxes_from_masks': 0,
            'predict_masks': False,
        }
        assert begun.model.backbone == cfg.model.backbone


@pytest.mark.parametrize('row', ROWS)
def test_numbers_of_the_backbone(row):
    cfg = read(row)
    name, backbone = parts(row).backbone, cfg.model.backbone
    if name in SWINS:
        assert (
            backbone.embed_dims,
            backbone.depths,
            backbone.num_heads,
            backbone.window_size,
            backbone.pretrain_img_size,
        ) == SWINS[name]
        assert backbone.drop_path_rate == 0.3 and backbone.get('frozen_stages', -1) == -1
        assert head_of(cfg.model).in_channels == [backbone.embed_dims * 2**stage for stage in range(4)]
        assert backbone.init_cfg.checkpoint.endswith('_22k') == name.endswith('in21k')
    else:
        assert (
            backbone.depth == int(name[1:].rstrip('c')) and backbone.init_cfg.checkpoint == f'm2f_mm://resnet{name[1:]}'
        )
        assert backbone.frozen_stages == -1 and backbone.style == 'pytorch' and backbone.norm_eval is False
        assert backbone.norm_cfg.type == ('SyncBN' if row in SYNC_BN else 'm2f_mm.FrozenBN')


@pytest.mark.parametrize('row', ROWS)
def test_numbers_of_schedule_and_pipelines(row):
    cfg = read(row)
    recipe = parts(row).recipe
    assert cfg.default_scope == recipe.scope
    assert cfg.train_cfg.max_iters == recipe.iters and cfg.train_cfg.val_interval == recipe.eval_every
    *warm_up, schedule = cfg.param_scheduler
    if parts(row).method == 'maskformer' and parts(row).backbone in SWINS:
        assert warm_up == [dict(type='LinearLR', start_factor=1e-6, begin=0, end=1501, by_epoch=False)]
    else:
        assert not warm_up
    assert schedule.begin == 0 and schedule.end == recipe.iters and schedule.by_epoch is False
    if recipe.milestones is None:
        assert (schedule.type, schedule.power, schedule.eta_min) == ('PolyLR', 0.9, 0)
    else:
        assert (schedule.type, schedule.gamma, schedule.milestones) == ('MultiStepLR', 0.1, recipe.milestones)

    steps = {step.type.split('.')[-1]: step for step in steps_of(cfg.train_dataloader.dataset.pipeline)}
    if recipe.video:
        order = ['UniformRefFrameSample', 'ResizeShortestEdge', 'RandomFlip']
        frames, each = cfg.train_dataloader.dataset.pipeline[:2]
        assert (frames.num_ref_imgs, frames.frame_range, each.share_random_params) == (1, 20, True)
        assert cfg.train_dataloader.batch_sampler.type == 'TrackAspectRatioBatchSampler'
        assert steps['ResizeShortestEdge'].short_sides == recipe.sides
        assert steps['ResizeShortestEdge'].max_size == recipe.max_size
    elif recipe.detr:
        order = ['RandomFlip', 'RandomChoice']
        whole, cropped = steps['RandomChoice'].transforms
        assert steps['RandomChoice'].get('prob') is None  # both alike
        longest = 1000 if parts(row).backbone == L else 1333
        resize = dict(type='m2f_mm.ResizeShortestEdge', short_sides=list(range(480, 801, 32)), max_size=longest)
        assert whole == [resize] and cropped[2:] == [resize]
        assert cropped[0] == dict(type='m2f_mm.ResizeShortestEdge', short_sides=(400, 500, 600), max_size=None)
        assert cropped[1] == dict(type='RandomCrop', crop_type='absolute_range', crop_size=(384, 600))
    elif recipe.sides is None:
        order = ['RandomFlip', 'LargeScaleJitter']
        jitter = steps['LargeScaleJitter']
        assert jitter.scale == jitter.crop_size == recipe.crop and jitter.ratio_range == (0.1, 2.0)
    else:
        resize = next(step for step in steps if step in ('ResizeShortestEdge', 'RandomChoiceResize'))
        crop = 'FixedSizeCrop' if recipe.scope == 'mmdet' else 'RandomCrop'
        order = [resize, crop, 'ColorAugSSD', 'RandomFlip'] + ['Pad'] * recipe.pad
        longest = recipe.max_size or 2 * max(recipe.sides)
        if resize == 'ResizeShortestEdge':
            assert list(steps[resize].short_sides) == recipe.sides and steps[resize].max_size == longest
        else:
            assert steps[resize].scales == [(longest, side) for side in recipe.sides]
        if recipe.scope == 'mmdet':
            assert steps[crop].diagonal is steps[crop].pad is False
        else:
            assert steps[crop].cat_max_ratio == 1.0
        assert steps[crop].crop_size == recipe.crop
        if recipe.pad:
            assert steps['Pad'].size == recipe.crop[::-1] and steps['Pad'].pad_val.img == 128
    assert [name for name in steps if name in order] == order and steps['RandomFlip'].prob == 0.5
    resize = next(step for step in steps_of(cfg.test_dataloader.dataset.pipeline) if step.type == 'Resize')
    assert resize.scale == recipe.test and resize.keep_ratio and resize.backend == 'pillow'
    if recipe.tta:
        assert cfg.tta_pipeline[1].scale == recipe.test
        scales = cfg.tta_pipeline[-1].transforms[0]
        assert [step.scale for step in scales] == [(recipe.longest_tta, side) for side in recipe.tta]
    preprocessor = cfg.model.data_preprocessor
    if row in BASELINES:
        assert preprocessor.test_cfg is None
    else:
        divisor = preprocessor.get('pad_size_divisor') or preprocessor.test_cfg.size_divisor
        assert divisor == (1 if recipe.detr else 32)


def rows_that_run():
    """Of rows that differ in their backbone alone, the one with R50, or Swin-T where there is none; each backbone of a
    method once."""
    done, rows = set(), []
    for row in ROWS:
        method, backbone, rest = row.split('_', 2)
        family = re.sub(r'(?<=mask-dino).*', '', method)
        known = {(family, parts(row).backbone), (method, rest)}
        if backbone == 'r50' or (backbone == T and not known <= done) or (family, parts(row).backbone) not in done:
            rows.append(row)
        done |= known
    return rows


RUN = rows_that_run()


@pytest.fixture
def without_initialization(request, monkeypatch):
    """Weights of models that are counted and never run stay as memory was: to draw them takes seconds."""
    if request.node.callspec.params['row'] in RUN:
        return
    for name in vars(torch.nn.init):
        if name.endswith('_') and not name.startswith('_'):
            monkeypatch.setattr(torch.nn.init, name, lambda tensor, *_, **__: tensor)
    for name in ('trunc_normal_', '_no_grad_trunc_normal_'):
        monkeypatch.setattr(f'mmengine.model.weight_init.{name}', lambda tensor, *_, **__: tensor)


@pytest.mark.parametrize('row', ROWS)
def test_model_is_the_official_one(row, without_initialization):
    """Number of parameters; the optimizer's groups; a training step reaches all of them; a prediction."""
    cfg = copy.deepcopy(read(row))
    method, *_, recipe = parts(row)
    pytest.importorskip(recipe.scope)
    if method == 'mask2former' or method.startswith('mask-dino'):
        (head_of(cfg.model).get('train_cfg') or cfg.model.train_cfg).num_points = 64
    cfg.model.data_preprocessor.pop('size', None)
    cfg.model.data_preprocessor.setdefault('size_divisor', 32) if recipe.scope == 'mmseg' else None
    with DefaultScope.overwrite_default_scope(recipe.scope):
        model = MODELS.build(cfg.model)
        wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    model = revert_sync_batchnorm(model)
    trainable = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    count = sum(parameter.numel() for parameter in trainable.values())
    assert round(count / 1e6, 2) == ROWS[row] and count == EXACT.get(row, count)

    names = {id(parameter): name for name, parameter in trainable.items()}
    grouped = {}
    for group in wrapper.optimizer.param_groups:
        grouped.update(
            {
                names[id(parameter)]: (group['lr'], group['weight_decay'])
                for parameter in group['params']
                if id(parameter) in names
            }
        )
    rate, backbone_factor, decay = optimization(row)
    expected = {
        name: (rate * (backbone_factor if name.startswith('backbone.') else 1), 0.0 if NO_DECAY.match(name) else decay)
        for name in trainable
    }
    assert {name: pytest.approx(value) for name, value in grouped.items()} == expected

    if row not in RUN:
        return
    data = batch(recipe)
    step(model.train(), data)
    assert not [name for name, parameter in trainable.items() if parameter.grad is None]
    with torch.no_grad():
        results = model.eval().test_step(batch(recipe))
    assert len(results) == 2
    if recipe.video:
        assert all(len(frame.pred_track_instances) == 10 for clip in results for frame in clip.video_data_samples)
        return
    for result in results:
        for field in ('pred_instances', 'pred_panoptic_seg', 'pred_sem_seg'):
            assert (field in result) == has_field(cfg, field), field


def batch(recipe):
    if recipe.scope == 'mmseg':
        return semantic_batch(sizes=((64, 64), (64, 64)))
    if recipe.video:
        return clip_batch()
    return detection_batch(semantic=False, sizes=((64, 64), (48, 64)))


def has_field(cfg, field):
    if cfg.default_scope == 'mmseg':
        return field == 'pred_sem_seg'
    task = dict(pred_instances='instance_on', pred_panoptic_seg='panoptic_on', pred_sem_seg='semantic_on')[field]
    return cfg.model.test_cfg[task]
