"""Configs of MMDetection's and MMSegmentation's heads, and this package's shorter ones, to built parts.

An existing project changes ``type=`` and nothing else, so the nested options of the stock heads are read as they are.
Ours say the same with fewer words: ``transformer_decoder=dict(num_layers=9)``. An option that would have to be
ignored is refused.
"""

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral, Real
from types import MappingProxyType
from typing import Any, NamedTuple

from mmengine.config import ConfigDict
from mmengine.fileio import list_from_file
from torch import nn

from m2f_mm.criterion import HungarianAssigner, SetCriterion
from m2f_mm.deprecation import rename_option
from m2f_mm.models import (
    Mask2FormerTransformerDecoder,
    MaskDINOTransformerDecoder,
    MaskFormerTransformerDecoder,
    NeckPixelDecoder,
)
from m2f_mm.registry import DATASETS, MODELS


class ClassCounts(NamedTuple):
    """What a head has to know of the classes: how many, which are things, and where published weights have them."""

    is_thing: list[bool]
    class_ids: tuple[int, ...] | None = None  # place of each in the published order; None where that is the same
    names: tuple[str, ...] | None = None  # None where only numbers are known

    @property
    def things(self) -> int:
        return sum(self.is_thing)

    @property
    def stuff(self) -> int:
        return len(self.is_thing) - self.things


def class_counts(
    where: str,
    metainfo: dict | str | None = None,
    num_things: int | None = None,
    num_stuff: int | None = None,
    num_classes: int | None = None,
) -> ClassCounts:
    """From a data set's metainfo, or from numbers; from both only where they agree.

    Args:
        where: what the error message calls the owner of the options.
        metainfo: a dict with ``classes`` or ``thing_classes`` and ``stuff_classes``, or the type of a registered data
            set.
        num_things, num_stuff: MMDetection's numbers; things come first.
        num_classes: MMSegmentation's number; everything is stuff.
    """
    counted = None
    if metainfo is not None:
        counted = _of_metainfo(where, metainfo)
    if num_classes is not None:
        numbers = [False] * num_classes
    elif num_things is not None or num_stuff is not None:
        numbers = [True] * (num_things or 0) + [False] * (num_stuff or 0)
    elif counted is not None:
        return counted
    else:
        raise ValueError(
            f'{where} does not know its classes: give it metainfo (the one of the data set, or its type) '
            'or the numbers (num_things_classes and num_stuff_classes, or num_classes)'
        )
    if counted is not None:
        same = len(counted.is_thing) == len(numbers) and (num_classes is not None or counted.things == sum(numbers))
        if not same:
            raise ValueError(
                f'{where}: the numbers say {sum(numbers)} things and {len(numbers) - sum(numbers)} other '
                f'classes, but its metainfo lists {counted.things} thing classes among '
                f'{len(counted.is_thing)}. Leave the numbers out'
            )
        return counted
    return ClassCounts(numbers)


def _of_metainfo(where: str, metainfo) -> ClassCounts:
    if isinstance(metainfo, str):
        with DATASETS.switch_scope_and_registry(None) as registry:  # the default scope, as for a data set itself
            dataset = registry.get(metainfo)
        if dataset is None:
            raise ValueError(f'{where}: metainfo={metainfo!r} names no registered data set')
        metainfo = dataset.METAINFO
    metainfo = {key.lower(): value for key, value in metainfo.items()}
    things, stuff = metainfo.get('thing_classes'), metainfo.get('stuff_classes')
    classes = metainfo.get('classes')
    if isinstance(classes, str):  # MMEngine reads a file of names here
        try:
            classes = list_from_file(classes)
        except OSError as error:
            raise ValueError(
                f'{where}: metainfo has classes={classes!r}, a text instead of a list, and no file '
                f'of names has that path. Write classes=({classes!r}, )'
            ) from error
    if classes is None:
        if things is None:
            raise ValueError(f'{where}: metainfo has neither classes nor thing_classes, only {sorted(metainfo)}')
        classes = tuple(things) + tuple(stuff or ())
    is_thing = [stuff is None or name not in stuff if things is None else name in things for name in classes]
    return ClassCounts(is_thing, metainfo.get('class_ids'), tuple(map(str, classes)))


