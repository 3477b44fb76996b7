"""Hooks of MMEngine's runner."""

from .checkpoint_hook import CheckpointHook
from .class_count_hook import ClassCountHook
from .video_visualization_hook import VideoVisualizationHook

__all__ = ['CheckpointHook', 'ClassCountHook', 'VideoVisualizationHook']
