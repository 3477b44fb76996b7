from .panoptic_metric import PanopticMetric
from .semantic_metric import SemanticMetric

__all__ = ['PanopticMetric', 'SemanticMetric']
