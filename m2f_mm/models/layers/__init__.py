"""Layers."""

from .attention import Attention
from .deformable_sampling import Levels, Shapes, levels_of
from .feed_forward import FeedForward
from .frozen_bn import FrozenBN
from .initialization import loads_weights, xavier_matrices
from .ms_deform_attn import MSDeformAttn
from .position_encoding import Position, sine_position
from .recompute import check_activation_checkpointing, recompute, recompute_outputs
from .residual import ResidualLayer, layer_norms
from .transformer_encoder import TransformerEncoder

__all__ = [
    'Attention',
    'FeedForward',
    'FrozenBN',
    'Levels',
    'MSDeformAttn',
    'Position',
    'ResidualLayer',
    'Shapes',
    'TransformerEncoder',
    'check_activation_checkpointing',
    'layer_norms',
    'levels_of',
    'loads_weights',
    'recompute',
    'recompute_outputs',
    'sine_position',
    'xavier_matrices',
]
