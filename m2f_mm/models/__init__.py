from .layers import FrozenBN, MSDeformAttn
from .mask_transformer import MaskTransformer
from .pixel_decoders import FPNPixelDecoder, MSDeformAttnPixelDecoder, NeckPixelDecoder
from .transformer_decoders import Mask2FormerTransformerDecoder

__all__ = [
    'FPNPixelDecoder', 'FrozenBN', 'MSDeformAttn', 'MSDeformAttnPixelDecoder', 'Mask2FormerTransformerDecoder',
    'MaskTransformer', 'NeckPixelDecoder'
]
