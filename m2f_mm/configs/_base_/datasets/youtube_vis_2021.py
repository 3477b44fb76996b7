"""configs/_base_/datasets/youtube_vis_2021.py in pure Python."""
globals().update(__import__('m2f_mm.apis').apis.pure_config(__file__))
