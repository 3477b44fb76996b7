"""Pure-Python form of `configs/_base_/models/mask_dino_r50_mmseg.py`."""
globals().update(__import__('m2f_mm.apis').apis.pure_config(__file__))
