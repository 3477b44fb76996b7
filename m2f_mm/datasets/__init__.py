from .panoptic import CocoPanopticDataset, PanopticDataset
from .transforms import ColorAugSSD, FixedSizeCrop, LoadPanopticSegments, PackPanopticInputs, ResizeScale

__all__ = [
    'CocoPanopticDataset', 'ColorAugSSD', 'FixedSizeCrop', 'LoadPanopticSegments', 'PackPanopticInputs',
    'PanopticDataset', 'ResizeScale'
]
