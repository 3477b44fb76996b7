# mIoU 38.0 (single scale), 39.3 (multi-scale and flip) published (official model zoo, 41703904_3); not re-run by us.
_base_ = ['./maskformer_r50_8xb4-60k_coco-stuff10k-640x640.py', '../_base_/backbones/resnet101c.py']
model = dict(backbone=dict(_delete_=True, **_base_.backbone))
