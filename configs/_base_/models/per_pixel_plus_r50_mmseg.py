# MaskFormer's stronger per-pixel baseline with a ResNet-50 for MMSegmentation; the classes come with the data set.
_base_ = ['./per_pixel_r50_mmseg.py']
model = dict(
    decode_head=dict(
        type='m2f_mm.PerPixelPlusSegHead',
        transformer_decoder=dict(num_layers=6, embed_dims=256, num_heads=8, feedforward_channels=2048, dropout=0.1),
    )
)
