"""configs/_base_/datasets/ade20k_panoptic.py in pure Python."""
globals().update(__import__('m2f_mm.apis').apis.pure_config(__file__))
