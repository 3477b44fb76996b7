# Mask AP 41.8, AP50 70.4 published (official model zoo, 48333149_4); not re-run by us.
_base_ = ['./mask2former_r50_8xb2-90k_cityscapes-instance.py', '../_base_/backbones/swin-s-p4-w7-224.py']
model = dict(backbone=dict(_delete_=True, **_base_.backbone), panoptic_head=dict(in_channels=_base_.in_channels))
