"""Pure-Python form of `configs/_base_/models/maskformer_r18_small.py`."""
globals().update(__import__('m2f_mm.apis').apis.pure_config(__file__))
