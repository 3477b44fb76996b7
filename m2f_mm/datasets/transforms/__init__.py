from .colour import ColorAugSSD
from .formatting import PackPanopticInputs
from .large_scale_jitter import FixedSizeCrop, ResizeScale
from .loading import LoadImage, LoadPanopticSegments

__all__ = ['ColorAugSSD', 'FixedSizeCrop', 'LoadImage', 'LoadPanopticSegments', 'PackPanopticInputs', 'ResizeScale']
