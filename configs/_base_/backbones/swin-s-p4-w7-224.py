# Swin-S, ImageNet-1k at 224 pixels.
_base_ = ['./swin-t-p4-w7-224.py']
backbone = dict(depths=(2, 2, 18, 2), init_cfg=dict(checkpoint='m2f_mm://swin_small_patch4_window7_224'))
