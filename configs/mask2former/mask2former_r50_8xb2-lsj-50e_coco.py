# Mask AP 43.7 published (official model zoo, 47430277_2); not re-run by us.
_base_ = [
    '../_base_/models/mask2former_r50.py',
    '../_base_/datasets/coco_instance.py',
    '../_base_/schedules/coco_50e.py',
    '../_base_/default_runtime.py',
]
model = dict(
    panoptic_head=dict(metainfo={{_base_.dataset_type}}),  # 80 things
    test_cfg=dict(instance_on=True),
)
