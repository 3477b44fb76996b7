from .instance import Instances, instance_segmentation
from .panoptic import Segment, panoptic_segmentation
from .semantic import semantic_scores, semantic_segmentation
from .tiles import Sizes

__all__ = [
    'Instances', 'Segment', 'Sizes', 'instance_segmentation', 'panoptic_segmentation', 'semantic_scores',
    'semantic_segmentation'
]
