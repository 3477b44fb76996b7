# The ADE20K semantic recipe at 256 pixels, for a folder in ADE20K's layout with a few images and a machine without
# GPU: only crops, schedule and data differ. ADE_ROOT names the folder.
_base_ = ['../mask2former/mask2former_r50_8xb2-160k_ade20k-512x512.py']
crop_size = (256, 256)
train_pipeline = _base_.train_pipeline
train_pipeline[2].scales = [(1024, int(0.1 * k * 256)) for k in range(5, 21)]
train_pipeline[3].crop_size = crop_size
train_pipeline[6].size = crop_size
test_pipeline = _base_.test_pipeline
test_pipeline[1].scale = (1024, 256)
train_dataloader = dict(num_workers=1, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(num_workers=1, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

# From scratch, with a norm that needs no statistics; without the backbone's line, from ImageNet as the recipe.
model = dict(
    data_preprocessor=dict(size=crop_size),
    backbone=dict(init_cfg=None, norm_cfg=dict(_delete_=True, type='GN', num_groups=32)),
)
max_iters = 40
optim_wrapper = dict(paramwise_cfg=dict(backbone_lr_mult=1.0))  # nothing pretrained to be careful with
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0, begin=0, end=max_iters, by_epoch=False)]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
default_hooks = dict(logger=dict(interval=5), checkpoint=dict(interval=max_iters, max_keep_ckpts=1))
auto_scale_lr = dict(base_batch_size=2)
