"""Drawing of results and ground truth."""

from .mlflow_backend import MLflowVisBackend
from .panoptic_visualizer import PanopticVisualizer

__all__ = ['MLflowVisBackend', 'PanopticVisualizer']
