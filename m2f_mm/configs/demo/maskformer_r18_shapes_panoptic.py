"""Pure-Python form of `configs/demo/maskformer_r18_shapes-panoptic.py`."""
globals().update(__import__('m2f_mm.apis').apis.pure_config(__file__))
