"""configs/mask2former/mask2former_swin-s-p4-w7-224_8xb2-90k_cityscapes-512x1024.py in pure Python."""
globals().update(__import__('m2f_mm.apis').apis.pure_config(__file__))
