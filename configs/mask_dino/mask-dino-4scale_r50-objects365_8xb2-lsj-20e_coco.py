# Starts from mask-dino-4scale-boxes_r50_32xb2-lsj-26e_objects365.py: everything but the classes and what makes masks.
# No number of this one was published, and we have trained none.
_base_ = [
    '../_base_/models/mask_dino_r50.py',
    '../_base_/datasets/coco_instance.py',
    '../_base_/schedules/coco_20e.py',
    '../_base_/default_runtime.py',
]
model = dict(
    panoptic_head=dict(
        metainfo={{_base_.dataset_type}},  # 80 things
        boxes_from_masks='mask2box',
    ),
    test_cfg=dict(instance_on=True),
)
load_from = 'work_dirs/mask-dino-4scale-boxes_r50_32xb2-lsj-26e_objects365/iter_708000.pth'
val_evaluator = dict(metric=['bbox', 'segm'])
test_evaluator = val_evaluator
