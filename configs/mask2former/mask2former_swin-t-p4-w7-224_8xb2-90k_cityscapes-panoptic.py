# PQ 63.9, AP 39.1, mIoU 80.5 published (official model zoo, 48333144_2); not re-run by us.
_base_ = ['./mask2former_r50_8xb2-90k_cityscapes-panoptic.py', '../_base_/backbones/swin-t-p4-w7-224.py']
model = dict(backbone=dict(_delete_=True, **_base_.backbone), panoptic_head=dict(in_channels=_base_.in_channels))
