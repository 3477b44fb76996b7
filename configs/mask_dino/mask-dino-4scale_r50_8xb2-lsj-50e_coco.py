# Mask AP 46.3, box AP 51.7 published (official model zoo); not re-run by us.
_base_ = [
    '../_base_/models/mask_dino_r50.py',
    '../_base_/datasets/coco_instance.py',
    '../_base_/schedules/coco_50e.py',
    '../_base_/default_runtime.py',
]
model = dict(
    panoptic_head=dict(
        metainfo={{_base_.dataset_type}},  # 80 things
        boxes_from_masks='mask2box',
    ),
    test_cfg=dict(instance_on=True),
)
val_evaluator = dict(metric=['bbox', 'segm'])
test_evaluator = val_evaluator
