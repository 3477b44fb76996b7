"""configs/mask_dino/mask-dino-5scale_swin-l-p4-w12-384-in21k_8xb2-lsj-50e_coco-panoptic.py in pure Python."""
globals().update(__import__('m2f_mm.apis').apis.pure_config(__file__))
