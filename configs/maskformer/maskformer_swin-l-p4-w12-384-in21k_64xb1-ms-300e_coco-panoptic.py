# PQ 52.7 published (official model zoo, 43219274); not re-run by us.
_base_ = [
    '../_base_/models/maskformer_r50.py',
    '../_base_/backbones/swin-l-p4-w12-384-in21k.py',
    '../_base_/datasets/coco_panoptic_detr.py',
    '../_base_/schedules/maskformer_554k_swin.py',
    '../_base_/default_runtime.py',
]
model = dict(
    data_preprocessor=dict(pad_size_divisor=1),  # images go in as they are
    backbone=dict(_delete_=True, **_base_.backbone),
    panoptic_head=dict(
        metainfo={{_base_.dataset_type}},  # 80 things, 53 stuff
        in_channels=_base_.in_channels,
        pixel_decoder=dict(_delete_=True, type='m2f_mm.FPNPixelDecoder'),
    ),
    test_cfg=dict(panoptic_on=True),
)
train_pipeline = _base_.train_pipeline
train_pipeline[3].transforms[0][0].max_size = train_pipeline[3].transforms[1][2].max_size = 1000
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
