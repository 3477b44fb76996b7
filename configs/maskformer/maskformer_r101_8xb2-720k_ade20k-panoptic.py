# PQ 35.7 published (official model zoo, 42747444); not re-run by us.
_base_ = ['./maskformer_r50_8xb2-720k_ade20k-panoptic.py']
model = dict(backbone=dict(depth=101, init_cfg=dict(checkpoint='m2f_mm://resnet101')))
