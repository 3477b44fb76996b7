"""Images through preparation, training and evaluation, from a project of its own that inherits a recipe and changes a
few values: sizes and widths, so that it takes seconds. Real ones of COCO and ADE20K, generated ones in the layout of
Cityscapes and Mapillary Vistas."""

import shutil
from pathlib import Path

import pytest

from tests.helpers.commands import output_of

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / 'shared/data'
MINE = """
_base_ = __import__('m2f_mm').config_path('{recipe}')
head = dict(in_channels=[16, 32, 64, 128], feat_channels=32, out_channels=32, num_queries=20,
            transformer_decoder=dict(embed_dims=32, feedforward_channels=32))
model = dict(backbone=dict(base_channels=4, stem_channels=4, init_cfg=None), {slot}=head{model})
del head
train_dataloader = dict(batch_size=1, num_workers=0, persistent_workers=False)
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(indices=2))
train_cfg = dict(max_iters=2, val_interval=2)
"""
SMALL = """
train_pipeline, test_pipeline = _base_.train_pipeline, _base_.test_pipeline
train_pipeline[3].crop_size = (128, 128)
test_pipeline[1].scale = (256, 128)
train_dataloader.update(dataset=dict(pipeline=train_pipeline))
val_dataloader['dataset'].update(pipeline=test_pipeline)
"""


def run(*command, **environment):
    return output_of(*command, env=environment, timeout=900)


@pytest.fixture(scope='module')
def ade(tmp_path_factory):
    """ADE20K as a user prepares it, beside the download."""
    given = DATA / 'ade20k_derived/ADEChallengeData2016'
    if not given.is_dir():
        pytest.skip(f'needs {given}')
    root = tmp_path_factory.mktemp('ade')
    for part in ('images', 'annotations', 'annotations_instance'):
        shutil.copytree(given / part, root / part)
    run(ROOT / 'tools/dataset_converters/ade20k.py', root, '--workers', 2)
    return root


@pytest.mark.parametrize(
    'recipe, slot, model, metrics',
    [
        (
            'mask2former/mask2former_r50_8xb2-160k_ade20k-panoptic.py',
            'panoptic_head',
            ', test_cfg=dict(object_mask_thr=0.01)',
            ('coco_panoptic/PQ', 'coco/segm_mAP', 'mIoU'),
        ),
        ('maskformer/maskformer_r50_8xb2-160k_ade20k-512x512.py', 'decode_head', '', ('mIoU',)),
    ],
    ids=['panoptic', 'semantic with MaskFormer'],
)
def test_ade20k(ade, recipe, slot, model, metrics, tmp_path):
    pytest.importorskip('mmseg' if slot == 'decode_head' else 'mmdet')
    config = tmp_path / 'mine.py'
    config.write_text(MINE.format(recipe=recipe, slot=slot, model=model))
    output = run(ROOT / 'tools/train.py', config, '--work-dir', tmp_path / 'work', ADE_ROOT=str(ade))
    assert all(metric in output for metric in metrics), output[-2000:]


def test_cityscapes(tmp_path):
    """Train ids, panoptic and instance annotations are made; PQ, mIoU and cityscapesScripts' AP come out."""
    for package in ('mmdet', 'cityscapesscripts'):
        pytest.importorskip(package)
    from tests.helpers.dataset_layouts import write_cityscapes

    root = write_cityscapes(tmp_path / 'cityscapes')
    printed = run(ROOT / 'tools/dataset_converters/cityscapes.py', root, '--workers', 2)
    assert 'cityscapes_panoptic_train.json: 4 images' in printed
    config = tmp_path / 'mine.py'
    config.write_text(
        MINE.format(
            recipe='mask2former/mask2former_r50_8xb2-90k_cityscapes-panoptic.py', slot='panoptic_head', model=''
        ).replace('backbone=dict(', "backbone=dict(norm_cfg=dict(_delete_=True, type='BN'), ")
        + SMALL
        + """
train_pipeline[2].short_sides = [128]
"""
    )
    output = run(
        ROOT / 'tools/train.py',
        config,
        '--work-dir',
        tmp_path / 'work',
        '--cfg-options',
        f'val_evaluator.1.outfile_prefix={tmp_path}/ap',
        CITYSCAPES_ROOT=str(root),
    )
    assert all(metric in output for metric in ('cityscapes_panoptic/PQ', 'cityscapes/mAP', 'mIoU')), output[-2000:]


def test_mapillary(tmp_path):
    """As downloaded, through MMSegmentation."""
    pytest.importorskip('mmseg')
    from tests.helpers.dataset_layouts import write_mapillary

    root = write_mapillary(tmp_path / 'mapillary')
    config = tmp_path / 'mine.py'
    config.write_text(
        MINE.format(recipe='maskformer/maskformer_r50_8xb2-300k_mapillary-1280x1280.py', slot='decode_head', model='')
        + SMALL
        + """
train_pipeline[2].scales = [(512, 128)]
train_pipeline[6].size = (128, 128)
model.update(data_preprocessor=dict(size=(128, 128)))
"""
    )
    output = run(ROOT / 'tools/train.py', config, '--work-dir', tmp_path / 'work', MAPILLARY_ROOT=str(root))
    assert 'mIoU' in output


def test_coco_panoptic_with_maskformer(tmp_path):
    """DETR's sizes, images that are not padded, and PQ."""
    pytest.importorskip('mmdet')
    if not (DATA / 'coco_panoptic').is_dir():
        pytest.skip(f'needs {DATA / "coco_panoptic"}')
    config = tmp_path / 'mine.py'
    config.write_text(
        MINE.format(recipe='maskformer/maskformer_r50_64xb1-ms-300e_coco-panoptic.py', slot='panoptic_head', model='')
    )
    output = run(
        ROOT / 'tools/train.py', config, '--work-dir', tmp_path / 'work', COCO_ROOT=str(DATA / 'coco_panoptic')
    )
    assert 'coco_panoptic/PQ' in output
