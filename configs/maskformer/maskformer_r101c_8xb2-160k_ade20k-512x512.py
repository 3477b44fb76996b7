# mIoU 46.0 (single scale), 48.1 (multi-scale and flip) published (official model zoo, 41703904_1); not re-run by us.
_base_ = ['./maskformer_r50_8xb2-160k_ade20k-512x512.py', '../_base_/backbones/resnet101c.py']
model = dict(backbone=dict(_delete_=True, **_base_.backbone))
