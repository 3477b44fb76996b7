# Mask AP 48.1 published (official model zoo, 48558700_6); not re-run by us.
_base_ = ['./mask2former_r50_8xb2-lsj-50e_coco.py', '../_base_/backbones/swin-b-p4-w12-384-in21k.py']
model = dict(backbone=dict(_delete_=True, **_base_.backbone), panoptic_head=dict(in_channels=_base_.in_channels))
