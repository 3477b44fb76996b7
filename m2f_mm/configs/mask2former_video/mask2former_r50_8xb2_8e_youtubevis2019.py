"""configs/mask2former_video/mask2former_r50_8xb2-8e_youtubevis2019.py in pure Python."""
globals().update(__import__('m2f_mm.apis').apis.pure_config(__file__))
