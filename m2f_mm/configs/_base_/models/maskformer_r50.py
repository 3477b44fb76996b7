"""configs/_base_/models/maskformer_r50.py in pure Python."""
globals().update(__import__('m2f_mm.apis').apis.pure_config(__file__))
