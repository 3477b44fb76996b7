"""configs/_base_/schedules/video_8k.py in pure Python."""
globals().update(__import__('m2f_mm.apis').apis.pure_config(__file__))
