from .layers import FrozenBN, MSDeformAttn
from .mask_transformer import MaskTransformer
from .pixel_decoders import (
    FPNPixelDecoder,
    MSDeformAttnPixelDecoder,
    NeckPixelDecoder,
    TransformerEncoderPixelDecoder,
)
from .transformer_decoders import Mask2FormerTransformerDecoder, MaskFormerTransformerDecoder

__all__ = [
    'FPNPixelDecoder', 'FrozenBN', 'MSDeformAttn', 'MSDeformAttnPixelDecoder', 'Mask2FormerTransformerDecoder',
    'MaskFormerTransformerDecoder', 'MaskTransformer', 'NeckPixelDecoder', 'TransformerEncoderPixelDecoder'
]
