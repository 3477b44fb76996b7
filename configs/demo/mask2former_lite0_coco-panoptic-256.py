# A small Mask2Former that starts from a pretrained EfficientNet-Lite0, on a folder in COCO's panoptic layout at 256
# pixels, for a machine without GPU. COCO_ROOT names the folder.
_base_ = [
    '../_base_/models/mask2former_lite0_small.py',
    '../_base_/datasets/coco_panoptic.py',
    '../_base_/schedules/mask2former_adamw.py',
    '../_base_/default_runtime.py',
]
size = (256, 256)
train_pipeline = _base_.train_pipeline
train_pipeline[3].update(scale=size, crop_size=size)
test_pipeline = _base_.test_pipeline
test_pipeline[1].scale = size
train_dataloader = dict(batch_size=4, num_workers=1, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(num_workers=1, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = _base_.val_evaluator[:1]  # PQ; AP would need the instances JSON of the same images
test_evaluator = val_evaluator
model = dict(panoptic_head=dict(metainfo={{_base_.dataset_type}}), test_cfg=dict(panoptic_on=True))

max_iters = 1000
optim_wrapper = dict(optimizer=dict(lr=1e-3), clip_grad=dict(max_norm=1.0))  # the head starts from scratch
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, begin=0, end=30, by_epoch=False),
    dict(type='PolyLR', power=0.9, eta_min=0, begin=0, end=max_iters, by_epoch=False),
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=500)
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=500, max_keep_ckpts=1))
auto_scale_lr = dict(base_batch_size=4)
