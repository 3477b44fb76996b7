# PQ 34.7 published (official model zoo, 42746872_1); not re-run by us.
_base_ = [
    '../_base_/models/maskformer_r50.py',
    '../_base_/datasets/ade20k_panoptic.py',
    '../_base_/schedules/maskformer_720k.py',
    '../_base_/default_runtime.py',
]
model = dict(
    panoptic_head=dict(metainfo={{_base_.dataset_type}}),  # 100 things, 50 stuff
    test_cfg=dict(panoptic_on=True, semantic_on=True, object_mask_thr=0.7),
)
val_evaluator = [_base_.val_evaluator[0], _base_.val_evaluator[2]]  # PQ and mIoU: the models make no instances
test_evaluator = val_evaluator
