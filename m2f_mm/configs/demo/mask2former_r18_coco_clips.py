"""configs/demo/mask2former_r18_coco-clips.py in pure Python."""
globals().update(__import__('m2f_mm.apis').apis.pure_config(__file__))