class HeadDefaults(NamedTuple):
    """What the heads of a method have where their options say nothing: the values of the paper.

    Args:
        pixel_decoder, transformer_decoder: registered names.
        num_levels: memories that the transformer decoder attends to.
        memory: which maps of an FPN those are.
        loss_weights: of class, mask and dice.
        mask_term: 'bce' or 'focal'.
        num_points: at which masks are compared; None for every pixel.
        class_loss: 'CrossEntropyLoss' or 'FocalLoss'.
        class_cost: 'probability' or 'focal'; only with the latter there is a choice of the loss.
        box_weights: of distance and generalised IoU; None where there are no boxes.
        pixel_options: of the pixel decoder.
    """

    pixel_decoder: str
    transformer_decoder: str
    num_levels: int
    memory: str
    loss_weights: tuple[float, float, float]
    mask_term: str
    num_points: int | None
    class_loss: str = 'CrossEntropyLoss'
    class_cost: str = 'probability'
    box_weights: tuple[float, float] | None = None
    pixel_options: dict[str, Any] = MappingProxyType({})


MASK2FORMER = HeadDefaults(
    'MSDeformAttnPixelDecoder', 'Mask2FormerTransformerDecoder', 3, 'pyramid', (2.0, 5.0, 5.0), 'bce', 12544
)
MASKFORMER = HeadDefaults(
    'FPNPixelDecoder', 'MaskFormerTransformerDecoder', 1, 'coarsest', (1.0, 20.0, 1.0), 'focal', None
)
MASK_DINO = HeadDefaults(
    'MSDeformAttnPixelDecoder',
    'MaskDINOTransformerDecoder',
    4,
    'pyramid',
    (4.0, 5.0, 5.0),
    'bce',
    12544,
    'FocalLoss',
    'focal',
    (5.0, 2.0),
    dict(num_extra_levels=1, fine_first=True, always_fpn=True, feedforward_channels=2048),
)


def build_pixel_decoder(
    cfg: dict[str, Any] | None,
    method: HeadDefaults,
    in_channels: Sequence[int],
    feat_channels: int,
    out_channels: int | None,
    num_levels: int,
    activation_checkpointing: str,
) -> nn.Module:
    """One of ours by name, the stock decoders' options on ours, or any registered neck.

    Without ``out_channels`` there are no mask features.
    """
    cfg = dict(cfg or {})
    rename_option('pixel_decoder', cfg, 'checkpointing', 'activation_checkpointing')
    kind = cfg.pop('type', method.pixel_decoder)
    name = dict(PixelDecoder='FPNPixelDecoder').get(_name(kind), _name(kind))  # MMDetection's name for the same module
    defaults = dict(
        num_outs=num_levels, in_channels=list(in_channels), feat_channels=feat_channels, out_channels=out_channels
    )
    ours = MODELS.module_dict.get(name)
    if out_channels is None and name != 'MSDeformAttnPixelDecoder':
        raise ValueError(
            f'pixel_decoder: type={name!r} always makes mask features; predict_masks=False needs '
            'MSDeformAttnPixelDecoder'
        )
    if ours is None:
        return NeckPixelDecoder(dict(cfg, type=kind), **defaults)
    if name == 'MSDeformAttnPixelDecoder':
        defaults.update(method.pixel_options, activation_checkpointing=activation_checkpointing)
        if num_levels > 1:
            extra = {**defaults, **cfg}.get('num_extra_levels', 0)
            defaults['num_encoder_levels'] = num_levels - extra
        cfg = _deformable_options(cfg) if 'encoder' in cfg else cfg
    elif name in ('FPNPixelDecoder', 'TransformerEncoderPixelDecoder'):
        defaults['memory'] = method.memory
        reject_unsupported(
            'pixel_decoder',
            {key: cfg.pop(key) for key in ('act_cfg', 'init_cfg') if key in cfg},
            act_cfg=dict(type='ReLU'),
            init_cfg=None,
        )
        if name == 'TransformerEncoderPixelDecoder':
            defaults['activation_checkpointing'] = activation_checkpointing
            cfg = _plain_encoder_options(cfg, feat_channels) if 'encoder' in cfg else cfg
    return ours(**{**defaults, **cfg})


