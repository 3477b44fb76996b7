# MaskFormer with a ResNet-50 and the transformer-encoder pixel decoder for MMDetection; the classes come with the data
# set.
_base_ = ['./mask2former_r50.py']
model = dict(
    type='m2f_mm.MaskFormer',
    panoptic_head=dict(
        _delete_=True,
        type='m2f_mm.MaskFormerHead',
        in_channels=[256, 512, 1024, 2048],
        feat_channels=256,
        out_channels=256,
        num_queries=100,
        pixel_decoder=dict(
            type='m2f_mm.TransformerEncoderPixelDecoder',
            num_layers=6,
            num_heads=8,
            feedforward_channels=2048,
            dropout=0.1,
        ),
        transformer_decoder=dict(num_layers=6, embed_dims=256, num_heads=8, feedforward_channels=2048, dropout=0.1),
        loss_cls=dict(loss_weight=1.0, no_object_weight=0.1),
        loss_mask=dict(type='FocalLoss', loss_weight=20.0),
        loss_dice=dict(loss_weight=1.0),
    ),
    train_cfg=dict(_delete_=True, num_points=None),  # masks are compared at every pixel
    test_cfg=dict(filter_low_score=False),
)  # the winner has a pixel whatever its own mask says there
