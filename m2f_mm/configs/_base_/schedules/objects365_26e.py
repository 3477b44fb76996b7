"""configs/_base_/schedules/objects365_26e.py in pure Python."""
globals().update(__import__('m2f_mm.apis').apis.pure_config(__file__))
