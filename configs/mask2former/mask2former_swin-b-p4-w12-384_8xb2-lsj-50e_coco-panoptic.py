# PQ 55.1, AP 45.2, mIoU 65.1 published (official model zoo, 48558700_5); not re-run by us.
_base_ = ['./mask2former_r50_8xb2-lsj-50e_coco-panoptic.py', '../_base_/backbones/swin-b-p4-w12-384.py']
model = dict(backbone=dict(_delete_=True, **_base_.backbone), panoptic_head=dict(in_channels=_base_.in_channels))
