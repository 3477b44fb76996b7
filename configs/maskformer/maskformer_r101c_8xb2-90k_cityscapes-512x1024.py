# mIoU 79.7 (single scale), 81.4 (multi-scale and flip) published (official model zoo, 41630444_2); not re-run by us.
_base_ = ['./maskformer_r101_8xb2-90k_cityscapes-512x1024.py', '../_base_/backbones/resnet101c.py']
model = dict(backbone=dict(_delete_=True, **_base_.backbone))
