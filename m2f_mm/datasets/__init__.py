from .panoptic import CocoPanopticDataset, PanopticDataset
from .transforms import (
    ColorAugSSD,
    FixedSizeCrop,
    LargeScaleJitter,
    LoadImage,
    LoadPanopticSegments,
    PackPanopticInputs,
    ResizeScale,
)

__all__ = [
    'CocoPanopticDataset', 'ColorAugSSD', 'FixedSizeCrop', 'LargeScaleJitter', 'LoadImage', 'LoadPanopticSegments',
    'PackPanopticInputs', 'PanopticDataset', 'ResizeScale'
]
