# Mask DINO with a ResNet-50 and four levels for MMDetection; the classes come with the data set.
_base_ = ['./mask2former_r50.py']
model = dict(
    type='m2f_mm.MaskDINO',
    panoptic_head=dict(
        _delete_=True,
        type='m2f_mm.MaskDINOHead',
        in_channels=[256, 512, 1024, 2048],
        feat_channels=256,
        out_channels=256,
        num_queries=300,
        num_transformer_feat_level=4,
        two_stage=True,
        boxes_from_masks='no',
        denoising_queries=100,
        noise_scale=0.4,
        pixel_decoder=dict(
            type='m2f_mm.MSDeformAttnPixelDecoder',
            num_layers=6,
            num_extra_levels=1,
            fine_first=True,
            always_fpn=True,
            feedforward_channels=2048,
        ),
        transformer_decoder=dict(num_layers=9, embed_dims=256, num_heads=8, feedforward_channels=2048),
        loss_cls=dict(type='FocalLoss', loss_weight=4.0),
        loss_mask=dict(loss_weight=5.0),
        loss_dice=dict(loss_weight=5.0),
        loss_bbox=dict(loss_weight=5.0),
        loss_iou=dict(loss_weight=2.0),
    ),
    test_cfg=dict(object_mask_thr=0.25, temperature=0.06),
)
