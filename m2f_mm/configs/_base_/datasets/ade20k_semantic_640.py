"""configs/_base_/datasets/ade20k_semantic_640.py in pure Python."""
globals().update(__import__('m2f_mm.apis').apis.pure_config(__file__))
