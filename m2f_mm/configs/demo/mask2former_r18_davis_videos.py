"""configs/demo/mask2former_r18_davis-videos.py in pure Python."""
globals().update(__import__('m2f_mm.apis').apis.pure_config(__file__))
