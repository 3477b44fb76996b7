"""configs/demo/mask2former_r50_ade20k-256.py in pure Python."""
globals().update(__import__('m2f_mm.apis').apis.pure_config(__file__))
