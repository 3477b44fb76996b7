"""Data sets, transforms, and readers of annotations that check what they read."""

from .panoptic import (
    ADE20KPanopticDataset,
    CityscapesPanopticDataset,
    CocoPanopticDataset,
    MapillaryPanopticDataset,
    PanopticDataset,
)
from .transforms import (
    ClipFromImage,
    ColorAugSSD,
    FixedSizeCrop,
    LargeScaleJitter,
    LoadImage,
    LoadPanopticAnnotations,
    LoadPanopticSegments,
    PackClipInputs,
    PackPanopticInputs,
    ResizeScale,
    ResizeShortestEdge,
)
from .video import OVISDataset, VideoInstanceDataset, YouTubeVIS2019Dataset, YouTubeVIS2021Dataset

__all__ = [
    'ADE20KPanopticDataset',
    'CityscapesPanopticDataset',
    'ClipFromImage',
    'CocoPanopticDataset',
    'ColorAugSSD',
    'FixedSizeCrop',
    'LargeScaleJitter',
    'LoadImage',
    'LoadPanopticAnnotations',
    'LoadPanopticSegments',
    'MapillaryPanopticDataset',
    'OVISDataset',
    'PackClipInputs',
    'PackPanopticInputs',
    'PanopticDataset',
    'ResizeScale',
    'ResizeShortestEdge',
    'VideoInstanceDataset',
    'YouTubeVIS2019Dataset',
    'YouTubeVIS2021Dataset',
]
