# The COCO panoptic recipe at 256 pixels, for a folder in COCO's layout with a few images and a machine without GPU:
# only crops, schedule and data differ. COCO_ROOT names the folder.
_base_ = ['../mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic.py']
size = (256, 256)
train_pipeline = _base_.train_pipeline
train_pipeline[3].update(scale=size, crop_size=size)
test_pipeline = _base_.test_pipeline
test_pipeline[1].scale = size
train_dataloader = dict(num_workers=1, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(num_workers=1, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = _base_.val_evaluator[:1]  # PQ; AP would need the instances JSON of the same images
test_evaluator = val_evaluator

# From scratch, with a norm that needs no statistics; without these lines, from ImageNet as the recipe.
model = dict(backbone=dict(init_cfg=None, norm_cfg=dict(_delete_=True, type='GN', num_groups=32)))
max_iters = 100
optim_wrapper = dict(paramwise_cfg=dict(backbone_lr_mult=1.0))  # nothing pretrained to be careful with
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0, begin=0, end=max_iters, by_epoch=False)]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=max_iters, max_keep_ckpts=1))
auto_scale_lr = dict(base_batch_size=2)
