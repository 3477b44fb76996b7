"""configs/_base_/backbones/swin-b-p4-w12-384.py in pure Python."""
globals().update(__import__('m2f_mm.apis').apis.pure_config(__file__))
