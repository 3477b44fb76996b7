"""Values that a config says twice: each disagreement is named with both values."""

import pytest
from mmengine.config import Config

from m2f_mm.apis.configs import config_path
from m2f_mm.engine.config_checks import palette_warnings, training_warnings, tta_warnings, unread_warnings

DEMO = config_path('demo/mask2former_r18_shapes-semantic')
MINE = f'_base_ = [{DEMO!r}]\n'
EPOCHS = "train_cfg = dict(_delete_=True, type='EpochBasedTrainLoop', max_epochs=12)\n"


@pytest.fixture
def config(tmp_path):
    def write(text):
        (tmp_path / 'mine.py').write_text(MINE + text)
        return Config.fromfile(tmp_path / 'mine.py')

    return write


@pytest.mark.parametrize(
    'name',
    [
        'demo/mask2former_r18_shapes-semantic',
        'demo/mask_dino_r18_shapes-panoptic',
        'demo/mask2former_r18_shape-videos',
        'maskformer_r50_8xb2-160k_ade20k-512x512',
        'mask2former_r50_8xb2-lsj-50e_coco-panoptic',
    ],
)
def test_shipped_configs_agree_with_themselves(name):
    cfg = Config.fromfile(config_path(name))
    assert training_warnings(cfg, 8 if '8xb2' in name else 1) == []
    assert list(tta_warnings(cfg)) == [] or 'tta_pipeline' not in cfg


@pytest.mark.parametrize(
    'text, said',
    [
        ('train_cfg = dict(max_iters=2000)', ['max_iters is 2000', 'param_scheduler[1].end is 1200', '.end=2000']),
        ('train_cfg = dict(max_iters=20)', ['max_iters is 20', 'param_scheduler[1].end is 1200']),
        ('train_cfg = dict(max_iters=20)', ['max_iters is 20', 'val_interval is 400']),
        ('train_cfg = dict(max_iters=20)', ['max_iters is 20', 'checkpoint.interval is 400']),
        (
            "param_scheduler = [dict(type='MultiStepLR', by_epoch=False, end=1200, milestones=[900, 1300])]",
            ['max_iters is 1200', 'milestones has 1300'],
        ),
        ("param_scheduler = [dict(type='PolyLR', end=1200)]", ['param_scheduler[0].by_epoch is True', 'iterations']),
        (
            "param_scheduler = [dict(type='PolyLR', begin=1200, by_epoch=False)]",
            ['max_iters is 1200', 'begins at 1200'],
        ),
        ('default_hooks = dict(checkpoint=dict(by_epoch=True))', ['checkpoint.by_epoch is True', 'iterations']),
        (EPOCHS, ['EpochBasedTrainLoop', 'InfiniteSampler']),
        (EPOCHS + "param_scheduler = [dict(type='PolyLR', end=24)]", ['max_epochs is 12', 'end is 24']),
        ('train_dataloader = dict(batch_size=2)', ['2 images', 'base_batch_size=8']),
        ('optim_wrapper = dict(accumulative_counts=2)', ['16 images', 'base_batch_size=8']),
        ('model = dict(data_preprocessor=dict(size=(64, 64)))', ['(64, 64)', '(128, 128)']),
        ('max_iters = 100', ['max_iters was changed to 100', 'still 1200']),
        ('crop_size = (256, 256)', ['crop_size was changed to (256, 256)', 'still (128, 128)']),
        ("data_root = 'mine'", ['data_root was changed to mine', 'dataset.data_root is still']),
        (
            "metainfo = dict(classes=('a', 'b'))\ntrain_dataloader = dict(dataset=dict(metainfo=metainfo))",
            ['7 colors', '2 names'],
        ),
        (
            "metainfo = dict(classes=tuple('abcdefg'))\ntrain_dataloader = dict(dataset=dict(metainfo=metainfo))",
            ['palette is that of the base config for disc, square', 'classes are a, b'],
        ),
    ],
)
def test_both_values_are_named(config, text, said):
    warnings = training_warnings(config(text))
    assert any(all(part in warning for part in said) for warning in warnings), warnings


def test_what_is_said_once_is_not_warned_of(config):
    cfg = config(
        'max_iters = 50\ntrain_cfg = dict(max_iters=max_iters, val_interval=max_iters)\nparam_scheduler = []\n'
        'default_hooks = dict(checkpoint=dict(interval=max_iters))\n'
        "metainfo = dict(_delete_=True, classes=('a', 'b'))\n"
        'train_dataloader = dict(dataset=dict(metainfo=metainfo))\n'
    )
    assert [warning for warning in training_warnings(cfg) if 'val_dataloader' not in warning] == []


def test_options_of_the_command_line_that_nothing_reads():
    cfg = Config.fromfile(DEMO)
    cfg.merge_from_dict(dict(crop_size=(64, 64)))
    # The config has no base with another value to compare: its own bases do.
    assert any(
        'crop_size was changed to (64, 64)' in warning for warning in unread_warnings(cfg, dict(crop_size=(64, 64)))
    )


@pytest.mark.parametrize(
    'step, said',
    [
        ("dict(type='Resize', scale=(512, 512), keep_ratio=True, backend='pillow')", ['96x96', '512x512']),
        ("dict(type='m2f_mm.OtherLoader')", ['OtherLoader', 'tta_pipeline of its own']),
    ],
)
def test_test_time_augmentation_of_the_base(config, step, said):
    cfg = config(
        'test_dataloader = dict(dataset=dict(pipeline=[dict(type="LoadImageFromFile"), '
        f'dict(type="m2f_mm.LoadLabelMap"), {step}, dict(type="PackSegInputs")]))'
    )
    warnings = list(tta_warnings(cfg))
    assert len(warnings) == 1 and all(part in warnings[0] for part in said), warnings
    assert list(palette_warnings(cfg)) == []
