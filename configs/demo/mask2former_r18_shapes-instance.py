# The things among the shapes, in COCO's instance form.
_base_ = [
    '../_base_/models/mask2former_r18_small.py',
    '../_base_/datasets/shapes_instance.py',
    '../_base_/schedules/shapes_1200.py',
    '../_base_/default_runtime.py',
]
model = dict(panoptic_head=dict(metainfo={{_base_.metainfo}}), test_cfg=dict(instance_on=True))
train_dataloader = dict(num_workers=1)
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=400, max_keep_ckpts=1))
