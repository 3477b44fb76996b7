"""Pure-Python form of `configs/_base_/backbones/resnet101c.py`."""
globals().update(__import__('m2f_mm.apis').apis.pure_config(__file__))
