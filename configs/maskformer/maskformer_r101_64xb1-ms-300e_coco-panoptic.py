# PQ 47.6 published (official model zoo, 42747488_0); not re-run by us.
_base_ = ['./maskformer_r50_64xb1-ms-300e_coco-panoptic.py']
model = dict(backbone=dict(depth=101, init_cfg=dict(checkpoint='m2f_mm://resnet101')))
