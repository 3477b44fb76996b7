"""configs/mask2former_video/mask2former_swin-s-p4-w7-224_8xb2-8e_youtubevis2019.py in pure Python."""
globals().update(__import__('m2f_mm.apis').apis.pure_config(__file__))
