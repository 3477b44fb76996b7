"""Predictions to panoptic maps, instances, semantic maps and tracks."""

from m2f_mm.deprecation import renamed_attributes

from .association import Associator, CosineAssociator, CosineIoUAssociator
from .classes import ClassScores, SigmoidClasses, SoftmaxClasses, class_scores
from .finite import NonFinitePrediction, finite_sum, raise_non_finite
from .instance import Instances, box_detection, clip_segmentation, instance_segmentation
from .panoptic import PanopticRules, Segment, clip_panoptic, panoptic_segmentation
from .panoptic_video import PanopticVideo
from .semantic import semantic_scores, semantic_segmentation
from .tiles import Sizes
from .tracks import TrackSession
from .windows import Window, sliding_windows

__all__ = [
    'Associator',
    'ClassScores',
    'CosineAssociator',
    'CosineIoUAssociator',
    'Instances',
    'NonFinitePrediction',
    'PanopticRules',
    'PanopticVideo',
    'Segment',
    'SigmoidClasses',
    'Sizes',
    'SoftmaxClasses',
    'TrackSession',
    'Window',
    'box_detection',
    'class_scores',
    'clip_panoptic',
    'clip_segmentation',
    'finite_sum',
    'instance_segmentation',
    'panoptic_segmentation',
    'raise_non_finite',
    'semantic_scores',
    'semantic_segmentation',
    'sliding_windows',
]

__getattr__ = renamed_attributes(__name__, dict(VideoTracks='TrackSession'))
