"""Drawing of results and ground truth."""

from .panoptic_visualizer import PanopticVisualizer

__all__ = ['PanopticVisualizer']
