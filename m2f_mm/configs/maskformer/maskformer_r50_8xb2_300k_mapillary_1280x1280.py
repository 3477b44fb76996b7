"""configs/maskformer/maskformer_r50_8xb2-300k_mapillary-1280x1280.py in pure Python."""
globals().update(__import__('m2f_mm.apis').apis.pure_config(__file__))
