# Mask AP 39.7, AP50 66.9 published (official model zoo, 48333144_4); not re-run by us.
_base_ = ['./mask2former_r50_8xb2-90k_cityscapes-instance.py', '../_base_/backbones/swin-t-p4-w7-224.py']
model = dict(backbone=dict(_delete_=True, **_base_.backbone), panoptic_head=dict(in_channels=_base_.in_channels))
