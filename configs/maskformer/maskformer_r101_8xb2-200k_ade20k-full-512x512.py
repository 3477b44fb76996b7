# mIoU 16.8 published (official model zoo, 40986946_1); not re-run by us.
_base_ = ['./maskformer_r50_8xb2-200k_ade20k-full-512x512.py']
model = dict(backbone=dict(depth=101, init_cfg=dict(checkpoint='m2f_mm://resnet101')))
