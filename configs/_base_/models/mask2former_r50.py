# Mask2Former with a ResNet-50 for MMDetection; the classes come with the data set.
image_norm = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True)
model = dict(
    type='m2f_mm.Mask2Former',
    data_preprocessor=dict(type='DetDataPreprocessor', pad_size_divisor=32, **image_norm),
    backbone=dict(
        type='ResNet',
        depth=50,
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        frozen_stages=-1,
        norm_cfg=dict(type='m2f_mm.FrozenBN', inplace=True),
        norm_eval=False,
        zero_init_residual=False,  # a frozen norm that starts at zero would switch its block off for good
        style='pytorch',
        init_cfg=dict(type='Pretrained', checkpoint='m2f_mm://resnet50'),
    ),
    panoptic_head=dict(
        type='m2f_mm.Mask2FormerHead',
        in_channels=[256, 512, 1024, 2048],
        feat_channels=256,
        out_channels=256,
        num_queries=100,
        pixel_decoder=dict(type='m2f_mm.MSDeformAttnPixelDecoder', num_layers=6, feedforward_channels=1024),
        transformer_decoder=dict(num_layers=9, embed_dims=256, num_heads=8, feedforward_channels=2048),
        loss_cls=dict(loss_weight=2.0, no_object_weight=0.1),
        loss_mask=dict(loss_weight=5.0),
        loss_dice=dict(loss_weight=5.0),
    ),
    train_cfg=dict(num_points=12544, oversample_ratio=3.0, importance_sample_ratio=0.75),
    test_cfg=dict(
        panoptic_on=False,
        instance_on=False,
        semantic_on=False,
        object_mask_thr=0.8,
        iou_thr=0.8,
        filter_low_score=True,  # void where the winner's own mask is below 0.5
        max_per_image=100,
    ),
)
