# mIoU 82.6 (single scale), 83.6 (multi-scale and flip) published (official model zoo, 48333149_3);
# not re-run by us.
_base_ = ['./mask2former_r50_8xb2-90k_cityscapes-512x1024.py', '../_base_/backbones/swin-s-p4-w7-224.py']
model = dict(backbone=dict(_delete_=True, **_base_.backbone), decode_head=dict(in_channels=_base_.in_channels))
