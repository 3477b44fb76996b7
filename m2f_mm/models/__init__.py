"""Networks, and the layers that they are made of."""

from .backbones import EfficientNetLite
from .denoising import RandomNoise
from .layers import FrozenBN, MSDeformAttn
from .mask_dino import MaskDINO
from .mask_transformer import MaskTransformer
from .pixel_decoders import (
    FPNPixelDecoder,
    MSDeformAttnPixelDecoder,
    NeckPixelDecoder,
    TransformerEncoderPixelDecoder,
)
from .transformer_decoders import (
    Mask2FormerTransformerDecoder,
    MaskDINOTransformerDecoder,
    MaskFormerTransformerDecoder,
)

__all__ = [
    'EfficientNetLite',
    'FPNPixelDecoder',
    'FrozenBN',
    'MSDeformAttn',
    'MSDeformAttnPixelDecoder',
    'Mask2FormerTransformerDecoder',
    'MaskDINO',
    'MaskDINOTransformerDecoder',
    'MaskFormerTransformerDecoder',
    'MaskTransformer',
    'NeckPixelDecoder',
    'RandomNoise',
    'TransformerEncoderPixelDecoder',
]
