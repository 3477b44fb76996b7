# MaskFormer with a Swin: 160000 iterations of 16 images; linear warm-up, polynomial decay to 0.
_base_ = ['./maskformer_160k.py']
optim_wrapper = dict(optimizer=dict(lr=6e-5, weight_decay=0.01), paramwise_cfg=dict(backbone_lr_mult=1.0))
warm_up = dict(type='LinearLR', start_factor=1e-6, begin=0, end=1501, by_epoch=False)  # 1500 steps of the factor
param_scheduler = [warm_up, dict(type='PolyLR', power=0.9, eta_min=0, begin=0, end=160000, by_epoch=False)]
del warm_up
