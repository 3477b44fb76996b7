# PQ 52.6, AP 42.6, mIoU 62.4 published (official model zoo, 47992113_1); not re-run by us.
_base_ = ['./mask2former_r50_8xb2-lsj-50e_coco-panoptic.py']
model = dict(backbone=dict(depth=101, init_cfg=dict(checkpoint='m2f_mm://resnet101')))
