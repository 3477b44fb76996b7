# PQ 39.7, AP 26.5, mIoU 46.1 published (official model zoo, 48243028_0); not re-run by us.
_base_ = [
    '../_base_/models/mask2former_r50.py',
    '../_base_/datasets/ade20k_panoptic.py',
    '../_base_/schedules/poly_160k.py',
    '../_base_/default_runtime.py',
]
model = dict(
    panoptic_head=dict(metainfo={{_base_.dataset_type}}),  # 100 things, 50 stuff
    test_cfg=dict(panoptic_on=True, instance_on=True, semantic_on=True),
)
