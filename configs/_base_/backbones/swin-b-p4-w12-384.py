# Swin-B, ImageNet-1k at 384 pixels.
_base_ = ['./swin-s-p4-w7-224.py']
backbone = dict(
    pretrain_img_size=384,
    embed_dims=128,
    num_heads=(4, 8, 16, 32),
    window_size=12,
    init_cfg=dict(checkpoint='m2f_mm://swin_base_patch4_window12_384'),
)
in_channels = [128, 256, 512, 1024]
