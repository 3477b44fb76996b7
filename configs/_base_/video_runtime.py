# The runtime of MMDetection's videos: whole videos are drawn, and evaluated, one at a time.
_base_ = ['./default_runtime.py']
default_hooks = dict(visualization=dict(type='TrackVisualizationHook'))
