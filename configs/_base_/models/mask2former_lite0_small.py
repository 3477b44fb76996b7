# A small Mask2Former on a pretrained EfficientNet-Lite0, for CPUs (MMDetection).
_base_ = ['./mask2former_r50.py', '../backbones/efficientnet-lite0.py']
model = dict(
    data_preprocessor=_base_.backbone_norm,
    backbone=dict(_delete_=True, **_base_.backbone),
    panoptic_head=dict(
        in_channels=_base_.in_channels,
        feat_channels=64,
        out_channels=64,
        num_queries=50,
        pixel_decoder=dict(num_layers=2, feedforward_channels=256),
        transformer_decoder=dict(num_layers=3, embed_dims=64, feedforward_channels=256),
    ),
    train_cfg=dict(num_points=4096),
    test_cfg=dict(object_mask_thr=0.5),
)
