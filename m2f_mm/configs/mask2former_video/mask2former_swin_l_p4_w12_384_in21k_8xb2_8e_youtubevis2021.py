"""configs/mask2former_video/mask2former_swin-l-p4-w12-384-in21k_8xb2-8e_youtubevis2021.py in pure Python."""
globals().update(__import__('m2f_mm.apis').apis.pure_config(__file__))
