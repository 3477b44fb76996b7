"""Tables of the options that stock configs and ours have: losses, assigner, pixel decoder, transformer decoder.

An existing project changes ``type=`` and nothing else, so the nested options of the stock modules are read as they are.
Our modules' own arguments say the same with fewer words, ``transformer_decoder=dict(num_layers=9)``, and may stand
beside them. See ``option_tables`` for the entries.
"""

import inspect
from collections.abc import Sequence
from typing import Any, NamedTuple

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

PIXEL_DECODERS: dict[str, Table] = {
    'MSDeformAttnPixelDecoder': {
        **own_arguments(MSDeformAttnPixelDecoder),
        **positional_encoding('SinePositionalEncoding'),
        **RELU,
        **nested('encoder', STACK),
        **nested('encoder.layer_cfg', LAYER),
        **nested('encoder.layer_cfg.self_attn_cfg', DEFORMABLE_ATTENTION),
        **feed_forward('encoder.layer_cfg.ffn_cfg'),
        'strides': ANY,
    },
    'FPNPixelDecoder': {**own_arguments(FPNPixelDecoder), **RELU, 'init_cfg': Only(None)},
    'TransformerEncoderPixelDecoder': {
        **own_arguments(TransformerEncoderPixelDecoder),
        **positional_encoding('SinePositionalEncoding'),
        **RELU,
        'init_cfg': Only(None),
        **nested('encoder', STACK),
        **nested('encoder.layer_cfg', LAYER),
        **attention('encoder.layer_cfg.self_attn_cfg', dropout_is_possible=True),
        **feed_forward('encoder.layer_cfg.ffn_cfg', dropout_is_possible=True),
    },
}
STOCK_NAMES = dict(PixelDecoder='FPNPixelDecoder')  # MMDetection's name for the same module


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


TRANSFORMER_DECODERS: dict[str, Table] = {
    'Mask2FormerTransformerDecoder': {
        **own_arguments(Mask2FormerTransformerDecoder),
        **_stock_transformer_decoder(dropout_is_possible=False),
    },
    'MaskFormerTransformerDecoder': {
        **own_arguments(MaskFormerTransformerDecoder),
        **_stock_transformer_decoder(dropout_is_possible=True),
    },
    'MaskDINOTransformerDecoder': own_arguments(MaskDINOTransformerDecoder),  # no stack has it
}

WEIGHT = {'loss_weight': number(ABSENT, 'of the loss', least=0)}
MEAN = {'reduction': Only('mean')}
FOCAL = {'use_sigmoid': Only(True), 'gamma': Only(2.0), 'alpha': Only(0.25), **MEAN}
COST_WEIGHT = {'weight': number(1.0, 'of the cost', least=0)}
FOCAL_COST = {'alpha': Only(0.25), 'gamma': Only(2)}
BINARY = 'FocalLossCost with binary_input=True'  # a cost of masks; without, it is one of classes


class Loss(NamedTuple):
    """A loss, and the matching cost of the same kind.

    Args:
        name: ours; ``loss_{name}`` of ``SetCriterion`` and ``{name}_weight`` of ``HungarianAssigner`` are the weights.
        types: options of every type that the loss may have.
        costs: options of every type that the cost may have.
    """

    name: str
    types: dict[str, Table]
    costs: dict[str, Table]


LOSSES = {
    'loss_cls': Loss(
        'class',
        types={
            'CrossEntropyLoss': {
                **WEIGHT,
                'class_weight': Value(
                    None,
                    lambda value: value is None or isinstance(value, Sequence),
                    'a list of numbers or None',
                    'of every class and no-object; None for 1 and `no_object_weight`',
                ),
                'no_object_weight': number(0.1, 'of no-object, where there is no `class_weight`', least=0),
                'use_sigmoid': Only(False),
                **MEAN,
            },
            'FocalLoss': {**WEIGHT, **FOCAL},
        },
        costs={
            'ClassificationCost': COST_WEIGHT,
            'FocalLossCost': {**COST_WEIGHT, 'binary_input': Only(False), 'eps': Only(1e-8), **FOCAL_COST},
        },
    ),
    'loss_mask': Loss(
        'mask',
        types={
            'CrossEntropyLoss': {**WEIGHT, 'use_sigmoid': Only(True), **MEAN},
            'FocalLoss': {**WEIGHT, **FOCAL},
        },
        costs={
            'CrossEntropyLossCost': {**COST_WEIGHT, 'use_sigmoid': Only(True)},
            BINARY: {**COST_WEIGHT, 'binary_input': Only(True), 'eps': Only(1e-12), **FOCAL_COST},
        },
    ),
    'loss_dice': Loss(
        'dice',
        types={
            'DiceLoss': {
                **WEIGHT,
                'use_sigmoid': Only(True),
                'activate': Only(True),
                'naive_dice': Only(True),
                'eps': Only(1.0),
                **MEAN,
            }
        },
        costs={'DiceCost': {**COST_WEIGHT, 'pred_act': Only(True), 'eps': Only(1.0), 'naive_dice': Only(True)}},
    ),
    'loss_bbox': Loss(
        'l1',
        types={'L1Loss': {**WEIGHT, **MEAN}},
        costs={'BBoxL1Cost': {**COST_WEIGHT, 'box_format': Only('xywh')}},
    ),
    'loss_iou': Loss(
        'giou',
        types={'GIoULoss': {**WEIGHT, 'eps': Only(1e-6), **MEAN}},
        costs={'IoUCost': {**COST_WEIGHT, 'iou_mode': Only('giou')}},
    ),
}
# What types are called in the criterion where there are several: mask losses, mask costs, class costs.
TERMS = {
    'CrossEntropyLoss': 'bce',
    'FocalLoss': 'focal',
    'CrossEntropyLossCost': 'bce',
    BINARY: 'focal',
    'ClassificationCost': 'probability',
    'FocalLossCost': 'focal',
}

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
