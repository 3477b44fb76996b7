from .interface import Memory
from .mask2former import Mask2FormerTransformerDecoder
from .maskformer import MaskFormerTransformerDecoder

__all__ = ['Mask2FormerTransformerDecoder', 'MaskFormerTransformerDecoder', 'Memory']
