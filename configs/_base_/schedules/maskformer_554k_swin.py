# MaskFormer with a Swin: 554400 iterations of 64 images, about 300 epochs of COCO; linear warm-up, lr x 0.1 at two
# thirds. Evaluated at its end only.
_base_ = ['./maskformer_554k.py']
optim_wrapper = dict(optimizer=dict(lr=6e-5, weight_decay=0.01), paramwise_cfg=dict(backbone_lr_mult=1.0))
warm_up = dict(type='LinearLR', start_factor=1e-6, begin=0, end=1501, by_epoch=False)  # 1500 steps of the factor
param_scheduler = [
    warm_up,
    dict(type='MultiStepLR', begin=0, end=554400, by_epoch=False, milestones=[369600], gamma=0.1),
]
del warm_up
