# PQ 36.3, mIoU 50.7 published (official model zoo, 49392417_0); not re-run by us.
_base_ = [
    '../_base_/models/mask2former_r50.py',
    '../_base_/datasets/mapillary_panoptic.py',
    '../_base_/schedules/poly_300k.py',
    '../_base_/default_runtime.py',
]
model = dict(
    panoptic_head=dict(metainfo={{_base_.dataset_type}}),  # 37 things, 28 stuff
    test_cfg=dict(panoptic_on=True, semantic_on=True, object_mask_thr=0.0),
)
