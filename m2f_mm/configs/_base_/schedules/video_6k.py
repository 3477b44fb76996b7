"""configs/_base_/schedules/video_6k.py in pure Python."""
globals().update(__import__('m2f_mm.apis').apis.pure_config(__file__))
