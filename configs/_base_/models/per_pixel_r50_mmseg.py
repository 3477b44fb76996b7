# MaskFormer's per-pixel baseline with a ResNet-50 for MMSegmentation; the classes come with the data set.
_base_ = ['./maskformer_r50_mmseg.py']
model = dict(
    data_preprocessor=dict(test_cfg=None),  # images are tested as they are
    decode_head=dict(
        _delete_=True,
        type='m2f_mm.PerPixelSegHead',
        in_channels=[256, 512, 1024, 2048],
        feat_channels=256,
        out_channels=256,
        pixel_decoder=dict(type='m2f_mm.FPNPixelDecoder'),
    ),
)
