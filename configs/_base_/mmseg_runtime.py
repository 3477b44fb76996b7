_base_ = ['./default_runtime.py']
default_scope = 'mmseg'
default_hooks = dict(visualization=dict(_delete_=True, type='SegVisualizationHook'))
visualizer = dict(type='SegLocalVisualizer')
