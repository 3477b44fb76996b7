"""configs/mask2former/mask2former_r101_8xb2-lsj-50e_coco.py in pure Python."""
globals().update(__import__('m2f_mm.apis').apis.pure_config(__file__))
