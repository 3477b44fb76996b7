# mIoU 51.3 (single scale), 52.4 (multi-scale and flip) published (official model zoo, 48333149_5); not re-run by us.
_base_ = ['./mask2former_r50_8xb2-160k_ade20k-512x512.py', '../_base_/backbones/swin-s-p4-w7-224.py']
model = dict(backbone=dict(_delete_=True, **_base_.backbone), decode_head=dict(in_channels=_base_.in_channels))
