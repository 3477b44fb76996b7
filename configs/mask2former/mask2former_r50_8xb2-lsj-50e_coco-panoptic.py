# PQ 51.9, AP 41.7, mIoU 61.7 published (official model zoo, 47430278_4); not re-run by us.
_base_ = [
    '../_base_/models/mask2former_r50.py',
    '../_base_/datasets/coco_panoptic.py',
    '../_base_/schedules/coco_50e.py',
    '../_base_/default_runtime.py',
]
model = dict(
    panoptic_head=dict(metainfo={{_base_.dataset_type}}),  # 80 things, 53 stuff
    test_cfg=dict(panoptic_on=True, instance_on=True, semantic_on=True),
)
