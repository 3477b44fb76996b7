from .attention import Attention
from .feed_forward import FeedForward
from .frozen_bn import FrozenBN
from .ms_deform_attn import MSDeformAttn
from .position_encoding import Position, sine_position
from .recompute import Remade, check_checkpointing, recompute, remaking
from .residual import ResidualLayer
from .transformer_encoder import TransformerEncoder

__all__ = [
    'Attention', 'FeedForward', 'FrozenBN', 'MSDeformAttn', 'Position', 'Remade', 'ResidualLayer', 'TransformerEncoder',
    'check_checkpointing', 'recompute', 'remaking', 'sine_position'
]
