# Mask AP 26.4 published (official model zoo, 47429167_7); not re-run by us.
_base_ = [
    '../_base_/models/mask2former_r50.py',
    '../_base_/datasets/ade20k_instance.py',
    '../_base_/schedules/poly_160k.py',
    '../_base_/default_runtime.py',
]
model = dict(
    panoptic_head=dict(metainfo={{_base_.dataset_type}}),  # 100 things
    test_cfg=dict(instance_on=True),
)
