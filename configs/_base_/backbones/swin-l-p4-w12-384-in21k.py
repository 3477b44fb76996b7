# Swin-L, ImageNet-22k at 384 pixels.
_base_ = ['./swin-b-p4-w12-384.py']
backbone = dict(
    embed_dims=192, num_heads=(6, 12, 24, 48), init_cfg=dict(checkpoint='m2f_mm://swin_large_patch4_window12_384_22k')
)
in_channels = [192, 384, 768, 1536]
