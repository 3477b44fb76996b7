"""configs/maskformer/maskformer_r50_64xb1-ms-300e_coco-panoptic.py in pure Python."""
globals().update(__import__('m2f_mm.apis').apis.pure_config(__file__))
