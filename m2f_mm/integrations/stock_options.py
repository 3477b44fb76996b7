"""Tables of the options that stock configs and ours have: losses, assigner, pixel decoder, transformer decoder.

An existing project changes ``type=`` and nothing else, so the nested options of the stock modules are read as they are.
Our modules' own arguments say the same with fewer words, ``transformer_decoder=dict(num_layers=9)``, and may stand
beside them. See ``option_tables`` for the entries.
"""

import inspect
from collections.abc import Sequence
from typing import Any

from m2f_mm.models import (
    FPNPixelDecoder,
    Mask2FormerTransformerDecoder,
    MaskDINOTransformerDecoder,
    MaskFormerTransformerDecoder,
    MSDeformAttnPixelDecoder,
    TransformerEncoderPixelDecoder,
)

from .option_tables import ABSENT, ANY, Old, Only, Renamed, Table, Value, count, nested, number, share, switch


def positional_encoding(kind: str) -> dict[str, Any]:
    """Positions follow from the channels; what an option says about them must be what is computed."""
    return {
        'positional_encoding': Only(None),
        **nested(
            'positional_encoding',
            {
                'type': Only(kind),
                'num_feats': ANY,
                'normalize': Only(True),
                'temperature': Only(10000),
                'init_cfg': Only(None),
            },
        ),
    }


def own_arguments(module: type) -> dict[str, Any]:
    """The arguments of a module of this package, which are its short options; old names, too."""
    names = list(inspect.signature(module).parameters)
    old = {'checkpointing': Old('activation_checkpointing')} if 'activation_checkpointing' in names else {}
    return {**{name: name for name in names}, **old}


def dropout(path: str, key: str, dropout_is_possible: bool, unless: str = '') -> dict[str, Any]:
    """A rate of dropout, 0 in the stock modules where nothing is said."""
    entry = Renamed('dropout', 0.0, unless and f'{path}.{unless}') if dropout_is_possible else Only(0.0)
    return {f'{path}.{key}': entry}


def attention(path: str, dropout_is_possible: bool = False) -> dict[str, Any]:
    """Of mmcv's ``MultiheadAttention``; ``dropout`` is both rates."""
    return {
        f'{path}.dropout': 'dropout' if dropout_is_possible else Only(0.0),
        **dropout(path, 'attn_drop', dropout_is_possible, unless='dropout'),
        **dropout(path, 'proj_drop', dropout_is_possible, unless='dropout'),
        **nested(
            path,
            {
                'embed_dims': 'embed_dims',
                'num_heads': 'num_heads',
                'batch_first': Only(True),
                'norm_cfg': Only(None),
                'dropout_layer': Only(None),
                'init_cfg': Only(None),
            },
        ),
    }


def feed_forward(path: str, dropout_is_possible: bool = False) -> dict[str, Any]:
    """Of mmcv's ``FFN``."""
    return {
        **dropout(path, 'ffn_drop', dropout_is_possible),
        **nested(
            path,
            {
                'embed_dims': 'embed_dims',
                'feedforward_channels': Renamed('feedforward_channels', 1024),
                'num_fcs': Only(2),
                'act_cfg.type': Only('ReLU'),
                'act_cfg.inplace': ANY,
                'add_identity': Only(True),
                'dropout_layer': Only(None),
                'init_cfg': Only(None),
            },
        ),
    }


RELU = {'act_cfg.type': Only('ReLU'), 'act_cfg.inplace': ANY}
LAYER = {'norm_cfg.type': Only('LN'), 'init_cfg': Only(None)}
STACK = {'num_layers': 'num_layers', 'num_cp': Only(-1), 'init_cfg': Only(None)}

DEFORMABLE_ATTENTION = {
    'embed_dims': 'embed_dims',
    'num_levels': 'num_encoder_levels',
    'num_heads': 'num_heads',
    'num_points': 'num_points',
    'im2col_step': ANY,
    'dropout': Only(0.0),
    'attn_drop': Only(0.0),
    'proj_drop': Only(0.0),
    'batch_first': Only(True),
    'norm_cfg': Only(None),
    'dropout_layer': Only(None),
    'init_cfg': Only(None),
}

STOCK_PIXEL_DECODERS: dict[str, Table] = {
    'MSDeformAttnPixelDecoder': {
        **positional_encoding('SinePositionalEncoding'),
        **RELU,
        **nested('encoder', STACK),
        **nested('encoder.layer_cfg', LAYER),
        **nested('encoder.layer_cfg.self_attn_cfg', DEFORMABLE_ATTENTION),
        **feed_forward('encoder.layer_cfg.ffn_cfg'),
        'strides': ANY,
    },
    'FPNPixelDecoder': {**RELU, 'init_cfg': Only(None)},
    'TransformerEncoderPixelDecoder': {
        **positional_encoding('SinePositionalEncoding'),
        **RELU,
        'init_cfg': Only(None),
        **nested('encoder', STACK),
        **nested('encoder.layer_cfg', LAYER),
        **attention('encoder.layer_cfg.self_attn_cfg', dropout_is_possible=True),
        **feed_forward('encoder.layer_cfg.ffn_cfg', dropout_is_possible=True),
    },
}


def _stock_transformer_decoder(dropout_is_possible: bool) -> dict[str, Any]:
    return {
        **nested('layer_cfg', LAYER),
        **attention('layer_cfg.self_attn_cfg', dropout_is_possible),
        **attention('layer_cfg.cross_attn_cfg', dropout_is_possible),
        **feed_forward('layer_cfg.ffn_cfg', dropout_is_possible),
        'return_intermediate': Only(True),
        'post_norm_cfg.type': Only('LN'),
        'init_cfg': Only(None),
    }


