"""Transforms of pipelines."""

from .clips import ClipFromImage
from .color import ColorAugSSD
from .formatting import PackClipInputs, PackPanopticInputs
from .geometric import FixedSizeCrop, LargeScaleJitter, ResizeScale, ResizeShortestEdge
from .loading import LoadImage, LoadLabelMap, LoadPanopticAnnotations, LoadPanopticSegments
from .resizing import Resize

__all__ = [
    'ClipFromImage',
    'ColorAugSSD',
    'FixedSizeCrop',
    'LargeScaleJitter',
    'LoadImage',
    'LoadLabelMap',
    'LoadPanopticAnnotations',
    'LoadPanopticSegments',
    'PackClipInputs',
    'PackPanopticInputs',
    'Resize',
    'ResizeScale',
    'ResizeShortestEdge',
]
