"""configs/maskformer/maskformer_r101_8xb2-200k_ade20k-full-512x512.py in pure Python."""
globals().update(__import__('m2f_mm.apis').apis.pure_config(__file__))
