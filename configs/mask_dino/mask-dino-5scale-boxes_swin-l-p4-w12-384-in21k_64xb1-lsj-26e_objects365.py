# Detection alone, to start a segmentation model from. No number of this one was published, and we have trained none.
_base_ = [
    '../_base_/models/mask_dino_r50.py',
    '../_base_/backbones/swin-l-p4-w12-384-in21k.py',
    '../_base_/datasets/objects365_detection.py',
    '../_base_/schedules/objects365_26e.py',
    '../_base_/default_runtime.py',
]
model = dict(
    backbone=dict(_delete_=True, **_base_.backbone),
    panoptic_head=dict(
        metainfo={{_base_.dataset_type}},  # 365 things
        in_channels=_base_.in_channels,
        num_transformer_feat_level=5,
        predict_masks=False,
    ),
    test_cfg=dict(panoptic_on=False, instance_on=True),
)
train_dataloader = dict(batch_size=1)
