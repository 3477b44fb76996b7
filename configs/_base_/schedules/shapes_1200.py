# 1200 iterations of 8 images. A net from scratch takes larger steps than one that starts from ImageNet.
_base_ = ['./mask2former_adamw.py']
max_iters = 1200
optim_wrapper = dict(optimizer=dict(lr=1e-3), clip_grad=dict(max_norm=1.0), paramwise_cfg=dict(backbone_lr_mult=1.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, begin=0, end=30, by_epoch=False),
    dict(type='PolyLR', power=0.9, eta_min=0, begin=0, end=max_iters, by_epoch=False),
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=400)
auto_scale_lr = dict(base_batch_size=8)
