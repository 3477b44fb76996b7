from .classes import ClassScores, SigmoidClasses, SoftmaxClasses, class_scores
from .finite import NonFinitePrediction, finite_sum, raise_non_finite
from .instance import Instances, box_detection, clip_segmentation, instance_segmentation
from .panoptic import Segment, clip_panoptic, panoptic_segmentation
from .semantic import semantic_scores, semantic_segmentation
from .tiles import Sizes
from .tracks import PanopticVideo, VideoTracks, Window, sliding_windows

__all__ = [
    'ClassScores',
    'Instances',
    'NonFinitePrediction',
    'PanopticVideo',
    'Segment',
    'SigmoidClasses',
    'Sizes',
    'SoftmaxClasses',
    'VideoTracks',
    'Window',
    'box_detection',
    'class_scores',
    'clip_panoptic',
    'clip_segmentation',
    'sliding_windows',
    'finite_sum',
    'instance_segmentation',
    'panoptic_segmentation',
    'raise_non_finite',
    'semantic_scores',
    'semantic_segmentation',
]
