"""One import swaps the classes of unchanged configs; in a process of its own, because that lasts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')
SCRIPT = """
import m2f_mm.dropin
from m2f_mm.integrations import (Mask2Former, Mask2FormerHead, Mask2FormerSegHead, Mask2FormerTrackHead,
                                 Mask2FormerVideo, MaskFormerFusionHead)
from tests.helpers.tiny_models import build_detector, build_segmentor, detection_batch, mmdet_config
from tests.helpers.tiny_models import mmseg_config, semantic_batch, step
from tests.helpers.tiny_models import clip_batch, maskformer_config, video_config

detector = build_detector(mmdet_config())
assert type(detector) is Mask2Former and type(detector.panoptic_head) is Mask2FormerHead
assert type(detector.panoptic_fusion_head) is MaskFormerFusionHead
assert all(loss.isfinite() for loss in step(detector, detection_batch()).values())

tracker = build_detector(video_config())
assert type(tracker) is Mask2FormerVideo and type(tracker.track_head) is Mask2FormerTrackHead
assert all(loss.isfinite() for loss in step(tracker, clip_batch()).values())

# A panoptic config of MMDetection as it is, but for paths, classes and sizes: trains and evaluates.
import sys
import mmdet
from tests.helpers import small_data
from mmengine.runner import Runner
from pathlib import Path
from tests.helpers.tiny_models import stock_config
root = Path(sys.argv[1])
def boxes(content):
    for annotation in content['annotations']:
        for segment, (x, y, width, height) in zip(annotation['segments_info'],
                                                  [*small_data.boxes(), (0, 0, *small_data.SIZE[::-1])]):
            segment['bbox'] = [x, y, width, height]
for name in ('mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic', 'maskformer/maskformer_r50_ms-16xb1-75e_coco'):
    cfg = stock_config(mmdet, name + '.py')
    thin = mmdet_config() if 'mask2former' in name else maskformer_config()
    cfg.model.update(thin)
    metainfo = dict(classes=('disc', 'square', 'ground'), thing_classes=('disc', 'square'), stuff_classes=('ground',))
    for part in (cfg.model.panoptic_head, cfg.model.panoptic_fusion_head):
        part.update(num_things_classes=2, num_stuff_classes=1)
    cfg.model.panoptic_head.loss_cls.class_weight = [1.0] * 3 + [0.1]
    for split in ('train', 'val'):
        small_data.panoptic(root, split=split)  # its segments have neither boxes nor areas of their own
        loader = cfg[f'{split}_dataloader']
        loader.update(num_workers=0, persistent_workers=False, batch_size=2 if split == 'train' else 1)
        loader.dataset.update(data_root=f'{root}/', metainfo=metainfo, ann_file=f'annotations/panoptic_{split}.json',
                              data_prefix=dict(img=f'img_dir/{split}/', seg=f'annotations/panoptic_{split}/'))
    cfg.val_evaluator = dict(type='CocoPanopticMetric', ann_file=f'{root}/annotations/panoptic_val.json',
                             seg_prefix=f'{root}/annotations/panoptic_val/')
    cfg.test_dataloader, cfg.test_evaluator = cfg.val_dataloader, cfg.val_evaluator
    for each in cfg.train_dataloader.dataset.pipeline:
        if each.type == 'RandomResize':
            each.scale = (64, 48)
        if each.type == 'RandomCrop':
            each.crop_size = (48, 48)
        if each.type == 'RandomChoice':
            each.transforms = [[dict(type='RandomFlip', prob=0.5)]]
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=2, val_interval=2)
    cfg.param_scheduler, cfg.work_dir, cfg.default_scope = [], f'{root}/work', 'mmdet'
    cfg.experiment_name = cfg.model.type
    cfg.default_hooks.checkpoint.update(by_epoch=False, interval=100, save_last=False)
    runner = Runner.from_cfg(cfg)
    runner.train()
    print(runner.message_hub.get_scalar('val/coco_panoptic/PQ').current())

# A Swin is frozen before anybody lists the parameters whose gradients are waited for.
for cfg, build in ((mmdet_config(), build_detector), (mmseg_config(), build_segmentor)):
    cfg.backbone = dict(type='SwinTransformer', embed_dims=16, num_heads=[1, 2, 4, 8], depths=[1] * 4, frozen_stages=1)
    frozen = [name for name, weight in build(cfg).backbone.named_parameters() if not weight.requires_grad]
    assert any('stages.0' in name for name in frozen) and not any('stages.1' in name for name in frozen), frozen

segmentor = build_segmentor(mmseg_config())
assert type(segmentor.decode_head) is Mask2FormerSegHead
assert all(loss.isfinite() for loss in step(segmentor, semantic_batch()).values())
print('swapped')
"""


def test_dropin(tmp_path):
    tests = Path(__file__).parents[1]
    path = os.pathsep.join([str(tests), str(tests.parent), os.environ.get('PYTHONPATH', '')])
    environment = {**os.environ, 'PYTHONPATH': path, 'OMP_NUM_THREADS': '1'}
    done = subprocess.run(
        [sys.executable, '-c', SCRIPT, str(tmp_path)], env=environment, text=True, capture_output=True
    )
    assert done.returncode == 0 and done.stdout.endswith('swapped\n'), done.stderr[-2000:]
