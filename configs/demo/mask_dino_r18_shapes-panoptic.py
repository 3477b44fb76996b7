# Panoptic shapes and boxes with Mask DINO on two CPU cores. Images are enlarged to twice their size: many objects are
# little wider than a cell of the finest level.
_base_ = [
    '../_base_/models/mask_dino_r18_small.py',
    '../_base_/datasets/shapes_panoptic.py',
    '../_base_/schedules/shapes_1200.py',
    '../_base_/default_runtime.py',
]
model = dict(panoptic_head=dict(metainfo={{_base_.metainfo}}), test_cfg=dict(panoptic_on=True, instance_on=True))

size = (256, 256)
train_pipeline, test_pipeline = _base_.train_pipeline, _base_.test_pipeline
train_pipeline[3].update(scale=size, crop_size=size)
test_pipeline[1].scale = size
train_dataloader = dict(num_workers=1, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = _base_.val_evaluator
val_evaluator[1].metric = ['bbox', 'segm']
test_evaluator = val_evaluator

optim_wrapper = dict(optimizer=dict(lr=1.5e-3))
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=400, max_keep_ckpts=1))
