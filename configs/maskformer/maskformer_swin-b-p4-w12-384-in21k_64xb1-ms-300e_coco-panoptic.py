# PQ 51.8 published (official model zoo, 41260906); not re-run by us.
_base_ = [
    '../_base_/models/maskformer_r50.py',
    '../_base_/backbones/swin-b-p4-w12-384-in21k.py',
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
