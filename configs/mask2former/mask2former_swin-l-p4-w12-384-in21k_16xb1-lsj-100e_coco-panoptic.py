# PQ 57.8, AP 48.6, mIoU 67.4 published (official model zoo, 47429163_0); not re-run by us.
_base_ = [
    '../_base_/models/mask2former_r50.py',
    '../_base_/backbones/swin-l-p4-w12-384-in21k.py',
    '../_base_/datasets/coco_panoptic.py',
    '../_base_/schedules/coco_100e.py',
    '../_base_/default_runtime.py',
]
model = dict(
    backbone=dict(_delete_=True, **_base_.backbone),
    panoptic_head=dict(
        metainfo={{_base_.dataset_type}},  # 80 things, 53 stuff
        in_channels=_base_.in_channels,
        num_queries=200,
    ),
    test_cfg=dict(panoptic_on=True, instance_on=True, semantic_on=True),
)
train_dataloader = dict(batch_size=1)
