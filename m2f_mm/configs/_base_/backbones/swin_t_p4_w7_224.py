"""configs/_base_/backbones/swin-t-p4-w7-224.py in pure Python."""
globals().update(__import__('m2f_mm.apis').apis.pure_config(__file__))
