from .metrics import PanopticMetric

__all__ = ['PanopticMetric']
