"""configs/_base_/models/mask2former_r18_small_video.py in pure Python."""
globals().update(__import__('m2f_mm.apis').apis.pure_config(__file__))
