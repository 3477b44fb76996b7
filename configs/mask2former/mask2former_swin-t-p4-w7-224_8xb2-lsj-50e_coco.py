# Mask AP 45.0 published (official model zoo, 48558700_0); not re-run by us.
_base_ = ['./mask2former_r50_8xb2-lsj-50e_coco.py', '../_base_/backbones/swin-t-p4-w7-224.py']
model = dict(backbone=dict(_delete_=True, **_base_.backbone), panoptic_head=dict(in_channels=_base_.in_channels))
