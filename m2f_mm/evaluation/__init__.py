from .metrics import PanopticMetric, SemanticMetric

__all__ = ['PanopticMetric', 'SemanticMetric']
