# Mask AP 50.1 published (official model zoo, 48235555); not re-run by us.
_base_ = [
    '../_base_/models/mask2former_r50.py',
    '../_base_/backbones/swin-l-p4-w12-384-in21k.py',
    '../_base_/datasets/coco_instance.py',
    '../_base_/schedules/coco_100e.py',
    '../_base_/default_runtime.py',
]
model = dict(
    backbone=dict(_delete_=True, **_base_.backbone),
    panoptic_head=dict(
        metainfo={{_base_.dataset_type}},  # 80 things
        in_channels=_base_.in_channels,
        num_queries=200,
    ),
    test_cfg=dict(instance_on=True),
)
train_dataloader = dict(batch_size=1)
