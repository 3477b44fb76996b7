# Panoptic shapes and boxes with Mask DINO on two CPU cores.
_base_ = [
    '../_base_/models/mask_dino_r18_small.py', '../_base_/datasets/shapes_panoptic.py',
    '../_base_/schedules/shapes_1200.py', '../_base_/default_runtime.py'
]
model = dict(panoptic_head=dict(metainfo={{_base_.metainfo}}), test_cfg=dict(panoptic_on=True, instance_on=True))
train_dataloader = dict(num_workers=1)
val_evaluator = _base_.val_evaluator
val_evaluator[1].metric = ['bbox', 'segm']
test_evaluator = val_evaluator
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=400, max_keep_ckpts=1))
