"""configs/mask_dino/mask-dino-5scale-boxes_swin-l-p4-w12-384-in21k_64xb1-lsj-26e_objects365.py in pure Python."""
globals().update(__import__('m2f_mm.apis').apis.pure_config(__file__))
