from .mask2former import Mask2FormerTransformerDecoder

__all__ = ['Mask2FormerTransformerDecoder']
