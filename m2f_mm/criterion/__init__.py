"""Matching and losses: predictions and targets in, a dict of losses out."""

from .assigner import HungarianAssigner
from .matching import Matching
from .points import RandomPoints
from .set_criterion import SetCriterion

__all__ = ['HungarianAssigner', 'Matching', 'RandomPoints', 'SetCriterion']
