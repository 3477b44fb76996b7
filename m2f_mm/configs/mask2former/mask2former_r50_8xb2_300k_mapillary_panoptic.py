"""configs/mask2former/mask2former_r50_8xb2-300k_mapillary-panoptic.py in pure Python."""
globals().update(__import__('m2f_mm.apis').apis.pure_config(__file__))
