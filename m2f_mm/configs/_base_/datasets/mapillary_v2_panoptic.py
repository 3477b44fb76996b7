"""configs/_base_/datasets/mapillary_v2_panoptic.py in pure Python."""
globals().update(__import__('m2f_mm.apis').apis.pure_config(__file__))
