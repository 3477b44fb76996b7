"""configs/maskformer/maskformer_swin-b-p4-w12-384-in21k_64xb1-ms-300e_coco-panoptic.py in pure Python."""
globals().update(__import__('m2f_mm.apis').apis.pure_config(__file__))
