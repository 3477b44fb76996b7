"""MMEngine's form of the metrics."""

from .panoptic_metric import PanopticMetric
from .semantic_metric import SemanticMetric
from .youtube_vis_metric import YouTubeVISMetric

__all__ = ['PanopticMetric', 'SemanticMetric', 'YouTubeVISMetric']
