"""Hooks, checks before a run, optimizer groups, checkpoints and resuming."""

from .class_counts import check_class_counts
from .hooks import CheckpointHook, ClassCountHook, VideoVisualizationHook
from .optim_wrapper_constructor import Mask2FormerOptimWrapperConstructor

__all__ = [
    'CheckpointHook',
    'ClassCountHook',
    'Mask2FormerOptimWrapperConstructor',
    'VideoVisualizationHook',
    'check_class_counts',
]
