from .classes import ClassScores, SigmoidClasses, SoftmaxClasses, class_scores
from .instance import Instances, box_detection, clip_segmentation, instance_segmentation
from .panoptic import Segment, clip_panoptic, panoptic_segmentation
from .semantic import semantic_scores, semantic_segmentation
from .tiles import Sizes
from .tracks import PanopticVideo, VideoTracks, Window, cut

__all__ = [
    'ClassScores', 'Instances', 'PanopticVideo', 'Segment', 'SigmoidClasses', 'Sizes', 'SoftmaxClasses', 'VideoTracks',
    'Window', 'box_detection', 'class_scores', 'clip_panoptic', 'clip_segmentation', 'cut', 'instance_segmentation',
    'panoptic_segmentation', 'semantic_scores', 'semantic_segmentation'
]
