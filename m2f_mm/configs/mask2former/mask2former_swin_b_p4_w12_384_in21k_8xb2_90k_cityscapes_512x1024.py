"""configs/mask2former/mask2former_swin-b-p4-w12-384-in21k_8xb2-90k_cityscapes-512x1024.py in pure Python."""
globals().update(__import__('m2f_mm.apis').apis.pure_config(__file__))
