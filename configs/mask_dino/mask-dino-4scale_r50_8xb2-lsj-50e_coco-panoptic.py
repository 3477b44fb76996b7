# PQ 53.0, mask AP 44.3, box AP 48.8, mIoU 60.6 published (official model zoo); not re-run by us.
_base_ = [
    '../_base_/models/mask_dino_r50.py',
    '../_base_/datasets/coco_panoptic.py',
    '../_base_/schedules/coco_50e.py',
    '../_base_/default_runtime.py',
]
model = dict(
    panoptic_head=dict(metainfo={{_base_.dataset_type}}),  # 80 things, 53 stuff
    test_cfg=dict(panoptic_on=True, instance_on=True, semantic_on=True),
)
val_evaluator = _base_.val_evaluator
val_evaluator[1].metric = ['bbox', 'segm']
test_evaluator = val_evaluator
