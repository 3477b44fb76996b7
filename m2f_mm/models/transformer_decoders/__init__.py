from .mask2former import Mask2FormerTransformerDecoder, Memory

__all__ = ['Mask2FormerTransformerDecoder', 'Memory']
