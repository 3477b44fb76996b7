from .fpn import FPNPixelDecoder
from .ms_deform_attn import MSDeformAttnPixelDecoder
from .neck import NeckPixelDecoder

__all__ = ['FPNPixelDecoder', 'MSDeformAttnPixelDecoder', 'NeckPixelDecoder']
