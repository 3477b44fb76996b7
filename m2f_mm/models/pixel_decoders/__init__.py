"""Pixel decoders: features to mask features and memories."""

from .fpn import FPNPixelDecoder, TransformerEncoderPixelDecoder
from .ms_deform_attn import MSDeformAttnPixelDecoder
from .neck import NeckPixelDecoder

__all__ = ['FPNPixelDecoder', 'MSDeformAttnPixelDecoder', 'NeckPixelDecoder', 'TransformerEncoderPixelDecoder']