def _deformable_options(cfg: dict[str, Any]) -> dict[str, Any]:
    """MMDetection's nested options of the MSDeformAttn pixel decoder."""
    cfg = dict(cfg)
    encoder = dict(cfg.pop('encoder'))
    layer = dict(encoder.pop('layer_cfg'))
    attention, ffn = dict(layer.pop('self_attn_cfg')), dict(layer.pop('ffn_cfg', {}))
    reject_unsupported_encoding('pixel_decoder.positional_encoding', cfg.pop('positional_encoding', None))
    cfg.pop('strides', None)
    norm_cfg = cfg.pop('norm_cfg', dict(type='GN', num_groups=32))
    options = dict(
        num_layers=encoder.pop('num_layers'),
        num_encoder_levels=attention.pop('num_levels'),
        num_heads=attention.pop('num_heads', 8),
        num_points=attention.pop('num_points', 4),
        feedforward_channels=ffn.pop('feedforward_channels', 1024),
        num_outs=cfg.pop('num_outs', 3),
        norm_cfg=norm_cfg,
        input_norm_cfg=norm_cfg,
        **{name: cfg.pop(name) for name in ('deform_attn_backend', 'activation_checkpointing') if name in cfg},
    )
    reject_unsupported('pixel_decoder', cfg, act_cfg=dict(type='ReLU'), init_cfg=None)
    reject_unsupported('pixel_decoder.encoder', encoder, num_cp=-1, init_cfg=None)
    reject_unsupported('pixel_decoder.encoder.layer_cfg', layer, norm_cfg=dict(type='LN'), init_cfg=None)
    reject_unsupported_attention('pixel_decoder.encoder.layer_cfg.self_attn_cfg', attention, im2col_step=...)
    reject_unsupported_ffn('pixel_decoder.encoder.layer_cfg.ffn_cfg', ffn)
    return options


def _plain_encoder_options(cfg: dict[str, Any], feat_channels: int) -> dict[str, Any]:
    """MMDetection's nested options of the pixel decoder with DETR's encoder."""
    cfg = dict(cfg)
    encoder = dict(cfg.pop('encoder'))
    reject_unsupported_encoding('pixel_decoder.positional_encoding', cfg.pop('positional_encoding', None))
    layers = _layer_options('pixel_decoder.encoder', encoder, ('self_attn_cfg',))
    if layers.pop('embed_dims') != feat_channels:
        raise ValueError(f'pixel_decoder.encoder: embed_dims must be feat_channels={feat_channels}')
    reject_unsupported('pixel_decoder.encoder', encoder, num_cp=-1, init_cfg=None)
    return {**cfg, **layers}


def build_transformer_decoder(
    cfg: dict[str, Any] | None, method: HeadDefaults, num_levels: int, activation_checkpointing: str
) -> nn.Module:
    """From the stock nested options or from ours."""
    cfg = dict(cfg or {})
    rename_option('transformer_decoder', cfg, 'checkpointing', 'activation_checkpointing')
    kind = cfg.pop('type', method.transformer_decoder)
    decoders = {
        decoder.__name__: decoder
        for decoder in (Mask2FormerTransformerDecoder, MaskFormerTransformerDecoder, MaskDINOTransformerDecoder)
    }
    if _name(kind) not in decoders:
        return MODELS.build(dict(cfg, type=kind))
    decoder = decoders[_name(kind)]
    if decoder is MaskDINOTransformerDecoder:  # no stock one has other options
        return decoder(**{'activation_checkpointing': activation_checkpointing, 'num_levels': num_levels, **cfg})
    if 'layer_cfg' not in cfg:
        return decoder(**{'activation_checkpointing': activation_checkpointing, **cfg})
    where, has_dropout = 'transformer_decoder', decoder is MaskFormerTransformerDecoder
    options = _layer_options(where, cfg, ('self_attn_cfg', 'cross_attn_cfg'), None if has_dropout else 0.0)
    options['activation_checkpointing'] = cfg.pop('activation_checkpointing', activation_checkpointing)
    if not has_dropout:
        del options['dropout']
    reject_unsupported(where, cfg, return_intermediate=True, post_norm_cfg=dict(type='LN'), init_cfg=None)
    return decoder(**options)


