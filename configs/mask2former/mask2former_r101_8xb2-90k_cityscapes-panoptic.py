# PQ 62.4, AP 37.7, mIoU 78.6 published (official model zoo, 48267400_11); not re-run by us.
_base_ = ['./mask2former_r50_8xb2-90k_cityscapes-panoptic.py']
model = dict(backbone=dict(depth=101, init_cfg=dict(checkpoint='m2f_mm://resnet101')))
