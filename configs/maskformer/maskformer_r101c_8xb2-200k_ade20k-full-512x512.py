# mIoU 17.4 published (official model zoo, 41703904_6); not re-run by us.
_base_ = ['./maskformer_r50_8xb2-200k_ade20k-full-512x512.py', '../_base_/backbones/resnet101c.py']
model = dict(backbone=dict(_delete_=True, **_base_.backbone))
