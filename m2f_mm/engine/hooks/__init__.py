from .class_count_hook import ClassCountHook
from .video_visualization_hook import VideoVisualizationHook

__all__ = ['ClassCountHook', 'VideoVisualizationHook']
