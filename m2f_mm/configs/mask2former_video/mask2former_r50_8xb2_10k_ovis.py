"""configs/mask2former_video/mask2former_r50_8xb2-10k_ovis.py in pure Python."""
globals().update(__import__('m2f_mm.apis').apis.pure_config(__file__))
