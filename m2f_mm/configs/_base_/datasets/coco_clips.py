"""configs/_base_/datasets/coco_clips.py in pure Python."""
globals().update(__import__('m2f_mm.apis').apis.pure_config(__file__))
