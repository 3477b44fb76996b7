# The runtime of MMDetection's videos.
_base_ = ['./default_runtime.py']
default_hooks = dict(visualization=dict(type='m2f_mm.VideoVisualizationHook'))
