# PQ 58.3, mask AP 50.6, box AP 56.2, mIoU 67.5 published (official model zoo); not re-run by us.
_base_ = [
    '../_base_/models/mask_dino_r50.py',
    '../_base_/backbones/swin-l-p4-w12-384-in21k.py',
    '../_base_/datasets/coco_panoptic.py',
    '../_base_/schedules/coco_50e.py',
    '../_base_/default_runtime.py',
]
model = dict(
    backbone=dict(_delete_=True, **_base_.backbone),
    panoptic_head=dict(
        metainfo={{_base_.dataset_type}},  # 80 things, 53 stuff
        in_channels=_base_.in_channels,
        num_transformer_feat_level=5,
    ),
    test_cfg=dict(panoptic_on=True, instance_on=True, semantic_on=True),
)
val_evaluator = _base_.val_evaluator
val_evaluator[1].metric = ['bbox', 'segm']
test_evaluator = val_evaluator
