"""configs/mask2former/mask2former_r101_8xb2-160k_ade20k-512x512.py in pure Python."""
globals().update(__import__('m2f_mm.apis').apis.pure_config(__file__))
