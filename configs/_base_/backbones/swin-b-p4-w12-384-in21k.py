# Swin-B, ImageNet-22k at 384 pixels.
_base_ = ['./swin-b-p4-w12-384.py']
backbone = dict(init_cfg=dict(checkpoint='m2f_mm://swin_base_patch4_window12_384_22k'))
