"""configs/mask_dino/mask-dino-5scale_swin-l-p4-w12-384-objects365_16xb1-lsj-20e_coco.py in pure Python."""
globals().update(__import__('m2f_mm.apis').apis.pure_config(__file__))
