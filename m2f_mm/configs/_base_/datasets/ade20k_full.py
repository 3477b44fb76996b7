"""Pure-Python form of `configs/_base_/datasets/ade20k_full.py`."""
globals().update(__import__('m2f_mm.apis').apis.pure_config(__file__))
