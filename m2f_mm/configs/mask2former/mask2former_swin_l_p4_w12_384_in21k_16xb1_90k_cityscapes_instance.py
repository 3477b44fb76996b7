"""configs/mask2former/mask2former_swin-l-p4-w12-384-in21k_16xb1-90k_cityscapes-instance.py in pure Python."""
globals().update(__import__('m2f_mm.apis').apis.pure_config(__file__))
