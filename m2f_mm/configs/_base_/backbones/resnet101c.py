"""configs/_base_/backbones/resnet101c.py in pure Python."""
globals().update(__import__('m2f_mm.apis').apis.pure_config(__file__))
