# Mask DINO with a ResNet-50, three levels and learned queries for MMSegmentation; the classes come with the data set.
_base_ = ['./mask2former_r50_mmseg.py']
model = dict(
    decode_head=dict(
        _delete_=True,
        type='m2f_mm.MaskDINOSegHead',
        in_channels=[256, 512, 1024, 2048],
        feat_channels=256,
        out_channels=256,
        num_queries=100,
        num_transformer_feat_level=3,
        two_stage=False,
        denoising_queries=100,
        noise_scale=0.4,
        pixel_decoder=dict(
            type='m2f_mm.MSDeformAttnPixelDecoder',
            num_layers=6,
            num_extra_levels=0,
            fine_first=False,
            always_fpn=True,
            feedforward_channels=1024,
        ),
        transformer_decoder=dict(num_layers=9, embed_dims=256, num_heads=8, feedforward_channels=2048),
        loss_cls=dict(type='CrossEntropyLoss', loss_weight=4.0, no_object_weight=0.1),
        loss_mask=dict(loss_weight=5.0),
        loss_dice=dict(loss_weight=5.0),
        loss_bbox=dict(loss_weight=5.0),
        loss_iou=dict(loss_weight=2.0),
        train_cfg=dict(num_points=12544, oversample_ratio=3.0, importance_sample_ratio=0.75),
    )
)
