"""Metrics."""

from .metrics import PanopticMetric, SemanticMetric, YouTubeVISMetric

__all__ = ['PanopticMetric', 'SemanticMetric', 'YouTubeVISMetric']