def _layer_options(
    where: str, cfg: dict[str, Any], attentions: Sequence[str], dropout: float | None = None
) -> dict[str, Any]:
    """The stock options of a stack of transformer layers, taken off ``cfg``, in our words.

    Args:
        where: what an error message calls the owner.
        cfg: has ``num_layers`` and ``layer_cfg``.
        attentions: names of the attentions in the latter; all must have the same channels and heads.
        dropout: the only one that is possible; None for any that is the same everywhere.
    """
    layer = dict(cfg.pop('layer_cfg'))
    parts = {name: dict(layer.pop(name, {})) for name in attentions}
    ffn = dict(layer.pop('ffn_cfg', {}))
    first = parts[attentions[-1]]
    options = dict(
        num_layers=cfg.pop('num_layers'),
        embed_dims=first.get('embed_dims', 256),
        num_heads=first.get('num_heads', 8),
        feedforward_channels=ffn.pop('feedforward_channels', 1024),  # mmcv's
        dropout=first.get('dropout', first.get('attn_drop', 0.0)) if dropout is None else dropout,
    )
    reject_unsupported(f'{where}.layer_cfg', layer, norm_cfg=dict(type='LN'), init_cfg=None)
    for name, part in parts.items():
        if 'dropout' not in part:
            part = {'attn_drop': 0.0, 'proj_drop': 0.0, **part}
        reject_unsupported_attention(
            f'{where}.layer_cfg.{name}', part, options['dropout'], num_heads=options['num_heads']
        )
    reject_unsupported_ffn(f'{where}.layer_cfg.ffn_cfg', {'ffn_drop': 0.0, **ffn}, options['dropout'])
    return options


