# MaskFormer: 200000 iterations of 16 images; polynomial decay to 0 without warm-up.
_base_ = ['./maskformer_160k.py']
max_iters = 200000
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0, begin=0, end=max_iters, by_epoch=False)]
train_cfg = dict(max_iters=max_iters)
