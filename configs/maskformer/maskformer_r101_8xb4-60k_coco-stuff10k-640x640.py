# mIoU 38.1 (single scale), 39.8 (multi-scale and flip) published (official model zoo, 40986940_1); not re-run by us.
_base_ = ['./maskformer_r50_8xb4-60k_coco-stuff10k-640x640.py']
model = dict(backbone=dict(depth=101, init_cfg=dict(checkpoint='m2f_mm://resnet101')))