def build_criterion(
    num_classes: int,
    method: HeadDefaults,
    loss_cls: dict | None,
    loss_mask: dict | None,
    loss_dice: dict | None,
    train_cfg: dict | None,
    loss_bbox: dict | None = None,
    loss_iou: dict | None = None,
    **options: Any,
) -> SetCriterion:
    """The losses and the assigner of the stock options; what is not given has the paper's value.

    ``loss_cls.class_weight`` may be left out: 1 for every class, ``no_object_weight`` (0.1) for the last.

    Args:
        options: further ones of ``SetCriterion``.
    """
    loss_cls, loss_mask, loss_dice, loss_bbox, loss_iou = (
        dict(loss or {}) for loss in (loss_cls, loss_mask, loss_dice, loss_bbox, loss_iou)
    )
    train = dict(train_cfg or {})
    if not method.box_weights and (loss_bbox or loss_iou):
        raise ValueError('loss_bbox and loss_iou: this head predicts no boxes')
    weights = [
        loss.pop('loss_weight', default)
        for loss, default in zip(
            (loss_cls, loss_mask, loss_dice, loss_bbox, loss_iou), (*method.loss_weights, *(method.box_weights or ()))
        )
    ]
    reject_unsupported('loss_bbox', loss_bbox, type='L1Loss', reduction='mean')
    reject_unsupported('loss_iou', loss_iou, type='GIoULoss', reduction='mean', eps=1e-6)
    class_loss = method.class_loss
    if method.class_cost == 'focal':
        class_loss = _name(loss_cls.pop('type', class_loss))
        if class_loss not in CLASS_LOSSES:
            raise ValueError(f'loss_cls: type={class_loss!r} is not supported, only {" and ".join(CLASS_LOSSES)}')
    if class_loss == 'FocalLoss':
        class_weight = None
        reject_unsupported('loss_cls', loss_cls, use_sigmoid=True, gamma=2.0, alpha=0.25, reduction='mean')
    else:
        class_weight = _class_weight(loss_cls, num_classes)
        reject_unsupported(
            'loss_cls', {'type': class_loss, **loss_cls}, type='CrossEntropyLoss', use_sigmoid=False, reduction='mean'
        )
    mask_term, mask_type = method.mask_term, loss_mask.pop('type', None)
    if mask_type is not None:
        mask_term = MASK_TERMS.get(_name(mask_type))
    if mask_term is None:
        raise ValueError(f'loss_mask: type={_name(mask_type)!r} is not supported, only {" and ".join(MASK_TERMS)}')
    focal = dict(gamma=2.0, alpha=0.25) if mask_term == 'focal' else {}
    reject_unsupported('loss_mask', loss_mask, use_sigmoid=True, reduction='mean', **focal)
    reject_unsupported(
        'loss_dice',
        loss_dice,
        type='DiceLoss',
        use_sigmoid=True,
        activate=True,
        reduction='mean',
        naive_dice=True,
        eps=1.0,
    )
    points = train.pop('num_points', method.num_points)
    useless = {'oversample_ratio', 'importance_sample_ratio'} & train.keys()
    if points is None and useless:
        raise ValueError(
            f'train_cfg: {" and ".join(sorted(useless))} say where points are drawn, but with '
            'num_points=None masks are compared at every pixel; leave them out, or set num_points'
        )
    costs, mask_cost = _costs(train.pop('assigner', None), weights, mask_term, method.class_cost)
    boxes = dict(zip(('l1_weight', 'giou_weight'), costs[3:]))
    assigner = HungarianAssigner(
        *costs[:3],
        num_points=points,
        mask_term=mask_cost,
        class_term=method.class_cost,
        no_object=class_weight is not None,
        **boxes,
    )
    options.update(zip(('loss_l1', 'loss_giou'), weights[3:]))
    sampling = dict(
        oversample_ratio=train.pop('oversample_ratio', 3.0), importance_ratio=train.pop('importance_sample_ratio', 0.75)
    )
    reject_unsupported('train_cfg.sampler', dict(train.pop('sampler', None) or {}), type='MaskPseudoSampler')
    for key, value in train.items():
        raise unknown_option('train_cfg', key, value, TRAIN_OPTIONS)
    return SetCriterion(
        assigner, class_weight, *weights[:3], mask_term=mask_term, num_points=points, **sampling, **options
    )


TRAIN_OPTIONS = 'num_points', 'oversample_ratio', 'importance_sample_ratio', 'assigner', 'sampler'


def _class_weight(loss_cls: dict[str, Any], num_classes: int) -> list[float]:
    """Of the classes and of no-object, taken off the options."""
    no_object = loss_cls.pop('no_object_weight', 0.1)
    class_weight = loss_cls.pop('class_weight', None) or [1.0] * num_classes + [no_object]
    if len(class_weight) != num_classes + 1:
        raise ValueError(
            f'loss_cls.class_weight has {len(class_weight)} numbers, but the head has {num_classes} '
            f'classes and no-object: it needs {num_classes + 1}. Leave it out: it follows from the '
            'classes'
        )
    return class_weight


CLASS_LOSSES = 'FocalLoss', 'CrossEntropyLoss'
MASK_TERMS = dict(CrossEntropyLoss='bce', FocalLoss='focal')
MASK_COSTS = dict(CrossEntropyLossCost='bce', FocalLossCost='focal')


