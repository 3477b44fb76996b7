# Mask AP 38.5, AP50 63.9 published (official model zoo, 48267400_16); not re-run by us.
_base_ = ['./mask2former_r50_8xb2-90k_cityscapes-instance.py']
model = dict(backbone=dict(depth=101, init_cfg=dict(checkpoint='m2f_mm://resnet101')))
