"""configs/demo/mask_dino_r18_coco-overfit.py in pure Python."""
globals().update(__import__('m2f_mm.apis').apis.pure_config(__file__))
