"""configs/maskformer/maskformer_r101c_8xb2-90k_cityscapes-512x1024.py in pure Python."""
globals().update(__import__('m2f_mm.apis').apis.pure_config(__file__))
