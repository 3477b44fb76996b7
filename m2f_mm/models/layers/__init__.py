from .attention import Attention
from .feed_forward import FeedForward
from .frozen_bn import FrozenBN
from .ms_deform_attn import MSDeformAttn
from .position_encoding import Position, sine_position
from .recompute import check_checkpointing, recompute

__all__ = [
    'Attention', 'FeedForward', 'FrozenBN', 'MSDeformAttn', 'Position', 'check_checkpointing', 'recompute',
    'sine_position'
]
