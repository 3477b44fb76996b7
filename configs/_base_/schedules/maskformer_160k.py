# MaskFormer: 160000 iterations of 16 images; polynomial decay to 0 without warm-up.
_base_ = ['./poly_160k.py']
optim_wrapper = dict(optimizer=dict(weight_decay=1e-4))
