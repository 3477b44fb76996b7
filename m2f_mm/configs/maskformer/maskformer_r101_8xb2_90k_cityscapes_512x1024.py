"""Pure-Python form of `configs/maskformer/maskformer_r101_8xb2-90k_cityscapes-512x1024.py`."""
globals().update(__import__('m2f_mm.apis').apis.pure_config(__file__))
