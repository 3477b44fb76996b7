"""Transformer decoders: queries attend to the memories."""

from .interface import Memory
from .mask2former import Mask2FormerTransformerDecoder
from .mask_dino import MaskDINOTransformerDecoder
from .maskformer import MaskFormerTransformerDecoder

__all__ = ['Mask2FormerTransformerDecoder', 'MaskDINOTransformerDecoder', 'MaskFormerTransformerDecoder', 'Memory']
