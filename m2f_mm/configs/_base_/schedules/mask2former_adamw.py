"""Pure-Python form of `configs/_base_/schedules/mask2former_adamw.py`."""
globals().update(__import__('m2f_mm.apis').apis.pure_config(__file__))
