from .panoptic import CocoPanopticDataset, PanopticDataset
from .transforms import ColorAugSSD, FixedSizeCrop, LoadImage, LoadPanopticSegments, PackPanopticInputs, ResizeScale

__all__ = [
    'CocoPanopticDataset', 'ColorAugSSD', 'FixedSizeCrop', 'LoadImage', 'LoadPanopticSegments', 'PackPanopticInputs',
    'PanopticDataset', 'ResizeScale'
]
