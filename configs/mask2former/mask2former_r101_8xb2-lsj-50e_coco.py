# Mask AP 44.2 published (official model zoo, 47992113_0); not re-run by us.
_base_ = ['./mask2former_r50_8xb2-lsj-50e_coco.py']
model = dict(backbone=dict(depth=101, init_cfg=dict(checkpoint='m2f_mm://resnet101')))
