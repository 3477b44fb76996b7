from .panoptic import (
    ADE20KPanopticDataset,
    CityscapesPanopticDataset,
    CocoPanopticDataset,
    MapillaryPanopticDataset,
    PanopticDataset,
)
from .transforms import (
    ColorAugSSD,
    FixedSizeCrop,
    LargeScaleJitter,
    LoadImage,
    LoadPanopticSegments,
    PackPanopticInputs,
    ResizeScale,
    ResizeShortestEdge,
)

__all__ = [
    'ADE20KPanopticDataset', 'CityscapesPanopticDataset', 'CocoPanopticDataset', 'ColorAugSSD', 'FixedSizeCrop',
    'LargeScaleJitter', 'LoadImage', 'LoadPanopticSegments', 'MapillaryPanopticDataset', 'PackPanopticInputs',
    'PanopticDataset', 'ResizeScale', 'ResizeShortestEdge'
]
