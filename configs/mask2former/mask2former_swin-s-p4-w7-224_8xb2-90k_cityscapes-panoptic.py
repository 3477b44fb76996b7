# PQ 64.8, AP 40.7, mIoU 81.8 published (official model zoo, 48381916); not re-run by us.
_base_ = ['./mask2former_r50_8xb2-90k_cityscapes-panoptic.py', '../_base_/backbones/swin-s-p4-w7-224.py']
model = dict(backbone=dict(_delete_=True, **_base_.backbone), panoptic_head=dict(in_channels=_base_.in_channels))
