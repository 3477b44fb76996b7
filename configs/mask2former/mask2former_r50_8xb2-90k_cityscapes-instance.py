# Mask AP 37.4, AP50 61.9 published (official model zoo, 48267400_8); not re-run by us.
_base_ = [
    '../_base_/models/mask2former_r50.py',
    '../_base_/datasets/cityscapes_instance.py',
    '../_base_/schedules/poly_90k.py',
    '../_base_/default_runtime.py',
]
model = dict(
    backbone=dict(norm_cfg=dict(_delete_=True, type='SyncBN', requires_grad=True)),
    panoptic_head=dict(metainfo={{_base_.dataset_type}}),  # 8 things
    test_cfg=dict(instance_on=True),
)
