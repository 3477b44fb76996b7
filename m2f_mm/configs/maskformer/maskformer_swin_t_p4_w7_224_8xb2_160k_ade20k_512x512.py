"""configs/maskformer/maskformer_swin-t-p4-w7-224_8xb2-160k_ade20k-512x512.py in pure Python."""
globals().update(__import__('m2f_mm.apis').apis.pure_config(__file__))
