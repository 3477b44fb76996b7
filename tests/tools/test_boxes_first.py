"""As the paper of Mask DINO goes: detection alone on data in the layout of Objects365, then segmentation from its
checkpoint, here of images of which half have boxes alone."""

import json
import shutil
from pathlib import Path

import pytest

from m2f_mm.datasets.converters.shapes import write_shapes
from m2f_mm.datasets.shapes import ShapesSpec
from tests.helpers.commands import output_of

pytest.importorskip('mmdet')
ROOT = Path(__file__).resolve().parents[2]
SMALL = """
model = dict(
    data_preprocessor=dict(pad_size_divisor=32),
    backbone=dict(depth=18, base_channels=8, stem_channels=8, init_cfg=None),
    panoptic_head=dict(
        in_channels=[8, 16, 32, 64], feat_channels=64, out_channels=32, num_queries=20, denoising_queries=20,
        pixel_decoder=dict(num_layers=1, feedforward_channels=32),
        transformer_decoder=dict(num_layers=2, embed_dims=64, feedforward_channels=32)),
    train_cfg=dict(num_points=64))
train_cfg = dict(max_iters=2, val_interval=2)
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=2))
"""
DETECTION = (
    """
_base_ = __import__('m2f_mm').config_path('mask-dino-4scale-boxes_r50_32xb2-lsj-26e_objects365')
train_pipeline, test_pipeline = _base_.train_pipeline, _base_.test_pipeline
train_pipeline[3].update(scale=(64, 64), crop_size=(64, 64))
test_pipeline[1].scale = (64, 64)
train_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
"""
    + SMALL
)
SEGMENTATION = (
    """
_base_ = [__import__('m2f_mm').config_path(f'_base_/{{part}}.py') for part in (
    'models/mask_dino_r50', 'datasets/shapes_instance', 'schedules/coco_20e', 'default_runtime')]
train_pipeline, masks = _base_.train_pipeline, _base_.train_dataloader.dataset
train_pipeline[3].update(scale=(64, 64), crop_size=(64, 64))
masks.pipeline = train_pipeline
boxes = __import__('copy').deepcopy(masks)
boxes.pipeline[1].with_mask = False
train_dataloader = dict(
    batch_size=3, num_workers=0, persistent_workers=False,
    dataset=dict(_delete_=True, type='ConcatDataset', datasets=[masks, boxes]))
val_dataloader = dict(num_workers=0, persistent_workers=False)
test_dataloader = val_dataloader
val_evaluator = dict(metric=['bbox', 'segm'])
test_evaluator = val_evaluator
load_from = '{checkpoint}'
"""
    + SMALL.replace('{', '{{').replace('}', '}}')
    + """
model['panoptic_head'].update(metainfo=_base_.metainfo, boxes_from_masks='mask2box')
model['test_cfg'] = dict(panoptic_on=False, instance_on=True)
del masks, boxes
"""
)


@pytest.fixture(scope='module')
def shapes(tmp_path_factory):
    folder = tmp_path_factory.mktemp('shapes')
    write_shapes(str(folder), ShapesSpec(height=64, width=64), 3, 6, 2)
    return folder


def write_objects365(shapes, root):
    """The shapes' boxes under four of the 365 names, in patches, as the download has it."""
    from mmdet.datasets import Objects365V2Dataset

    names = Objects365V2Dataset.METAINFO['classes']
    for split in ('train', 'val'):
        content = json.loads((shapes / f'annotations/instances_{split}.json').read_text())
        (root / split / 'patch0').mkdir(parents=True)
        for image in content['images']:
            shutil.copy(shapes / f'img_dir/{split}' / image['file_name'], root / split / 'patch0')
            image['file_name'] = f'images/v1/patch0/{image["file_name"]}'
        for annotation in content['annotations']:
            del annotation['segmentation']
        content['categories'] = [dict(id=i + 1, name=name) for i, name in enumerate(names)]
        (root / 'annotations').mkdir(exist_ok=True)
        (root / f'annotations/zhiyuan_objv2_{split}.json').write_text(json.dumps(content))
    return root


def run(*command, **folders):
    return output_of(*command, env={name: f'{folder}/' for name, folder in folders.items()})


def logged(folder):
    """Names of all losses and metrics of a run."""
    (scalars,) = folder.glob('*/vis_data/scalars.json')
    return {name for line in scalars.read_text().splitlines() for name in json.loads(line)}


@pytest.mark.slow
def test_boxes_then_masks(shapes, tmp_path):
    config = tmp_path / 'detection.py'
    config.write_text(DETECTION)
    objects365 = write_objects365(shapes, tmp_path / 'objects365')
    run(ROOT / 'tools/train.py', config, '--work-dir', tmp_path / 'boxes', OBJECTS365_ROOT=objects365)
    names = logged(tmp_path / 'boxes')
    assert {'loss_bbox', 'enc_loss_iou', 'dn_loss_iou', 'coco/bbox_mAP'} <= names
    assert not any('mask' in name or 'dice' in name or 'segm' in name for name in names)

    checkpoint = tmp_path / 'boxes/iter_2.pth'
    config = tmp_path / 'segmentation.py'
    config.write_text(SEGMENTATION.format(checkpoint=checkpoint))
    output = run(ROOT / 'tools/train.py', config, '--work-dir', tmp_path / 'masks', SHAPES_ROOT=shapes)
    assert f'Load checkpoint from {checkpoint}' in output
    assert 'size mismatch for panoptic_head.cls_embed.weight' in output  # says what it left out
    assert {'loss_bbox', 'loss_mask', 'dn_loss_dice', 'coco/bbox_mAP', 'coco/segm_mAP'} <= logged(tmp_path / 'masks')