def _costs(
    assigner: dict | None, loss_weights: Sequence[float], mask_term: str, class_cost: str
) -> tuple[list[float], str]:
    """Weights of class, mask and dice cost, with boxes of their distance and overlap, and what the mask cost is; as the
    losses unless the assigner says otherwise."""
    if assigner is None:
        return list(loss_weights), mask_term
    places = dict(ClassificationCost=0, CrossEntropyLossCost=1, FocalLossCost=1, DiceCost=2)
    if len(loss_weights) > 3:
        places.update(BBoxL1Cost=3, IoUCost=4)
    weights = [0.0] * len(loss_weights)
    assigner = dict(assigner)
    costs = assigner.pop('match_costs', None)
    if not costs:
        raise ValueError(
            'train_cfg.assigner has no match_costs, so nothing would decide which query gets which '
            'object. Leave the assigner out: the weights of the losses are then those of the costs'
        )
    reject_unsupported('train_cfg.assigner', assigner, type='HungarianAssigner')
    seen = {}
    for cost in costs:
        cost = dict(cost)
        name = cost.pop('type').split('.')[-1]
        if name not in places:
            raise ValueError(f'train_cfg.assigner: the cost {name} is not one of {", ".join(places)}')
        place = places[name]
        if name == 'FocalLossCost' and not cost.get('binary_input'):
            place = 0  # of classes
        if place == 0 and (name == 'FocalLossCost') != (class_cost == 'focal'):
            raise ValueError(
                f'train_cfg.assigner: the cost of classes is a {class_cost} cost here, so {name} '
                f'{"" if name != "FocalLossCost" else "without binary_input=True "}is not supported'
            )
        if place in seen:
            raise ValueError(
                f'train_cfg.assigner: {seen[place]} and {name} are two costs of the same kind; leave one out'
            )
        seen[place] = name
        weights[place] = cost.pop('weight', 1.0)
        known = dict(
            FocalLossCost=dict(binary_input=place == 1, alpha=0.25, gamma=2, eps=1e-12 if place else 1e-8),
            BBoxL1Cost=dict(box_format='xywh'),
            IoUCost=dict(iou_mode='giou'),
        ).get(name, dict(eps=1.0))
        reject_unsupported(
            f'train_cfg.assigner {name}', cost, use_sigmoid=True, pred_act=True, naive_dice=True, **known
        )
    return weights, MASK_COSTS.get(seen.get(1), mask_term)


def reject_unsupported_encoding(where: str, cfg: dict[str, Any] | None, kind: str = 'SinePositionalEncoding') -> None:
    """The position encoding follows from the channels; what an option says about it must be what is computed."""
    reject_unsupported(
        where, dict(cfg or {}), type=kind, num_feats=..., normalize=True, temperature=10000, init_cfg=None
    )


class Option(NamedTuple):
    """An option of a ``test_cfg``.

    Args:
        default: its value where the config says nothing.
        valid: whether a value is possible.
        expected: which values are, for the error message.
    """

    default: Any
    valid: Callable[[Any], bool]
    expected: str


def _switch(default: bool) -> Option:
    return Option(default, lambda value: isinstance(value, Integral) and value in (0, 1), 'True or False')


def _share(default: float) -> Option:
    return Option(default, lambda value: isinstance(value, Real) and 0 <= value <= 1, 'a number in 0..1')


def _count(default: int | None, least: int = 1) -> Option:
    def valid(value: Any) -> bool:
        if value is None:
            return default is None
        return isinstance(value, Integral) and not isinstance(value, bool) and value >= least

    return Option(default, valid, f'a whole number from {least}' + (' or None' if default is None else ''))


def _choice(*values: str | None) -> Option:
    return Option(values[0], lambda value: value in values, ' or '.join(map(repr, values)))


def _pair() -> Option:
    def valid(value: Any) -> bool:
        return (
            value is None
            or isinstance(value, Sequence)
            and len(value) == 2
            and all(isinstance(side, Integral) and side > 0 for side in value)
        )

    return Option(None, valid, 'two whole numbers from 1, height and width')


PANOPTIC_OPTIONS = dict(object_mask_thr=_share(0.8), iou_thr=_share(0.8))
DETECTOR_OPTIONS = dict(
    panoptic_on=_switch(True),
    instance_on=_switch(False),
    semantic_on=_switch(False),
    **PANOPTIC_OPTIONS,
    filter_low_score=_switch(False),
    max_per_image=_count(100),
    score_thr=_share(0.0),
    instance_masks=_choice('bitmap', 'rle', None),
    rate_masks=_switch(True),
    temperature=Option(
        0.06, lambda value: value is None or isinstance(value, Real) and value > 0, 'a number above 0 or None'
    ),
)
VIDEO_OPTIONS = dict(
    panoptic_on=_switch(False),
    **PANOPTIC_OPTIONS,
    filter_low_score=_switch(True),
    max_per_video=_count(10),
    score_thr=_share(0.0),
    instance_masks=_choice('bitmap', 'rle'),
    association=_choice('clip', 'frames'),
    window_size=_count(None),
    window_overlap=_count(0, least=0),
    kept_tracks=_count(30),
    frames_at_once=_count(None),
)
SEGMENTOR_OPTIONS = dict(
    mode=_choice('whole', 'slide'), crop_size=_pair(), stride=_pair(), rescale=_choice(True)
)  # MMSegmentation always does


