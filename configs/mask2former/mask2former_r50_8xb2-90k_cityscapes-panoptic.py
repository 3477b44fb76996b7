# PQ 62.1, AP 37.3, mIoU 77.5 published (official model zoo, 48267400_0); not re-run by us.
_base_ = [
    '../_base_/models/mask2former_r50.py',
    '../_base_/datasets/cityscapes_panoptic.py',
    '../_base_/schedules/poly_90k.py',
    '../_base_/default_runtime.py',
]
model = dict(
    backbone=dict(norm_cfg=dict(_delete_=True, type='SyncBN', requires_grad=True)),
    panoptic_head=dict(metainfo={{_base_.dataset_type}}),  # 8 things, 11 stuff
    test_cfg=dict(panoptic_on=True, instance_on=True, semantic_on=True),
)
