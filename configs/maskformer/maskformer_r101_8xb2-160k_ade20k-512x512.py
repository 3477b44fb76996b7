# mIoU 45.5 (single scale), 47.2 (multi-scale and flip) published (official model zoo, 40986936_1); not re-run by us.
_base_ = ['./maskformer_r50_8xb2-160k_ade20k-512x512.py']
model = dict(backbone=dict(depth=101, init_cfg=dict(checkpoint='m2f_mm://resnet101')))
