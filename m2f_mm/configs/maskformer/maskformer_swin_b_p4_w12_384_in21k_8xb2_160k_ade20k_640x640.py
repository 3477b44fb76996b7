"""configs/maskformer/maskformer_swin-b-p4-w12-384-in21k_8xb2-160k_ade20k-640x640.py in pure Python."""
globals().update(__import__('m2f_mm.apis').apis.pure_config(__file__))