def read_test_cfg(cfg: Mapping[str, Any] | None, options: Mapping[str, Option]) -> ConfigDict:
    """All options of a ``test_cfg``, those that it does not name with their defaults.

    Args:
        cfg: as the config has it.
        options: those that there are.

    Raises:
        ValueError: an option does not exist or cannot have its value; says which one is meant or possible.
    """
    for key, value in (cfg or {}).items():
        if key not in options:
            raise unknown_option('test_cfg', key, value, options)
        if not options[key].valid(value):
            raise ValueError(f'test_cfg: {key}={value!r}: must be {options[key].expected}, got {value!r}')
    return ConfigDict({**{key: option.default for key, option in options.items()}, **(cfg or {})})


def joined_cfg(name: str, given: Mapping[str, Mapping[str, Any] | None]) -> ConfigDict | None:
    """Options that stand in several places of a config, such as the model's and its head's ``test_cfg``.

    Args:
        name: of the config, for the error message.
        given: what each place has, by the name of the place.

    Raises:
        ValueError: two places have different values for an option.
    """
    joined, places = ConfigDict(), {}
    for place, cfg in given.items():
        for key, value in (cfg or {}).items():
            if key in joined and joined[key] != value:
                raise ValueError(
                    f'{places[key]}.{name} has {key}={joined[key]!r}, but {place}.{name} has '
                    f'{key}={value!r}: leave one of them out'
                )
            joined[key], places[key] = value, place
    return None if all(cfg is None for cfg in given.values()) else joined


def unknown_option(where: str, key: str, value: Any, known: Iterable[str]) -> ValueError:
    """The error for an option that nothing reads; names the nearest one that there is."""
    known = list(known)
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    hint = f'; did you mean {near[0]}?' if near else f'; known are {", ".join(known)}' if known else ''
    return ValueError(f'{where}: unknown option {key}={value!r}{hint}')


def _name(kind: str | type) -> str:
    """The name of a registered class, without its scope."""
    return kind.split('.')[-1] if isinstance(kind, str) else kind.__name__


def reject_unsupported(where: str, left: dict[str, Any], **known: Any) -> None:
    """Whatever is left of the options must be known and have the only value that is computed here (... is any)."""
    for key, value in left.items():
        if key not in known:
            raise unknown_option(where, key, value, known)
        wanted = known[key]
        if key == 'type':
            value = _name(value)
        if isinstance(wanted, dict) and isinstance(value, dict):
            value = {k: v for k, v in value.items() if k in wanted}
        if wanted is not ... and value != wanted:
            raise ValueError(f'{where}: {key}={value!r} is not supported, only {wanted!r}')


def reject_unsupported_attention(where: str, left: dict[str, Any], dropout: float = 0.0, **known: Any) -> None:
    reject_unsupported(
        where,
        left,
        embed_dims=...,
        dropout=dropout,
        attn_drop=dropout,
        proj_drop=dropout,
        batch_first=True,
        norm_cfg=None,
        dropout_layer=None,
        init_cfg=None,
        **known,
    )


def reject_unsupported_ffn(where: str, left: dict[str, Any], dropout: float = 0.0) -> None:
    reject_unsupported(
        where,
        left,
        embed_dims=...,
        num_fcs=2,
        ffn_drop=dropout,
        act_cfg=dict(type='ReLU'),
        add_identity=True,
        dropout_layer=None,
        init_cfg=None,
    )
