# A small Mask2Former that learns the generated shapes from scratch on two CPU cores: see `make demo`.
_base_ = [
    '../_base_/models/mask2former_r50.py', '../_base_/datasets/shapes_panoptic.py',
    '../_base_/schedules/mask2former_adamw.py', '../_base_/default_runtime.py'
]
model = dict(
    backbone=dict(
        depth=18, base_channels=32, stem_channels=32, norm_cfg=dict(_delete_=True, type='BN'), init_cfg=None),
    panoptic_head=dict(
        num_things_classes={{_base_.num_things}},
        num_stuff_classes={{_base_.num_stuff}},
        in_channels=[32, 64, 128, 256],
        feat_channels=64,
        out_channels=64,
        num_queries=40,
        pixel_decoder=dict(num_layers=2, feedforward_channels=128),
        transformer_decoder=dict(num_layers=3, embed_dims=64, feedforward_channels=256)),
    train_cfg=dict(num_points=1024),
    test_cfg=dict(panoptic_on=True, instance_on=True, object_mask_thr=0.5, max_per_image=40))

max_iters = 1200
# A net from scratch takes larger steps than one that starts from ImageNet.
optim_wrapper = dict(
    optimizer=dict(lr=1e-3), clip_grad=dict(max_norm=1.0), paramwise_cfg=dict(backbone_lr_mult=1.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, begin=0, end=30, by_epoch=False),
    dict(type='PolyLR', power=0.9, eta_min=0, begin=0, end=max_iters, by_epoch=False)
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=400)
train_dataloader = dict(num_workers=1)
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=400, max_keep_ckpts=1))
