# MaskFormer: 60000 iterations of 32 images; polynomial decay to 0 without warm-up.
_base_ = ['./maskformer_160k.py']
max_iters = 60000
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0, begin=0, end=max_iters, by_epoch=False)]
train_cfg = dict(max_iters=max_iters)
auto_scale_lr = dict(base_batch_size=32)
