from .colour import ColorAugSSD
from .formatting import PackPanopticInputs
from .geometric import FixedSizeCrop, LargeScaleJitter, ResizeScale, ResizeShortestEdge
from .loading import LoadImage, LoadPanopticSegments

__all__ = [
    'ColorAugSSD', 'FixedSizeCrop', 'LargeScaleJitter', 'LoadImage', 'LoadPanopticSegments', 'PackPanopticInputs',
    'ResizeScale', 'ResizeShortestEdge'
]
