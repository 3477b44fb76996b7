"""configs/maskformer/maskformer_r101_8xb4-60k_coco-stuff10k-640x640.py in pure Python."""
globals().update(__import__('m2f_mm.apis').apis.pure_config(__file__))
