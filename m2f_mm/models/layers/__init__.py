from .attention import Attention
from .frozen_bn import FrozenBN
from .ms_deform_attn import MSDeformAttn
from .position_encoding import sine_position_encoding

__all__ = ['Attention', 'FrozenBN', 'MSDeformAttn', 'sine_position_encoding']
