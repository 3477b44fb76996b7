# A small Mask DINO that learns small images from scratch on a CPU (MMDetection).
_base_ = ['./mask_dino_r50.py']
model = dict(
    backbone=dict(depth=18, base_channels=32, stem_channels=32, norm_cfg=dict(_delete_=True, type='BN'), init_cfg=None),
    panoptic_head=dict(
        in_channels=[32, 64, 128, 256],
        feat_channels=64,
        out_channels=64,
        num_queries=60,
        denoising_queries=60,
        pixel_decoder=dict(num_layers=2, feedforward_channels=128),
        transformer_decoder=dict(num_layers=3, embed_dims=64, feedforward_channels=256),
    ),
    train_cfg=dict(num_points=1024),
    test_cfg=dict(max_per_image=40),
)
