"""configs/_base_/models/maskformer_r50_mmseg.py in pure Python."""
globals().update(__import__('m2f_mm.apis').apis.pure_config(__file__))
