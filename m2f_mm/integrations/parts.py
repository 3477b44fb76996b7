"""Options of a head to built parts: pixel decoder, transformer decoder, criterion."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import nn

from m2f_mm.criterion import HungarianAssigner, SetCriterion
from m2f_mm.models import NeckPixelDecoder
from m2f_mm.registry import MODELS

from .head_defaults import HeadDefaults
from .head_options import NetworkOptions, PixelDecoderOptions
from .option_tables import class_name, no_effect, translate, translate_by_type
from .stock_options import (
    ASSIGNER,
    BINARY,
    CRITERION,
    LOSSES,
    PIXEL_DECODERS,
    STOCK_NAMES,
    TERMS,
    TRAIN_OPTIONS,
    TRANSFORMER_DECODERS,
)


class Parts(NamedTuple):
    """What a head is made of.

    Args:
        network: arguments of the network's constructor, its parts among them.
        attributes: of the head beside the network, by name: the criterion, and the classes, which adapters add.
    """

    network: dict[str, Any]
    attributes: dict[str, Any]

    def attach(self, head: nn.Module) -> None:
        """Give a head, whose network has been constructed, the rest."""
        for name, value in self.attributes.items():
            setattr(head, name, value)


def build_parts(defaults: HeadDefaults, options: NetworkOptions, num_classes: int) -> Parts:
    """Network and criterion of a head.

    Args:
        defaults: of the method.
        options: of the head.
        num_classes: C.

    Raises:
        ValueError: a nested option is unknown, impossible or contradicts another; names it.
    """
    num_levels = options.num_transformer_feat_level or type(options).num_transformer_feat_level  # None: the method's
    criterion = build_criterion(num_classes, defaults, options)
    out_channels = options.out_channels if getattr(options, 'predict_masks', True) else None
    network = dict(
        pixel_decoder=build_pixel_decoder(defaults, options, num_levels, out_channels),
        transformer_decoder=build_transformer_decoder(
            defaults, options.transformer_decoder, num_levels, options.activation_checkpointing
        ),
        num_classes=num_classes,
        num_queries=options.num_queries,
        num_levels=num_levels,
        mask_channels=out_channels,
        project_memory=options.enforce_decoder_input_project,
        deep_supervision=options.deep_supervision,
        no_object=criterion.class_weight is not None,
        init_cfg=options.init_cfg,
        **{name: getattr(options, name) for name in options.network_arguments},
    )
    return Parts(network, dict(criterion=criterion))


def build_pixel_decoder(
    defaults: HeadDefaults, options: PixelDecoderOptions, num_levels: int, out_channels: int | None
) -> nn.Module:
    """One of ours by name, with the stock options or ours, or any registered neck.

    Args:
        defaults: of the method.
        options: of the head.
        num_levels: memories that the transformer decoder attends to.
        out_channels: channels of the mask features; None for a pixel decoder without them.
    """
    cfg = dict(options.pixel_decoder or {})
    kind = cfg.pop('type', defaults.pixel_decoder)
    name = STOCK_NAMES.get(class_name(kind), class_name(kind))
    arguments: dict[str, Any] = dict(
        num_outs=num_levels,
        in_channels=list(options.in_channels),
        feat_channels=options.feat_channels,
        out_channels=out_channels,
    )
    if out_channels is None and name != 'MSDeformAttnPixelDecoder':
        raise ValueError(
            f'pixel_decoder: type={name!r} always makes mask features; predict_masks=False needs '
            'MSDeformAttnPixelDecoder'
        )
    module = MODELS.module_dict.get(name)
    if module is None:
        return NeckPixelDecoder(dict(cfg, type=kind), **arguments)
    table = PIXEL_DECODERS.get(name)
    given = cfg if table is None else translate('pixel_decoder', cfg, table)
    embed_dims = given.pop('embed_dims', options.feat_channels) if table else options.feat_channels
    if embed_dims != options.feat_channels:
        raise ValueError(
            f'pixel_decoder.encoder.layer_cfg: embed_dims must be feat_channels={options.feat_channels}, '
            f'got {embed_dims}'
        )
    if name == 'MSDeformAttnPixelDecoder':
        arguments.update(defaults.pixel_options)
        if num_levels > 1:
            extra = {**arguments, **given}.get('num_extra_levels', 0)
            arguments['num_encoder_levels'] = num_levels - extra
        if 'encoder' in cfg and 'norm_cfg' in given:  # the stock option is for both
            given.setdefault('input_norm_cfg', given['norm_cfg'])
    elif table is not None:
        arguments['memory'] = defaults.memory
    if table is not None and 'activation_checkpointing' in table:
        arguments['activation_checkpointing'] = options.activation_checkpointing
    return module(**{**arguments, **given})


def build_transformer_decoder(
    defaults: HeadDefaults, cfg: Mapping[str, Any] | None, num_levels: int, activation_checkpointing: str
) -> nn.Module:
    """One of ours, with the stock options or ours, or any registered one with its own.

    Args:
        defaults: of the method.
        cfg: the option of the head.
        num_levels: memories that it attends to.
        activation_checkpointing: of the head.
    """
    cfg = dict(cfg or {})
    kind = cfg.pop('type', defaults.transformer_decoder)
    name = class_name(kind)
    if name not in TRANSFORMER_DECODERS:
        return MODELS.build(dict(cfg, type=kind))
    table = TRANSFORMER_DECODERS[name]
    given = translate('transformer_decoder', cfg, table)
    arguments: dict[str, Any] = dict(activation_checkpointing=activation_checkpointing)
    if 'num_levels' in table:
        arguments['num_levels'] = num_levels
    return MODELS.module_dict[name](**{**arguments, **given})


def build_criterion(num_classes: int, defaults: HeadDefaults, options: NetworkOptions) -> SetCriterion:
    """The losses and the assigner of the stock options; what is not given has the paper's value.

    Args:
        num_classes: of the head.
        defaults: of the method.
        options: of the head; ``loss_cls.class_weight`` may be left out: 1 for every class, ``no_object_weight`` for
            the last.

    Raises:
        ValueError: an option is unknown, impossible or contradicts another; names it.
    """
    possible = {name: LOSSES[name].types for name in defaults.loss_weights}
    possible['loss_cls'] = {kind: possible['loss_cls'][kind] for kind in defaults.class_losses}
    types: dict[str, str] = {}
    weights: dict[str, float] = {}
    class_weight = None
    for name, tables in possible.items():
        default = defaults.mask_loss if name == 'loss_mask' else next(iter(tables))
        types[name], given = translate_by_type(name, getattr(options, name), tables, default)
        weights[name] = given.get('loss_weight', defaults.loss_weights[name])
        if 'class_weight' in given:
            class_weight = _class_weight(given, num_classes)
    if not getattr(options, 'predict_masks', True):
        _check_no_mask_losses(types['loss_mask'], weights, defaults)

    train = translate('train_cfg', options.train_cfg, TRAIN_OPTIONS)
    num_points = train.get('num_points', defaults.num_points)
    useless = [key for key in ('oversample_ratio', 'importance_sample_ratio') if key in train]
    if num_points is None and useless:
        raise ValueError(
            f'train_cfg: {" and ".join(sorted(useless))} say where points are drawn, but with '
            'num_points=None masks are compared at every pixel; leave them out, or set num_points'
        )
    mask_term = TERMS[types['loss_mask']]
    cost_weights, cost_term = _costs(train.get('assigner'), weights, mask_term, defaults.class_cost)
    assigner = HungarianAssigner(
        **{f'{LOSSES[name].name}_weight': weight for name, weight in cost_weights.items()},
        num_points=num_points,
        mask_term=cost_term,
        class_term=defaults.class_cost,
        no_object=class_weight is not None,
    )
    return SetCriterion(
        assigner,
        class_weight,
        **{f'loss_{LOSSES[name].name}': weight for name, weight in weights.items()},
        mask_term=mask_term,
        num_points=num_points,
        oversample_ratio=train.get('oversample_ratio', 3.0),
        importance_ratio=train.get('importance_sample_ratio', 0.75),
        **translate('criterion', options.criterion, CRITERION),
    )


def _check_no_mask_losses(mask_loss: str, weights: Mapping[str, float], defaults: HeadDefaults) -> None:
    """Raise the error for options of mask losses of a head without masks, unless they say the defaults."""
    values: dict[str, tuple[Any, Any]] = {'loss_mask.type': (mask_loss, defaults.mask_loss)}
    for name in ('loss_mask', 'loss_dice'):
        values[f'{name}.loss_weight'] = weights[name], defaults.loss_weights[name]
    for option, (value, default) in values.items():
        if value != default:
            raise no_effect('panoptic_head', option, value, 'predict_masks=False', default)


def _class_weight(loss_cls: Mapping[str, Any], num_classes: int) -> list[float]:
    """Of the classes and of no-object."""
    class_weight = loss_cls['class_weight'] or [1.0] * num_classes + [loss_cls['no_object_weight']]
    if len(class_weight) != num_classes + 1:
        raise ValueError(
            f'loss_cls.class_weight has {len(class_weight)} numbers, but the head has {num_classes} '
            f'classes and no-object: it needs {num_classes + 1}. Leave it out: it follows from the '
            'classes'
        )
    return class_weight


def _costs(
    cfg: Mapping[str, Any] | None, loss_weights: Mapping[str, float], mask_term: str, class_cost: str
) -> tuple[Mapping[str, float], str]:
    """Weights of the costs by the names of the losses, and what the mask cost is; as the losses unless the option
    ``assigner`` says otherwise."""
    if cfg is None:
        return loss_weights, mask_term
    where = 'train_cfg.assigner'
    costs = translate(where, cfg, ASSIGNER).get('match_costs')
    if not costs:
        raise ValueError(
            f'{where} has no match_costs, so nothing would decide which query gets which '
            'object. Leave the assigner out: the weights of the losses are then those of the costs'
        )
    losses = {kind: name for name in loss_weights for kind in LOSSES[name].costs}  # of the types of costs
    weights = dict.fromkeys(loss_weights, 0.0)
    types: dict[str, str] = {}
    for cost in costs:
        cost = dict(cost)
        kind = class_name(cost.pop('type'))
        if kind == 'FocalLossCost' and cost.get('binary_input'):
            kind = BINARY
        if kind not in losses:
            raise ValueError(f'{where}: the cost {kind} is not one of {", ".join(losses)}')
        name = losses[kind]
        if name == 'loss_cls' and TERMS[kind] != class_cost:
            missing = ' without binary_input=True' if kind == 'FocalLossCost' else ''
            raise ValueError(
                f'{where}: the cost of classes is a {class_cost} cost here, so {kind}{missing} is not supported'
            )
        if name in types:
            raise ValueError(f'{where}: {types[name]} and {kind} are two costs of the same kind; leave one out')
        weights[name] = translate(f'{where} {kind}', cost, LOSSES[name].costs[kind])['weight']
        types[name] = kind
    return weights, TERMS[types['loss_mask']] if 'loss_mask' in types else mask_term
