# ResNet-101c of DeepLab, ImageNet-1k: three 3x3 convolutions in the stem, and dilations 1, 2, 4 in the blocks of the
# last stage. MMSegmentation's ResNet only. A model takes `backbone` whole.
backbone = dict(
    type='ResNet',
    depth=101,
    num_stages=4,
    out_indices=(0, 1, 2, 3),
    frozen_stages=-1,
    deep_stem=True,
    stem_channels=128,
    multi_grid=(1, 2, 4),
    norm_cfg=dict(type='m2f_mm.FrozenBN', inplace=True),
    norm_eval=False,
    zero_init_residual=False,
    style='pytorch',
    init_cfg=dict(type='Pretrained', checkpoint='m2f_mm://resnet101c'),
)
