# A small Mask DINO that predicts boxes alone, on a pretrained EfficientNet-Lite0, for CPUs (MMDetection).
_base_ = ['./mask_dino_r50.py', '../backbones/efficientnet-lite0.py']
model = dict(
    data_preprocessor=_base_.backbone_norm,
    backbone=dict(_delete_=True, **_base_.backbone),
    panoptic_head=dict(
        in_channels=_base_.in_channels,
        feat_channels=128,
        num_queries=100,
        predict_masks=False,
        boxes_from_masks='no',
        denoising_queries=50,
        pixel_decoder=dict(num_layers=2, feedforward_channels=256),
        transformer_decoder=dict(num_layers=3, embed_dims=128, feedforward_channels=256),
    ),
    test_cfg=dict(panoptic_on=False, semantic_on=False, instance_on=True, instance_masks=None),
)