STOCK_TRANSFORMER_DECODERS: dict[str, Table] = {
    'Mask2FormerTransformerDecoder': _stock_transformer_decoder(dropout_is_possible=False),
    'MaskFormerTransformerDecoder': _stock_transformer_decoder(dropout_is_possible=True),
    'MaskDINOTransformerDecoder': {},  # no stack has it
}

_PIXEL_DECODERS = MSDeformAttnPixelDecoder, FPNPixelDecoder, TransformerEncoderPixelDecoder
_TRANSFORMER_DECODERS = Mask2FormerTransformerDecoder, MaskFormerTransformerDecoder, MaskDINOTransformerDecoder
PIXEL_DECODERS: dict[str, Table] = {
    module.__name__: {**own_arguments(module), **STOCK_PIXEL_DECODERS[module.__name__]} for module in _PIXEL_DECODERS
}
TRANSFORMER_DECODERS: dict[str, Table] = {
    module.__name__: {**own_arguments(module), **STOCK_TRANSFORMER_DECODERS[module.__name__]}
    for module in _TRANSFORMER_DECODERS
}
STOCK_NAMES = dict(PixelDecoder='FPNPixelDecoder')  # MMDetection's name for the same module

_WEIGHT = {'loss_weight': number(ABSENT, 'of the loss', least=0)}
_MEAN = {'reduction': Only('mean')}
_FOCAL = {'use_sigmoid': Only(True), 'gamma': Only(2.0), 'alpha': Only(0.25), **_MEAN}

# Types of each loss, and their options.
LOSS_CLS: dict[str, Table] = {
    'CrossEntropyLoss': {
        **_WEIGHT,
        'class_weight': Value(
            None,
            lambda value: value is None or isinstance(value, Sequence),
            'a list of numbers or None',
            'of every class and no-object; None for 1 and `no_object_weight`',
        ),
        'no_object_weight': number(0.1, 'of no-object, where there is no `class_weight`', least=0),
        'use_sigmoid': Only(False),
        **_MEAN,
    },
    'FocalLoss': {**_WEIGHT, **_FOCAL},
}
LOSS_MASK: dict[str, Table] = {
    'CrossEntropyLoss': {**_WEIGHT, 'use_sigmoid': Only(True), **_MEAN},
    'FocalLoss': {**_WEIGHT, **_FOCAL},
}
LOSS_DICE: dict[str, Table] = {
    'DiceLoss': {
        **_WEIGHT,
        'use_sigmoid': Only(True),
        'activate': Only(True),
        'naive_dice': Only(True),
        'eps': Only(1.0),
        **_MEAN,
    }
}
LOSS_BBOX: dict[str, Table] = {'L1Loss': {**_WEIGHT, **_MEAN}}
LOSS_IOU: dict[str, Table] = {'GIoULoss': {**_WEIGHT, 'eps': Only(1e-6), **_MEAN}}
MASK_TERMS = dict(CrossEntropyLoss='bce', FocalLoss='focal')

TRAIN_OPTIONS: Table = {
    'num_points': count(
        ABSENT, 'points at which masks are compared; None for every pixel of the padded input', none=True
    ),
    'oversample_ratio': number(ABSENT, 'candidates for uncertain points, as a multiple of `num_points`', 1),
    'importance_sample_ratio': share(ABSENT, 'share of the points that is chosen by uncertainty'),
    'assigner': 'assigner',
    'sampler': Only(None),
    'sampler.type': Only('MaskPseudoSampler'),
}
CRITERION: Table = {
    'box_classes': count(ABSENT, 'only objects of the classes below this number learn their boxes', least=0, none=True),
    'denoise_masks': switch(ABSENT, 'noised objects learn masks, too, not only classes and boxes (Mask DINO)'),
    'draw': 'draw',
}
ASSIGNER: Table = {'type': Only('HungarianAssigner'), 'match_costs': 'match_costs'}

# Options of ``train_cfg.assigner.match_costs`` by type; ``weight`` is read as the weight of the assigner's cost.
BINARY = 'FocalLossCost with binary_input=True'
_FOCAL_COST = {'alpha': Only(0.25), 'gamma': Only(2)}
MATCH_COSTS: dict[str, Table] = {
    'ClassificationCost': {'weight': Renamed('class_weight', 1.0)},
    'FocalLossCost': {
        'weight': Renamed('class_weight', 1.0),
        'binary_input': Only(False),
        'eps': Only(1e-8),
        **_FOCAL_COST,
    },
    'CrossEntropyLossCost': {'weight': Renamed('mask_weight', 1.0), 'use_sigmoid': Only(True)},
    BINARY: {'weight': Renamed('mask_weight', 1.0), 'binary_input': Only(True), 'eps': Only(1e-12), **_FOCAL_COST},
    'DiceCost': {
        'weight': Renamed('dice_weight', 1.0),
        'pred_act': Only(True),
        'eps': Only(1.0),
        'naive_dice': Only(True),
    },
    'BBoxL1Cost': {'weight': Renamed('l1_weight', 1.0), 'box_format': Only('xywh')},
    'IoUCost': {'weight': Renamed('giou_weight', 1.0), 'iou_mode': Only('giou')},
}
CLASS_COSTS = dict(probability='ClassificationCost', focal='FocalLossCost')
MASK_COSTS = {'CrossEntropyLossCost': 'bce', BINARY: 'focal'}
