# mIoU 80.1 (single scale), 81.9 (multi-scale and flip) published (official model zoo, 48267400_13);
# not re-run by us.
_base_ = ['./mask2former_r50_8xb2-90k_cityscapes-512x1024.py']
model = dict(backbone=dict(depth=101, init_cfg=dict(checkpoint='m2f_mm://resnet101')))
