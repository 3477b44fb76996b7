# A small MaskFormer that learns small images from scratch on a CPU (MMDetection).
_base_ = ['./maskformer_r50.py']
model = dict(
    backbone=dict(depth=18, base_channels=32, stem_channels=32, norm_cfg=dict(_delete_=True, type='BN'), init_cfg=None),
    panoptic_head=dict(
        in_channels=[32, 64, 128, 256],
        feat_channels=64,
        out_channels=64,
        num_queries=40,
        pixel_decoder=dict(num_layers=2, feedforward_channels=128, dropout=0.0),
        transformer_decoder=dict(num_layers=3, embed_dims=64, feedforward_channels=256, dropout=0.0),
    ),
    test_cfg=dict(object_mask_thr=0.5, max_per_image=40),
)
