"""configs/mask_dino/mask-dino-4scale-boxes_r50_32xb2-lsj-26e_objects365.py in pure Python."""
globals().update(__import__('m2f_mm.apis').apis.pure_config(__file__))
