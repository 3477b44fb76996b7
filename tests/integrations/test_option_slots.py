"""A misspelt option is an error that names it and the nearest known one, wherever a config may have it."""

import inspect
import pydoc
from dataclasses import fields
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
import torch
from mmengine.config import ConfigDict

from m2f_mm import deprecation, integrations
from m2f_mm.integrations import inference_options
from m2f_mm.integrations.inference_options import DETECTOR_OPTIONS, read_test_cfg
from m2f_mm.registry import MODELS
from tests.helpers.tiny_models import (
    CHANNELS,
    build_detector,
    build_segmentor,
    detection_batch,
    mmdet_config,
    mmseg_config,
    semantic_batch,
    use_our_heads,
    use_our_track_head,
    video_config,
)

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')
TOOL = Path(__file__).parents[2] / 'tools' / 'write_options.py'
write_options = module_from_spec(spec := spec_from_file_location('m2f_mm_tool_write_options', TOOL))
spec.loader.exec_module(write_options)
HEADS = write_options.HEADS
NAMES = [kind.__name__.removesuffix('Options') for kind in HEADS]
WITH_NETWORK = [name for name in NAMES if name != 'PerPixelSegHead']
WITH_CRITERION = [name for name in NAMES if 'PerPixel' not in name]
IN_DETECTORS = [name for name in NAMES if 'Seg' not in name]


def head(name, **options):
    classes = dict(num_classes=4) if 'Seg' in name else dict(num_things_classes=4)
    return MODELS.build(dict(type=f'm2f_mm.{name}', in_channels=CHANNELS, **classes, **options))


def nest(path, value):
    """``dict(a=dict(b=value))`` for the path ``a.b``; ``[]`` at the end of a name stands for a list."""
    for name in reversed(path.split('.')):
        value = {name.removesuffix('[]'): [value] if name.endswith('[]') else value}
    return value


COST = dict(type='DiceCost', weigth=1.0)
SOFTMAX = dict(type='CrossEntropyLoss')
BOXES = dict(predict_masks=False, boxes_from_masks='no')
OPTIONS = [
    (NAMES, 'feat_channel', 'feat_channels'),
    (NAMES, 'pixel_decoder.num_out', 'num_outs'),
    (WITH_NETWORK, 'transformer_decoder.num_layer', 'num_layers'),
    (WITH_CRITERION, 'num_querys', 'num_queries'),
    (WITH_CRITERION, 'positional_encoding.num_feat', 'num_feats'),
    (WITH_CRITERION, 'loss_cls.loss_weigth', 'loss_weight'),
    (WITH_CRITERION, 'loss_mask.loss_weigth', 'loss_weight'),
    (WITH_CRITERION, 'loss_dice.loss_weigth', 'loss_weight'),
    (['MaskDINOHead', 'MaskDINOSegHead'], 'loss_bbox.loss_weigth', 'loss_weight'),
    (['MaskDINOHead', 'MaskDINOSegHead'], 'loss_iou.loss_weigth', 'loss_weight'),
    (WITH_CRITERION, 'train_cfg.num_point', 'num_points'),
    (WITH_CRITERION, 'train_cfg.sampler.typ', 'type'),
    (WITH_CRITERION, 'train_cfg.assigner.match_cost', 'match_costs'),
    (WITH_CRITERION, 'train_cfg.assigner.match_costs[]', 'weight'),
    (IN_DETECTORS, 'test_cfg.instances_on', 'instance'),
]


@pytest.mark.parametrize(
    'name, option, nearest',
    [pytest.param(name, *rest, id=f'{name}.{rest[0]}') for names, *rest in OPTIONS for name in names],
)
def test_options_of_heads(name, option, nearest):
    value = COST if option.endswith('[]') else 1
    with pytest.raises(ValueError, match=f'unknown option .*; did you mean {nearest}'):
        head(name, **nest(option, value))


def model(slot, place, cfg):
    """A model with a ``train_cfg`` or ``test_cfg`` in one of its places."""
    if slot == 'segmentor':
        config = mmseg_config()
        config.update(type='m2f_mm.MaskSegmentor', **{place: cfg})
        config.decode_head.type = 'm2f_mm.Mask2FormerSegHead'
        return build_segmentor(config)
    if slot in ('video detector', 'stock video detector'):
        config = use_our_track_head(video_config())
        if slot == 'stock video detector':
            config.type = 'Mask2FormerVideo'
        config.pop(place, None)
        config.track_head[place] = cfg
    else:
        config = use_our_heads(mmdet_config())
        config.type = dict(detector='m2f_mm.Mask2Former').get(slot, 'Mask2Former')
        config[place] = cfg
    return build_detector(ConfigDict(config))


@pytest.mark.parametrize(
    'slot, place, option, nearest',
    [
        ('detector', 'test_cfg', 'obj_mask_thr', 'object_mask_thr'),
        ('stock detector', 'test_cfg', 'obj_mask_thr', 'object_mask_thr'),
        ('video detector', 'test_cfg', 'max_per_vid', 'max_per_video'),
        ('stock video detector', 'test_cfg', 'max_per_vid', 'max_per_video'),
        ('segmentor', 'test_cfg', 'strides', 'stride'),
        ('detector', 'train_cfg', 'num_pointz', 'num_points'),
        ('stock detector', 'train_cfg', 'num_pointz', 'num_points'),
        ('video detector', 'train_cfg', 'num_pointz', 'num_points'),
        ('stock video detector', 'train_cfg', 'num_pointz', 'num_points'),
    ],
)
def test_options_of_models(slot, place, option, nearest):
    with pytest.raises(ValueError, match=f'{place}: unknown option {option}=1; did you mean {nearest}'):
        model(slot, place, {option: 1})


def test_options_of_the_fusion_head():
    with pytest.raises(ValueError, match='unknown option instances_on=True; did you mean instance_on'):
        MODELS.build(dict(type='m2f_mm.MaskFormerFusionHead', test_cfg=dict(instances_on=True, obj_mask_thr=0.1)))


def count_readings(monkeypatch):
    """A list that grows by one where a ``test_cfg`` is read."""
    readings = []
    translate = inference_options.translate
    monkeypatch.setattr(
        inference_options, 'translate', lambda where, *rest: readings.append(where) or translate(where, *rest)
    )
    return readings


@pytest.mark.parametrize('kind', ['detector', 'segmentor', 'stock segmentor'])
def test_test_cfg_is_read_once(kind, monkeypatch):
    """Not with every image or crop."""
    slide = dict(mode='slide', crop_size=(64, 64), stride=(32, 32))
    if kind == 'stock segmentor':
        config = mmseg_config()
        config.decode_head.type, config.test_cfg = 'm2f_mm.Mask2FormerSegHead', slide
        network = build_segmentor(config)
    else:
        network = model(kind, 'test_cfg', slide if kind == 'segmentor' else dict(instance_on=True))
    network.eval()
    readings = count_readings(monkeypatch)
    data = detection_batch() if kind == 'detector' else semantic_batch()
    with torch.no_grad():
        for _ in range(2):
            network.test_step(data)
    assert len(readings) == ('segmentor' in kind)  # which tells its head in the first prediction


def test_test_cfg_may_be_assigned():
    detector = model('detector', 'test_cfg', dict(panoptic_on=True)).eval()
    fusion_head = detector.panoptic_fusion_head
    assert fusion_head.test_cfg.max_per_image == 100
    fusion_head.test_cfg = dict(panoptic_on=False, instance_on=True)
    fusion_head.test_cfg.max_per_image = 7
    with torch.no_grad():
        sample = detector.test_step(detection_batch())[0]
    assert 'pred_panoptic_seg' not in sample and len(sample.pred_instances) <= 7
    with pytest.raises(ValueError, match='unknown option instances_on=True; did you mean instance_on'):
        fusion_head.test_cfg = dict(instances_on=True)
    segmentor = model('segmentor', 'test_cfg', dict(mode='whole'))
    segmentor.test_cfg = dict(mode='slide', crop_size=(64, 64), stride=(64, 64))
    with pytest.raises(ValueError, match="mode='slide' needs crop_size"):
        segmentor.test_cfg = dict(mode='slide')
    assert segmentor.test_cfg.crop_size == (64, 64)


def test_old_name_of_mask_quality_in_score():
    deprecation._warned.clear()
    with pytest.warns(FutureWarning, match='rate_masks is deprecated .* use mask_quality_in_score'):
        assert not read_test_cfg(dict(rate_masks=False), DETECTOR_OPTIONS).mask_quality_in_score


def test_values_are_checked_under_old_names_too():
    with pytest.raises(ValueError, match="rate_masks='no': must be True or False"):
        read_test_cfg(dict(rate_masks='no'), DETECTOR_OPTIONS)


def test_defaults_of_stock_layers_need_the_stock_layers():
    """mmcv's 1024 hidden channels where a config has ``layer_cfg``; the method's own 2048 elsewhere."""
    short = head('MaskDINOHead', pixel_decoder=dict(encoder=dict(num_layers=1)))
    said = head('MaskDINOHead', pixel_decoder=dict(encoder=dict(num_layers=1), feedforward_channels=96))
    layers = dict(self_attn_cfg=dict(num_levels=3), ffn_cfg=dict())
    stock = head('MaskDINOHead', pixel_decoder=dict(encoder=dict(num_layers=1, layer_cfg=layers)))
    for built, channels in ((short, 2048), (said, 96), (stock, 1024)):
        assert built.pixel_decoder.encoder.layers[0].ffn.layers[0][0].out_features == channels


@pytest.mark.parametrize('name', ['Mask2FormerHead', 'MaskFormerHead', 'MaskDINOHead', 'Mask2FormerSegHead'])
def test_options_that_say_what_is_so_anyway(name):
    """As configs have them that are written for several heads."""
    built = head(name, num_transformer_feat_level=None, loss_bbox=None, loss_iou=None)
    assert built.criterion.loss_weights.keys() == head(name).criterion.loss_weights.keys()
    if name != 'MaskDINOHead':
        with pytest.raises(ValueError, match='loss_iou=.* is not supported, only None'):
            head(name, loss_iou=dict(loss_weight=1.0))


@pytest.mark.parametrize('name', ['Mask2FormerHead', 'MaskDINOHead', 'Mask2FormerTrackHead', 'Mask2FormerSegHead'])
def test_options_of_the_criterion(name):
    with pytest.raises(ValueError, match='criterion: unknown option denoise_mask=True; did you mean denoise_masks'):
        head(name, criterion=dict(denoise_mask=True))
    with pytest.raises(ValueError, match='criterion: box_classes=-1: must be a whole number'):
        head(name, criterion=dict(box_classes=-1))


def test_contradictions_are_named():
    with pytest.raises(ValueError, match='self_attn_cfg: num_heads=4, but .*cross_attn_cfg: num_heads=8'):
        attention = dict(self_attn_cfg=dict(num_heads=4), cross_attn_cfg=dict(num_heads=8))
        head('Mask2FormerHead', transformer_decoder=dict(layer_cfg=attention))


@pytest.mark.parametrize(
    'name, options, message',
    [
        ('Mask2FormerTrackHead', dict(test_cfg=dict(association='frames', window_overlap=2)), 'window_overlap=2'),
        ('Mask2FormerHead', dict(test_cfg=dict(temperature=0.1)), 'temperature=0.1'),
        ('MaskDINOHead', dict(test_cfg=dict(temperature=None), loss_cls=SOFTMAX), 'temperature=None'),
        ('MaskFormerSegHead', dict(temperature=0.1), 'temperature=0.1'),
        ('MaskDINOSegHead', dict(temperature=0.1, loss_cls=SOFTMAX), 'temperature=0.1'),
        ('MaskDINOHead', dict(BOXES, loss_mask=dict(loss_weight=1.0)), 'loss_mask.loss_weight=1.0'),
        ('MaskDINOHead', dict(BOXES, loss_mask=dict(type='FocalLoss')), "loss_mask.type='FocalLoss'"),
        ('MaskDINOHead', dict(BOXES, loss_dice=dict(loss_weight=1.0)), 'loss_dice.loss_weight=1.0'),
    ],
)
def test_options_without_effect(name, options, message):
    with pytest.raises(ValueError, match=f'{message} has no effect with'):
        head(name, **options)


@pytest.mark.parametrize(
    'name, options',
    [
        ('Mask2FormerTrackHead', dict(test_cfg=dict(association='frames', window_overlap=0))),
        ('Mask2FormerHead', dict(test_cfg=dict(temperature=0.06))),
        ('MaskDINOHead', dict(test_cfg=dict(temperature=0.1))),
        ('MaskDINOSegHead', dict(temperature=None)),
        ('MaskFormerSegHead', dict(temperature=0.06)),
        ('MaskDINOHead', dict(BOXES, loss_mask=dict(type='CrossEntropyLoss', loss_weight=5.0), loss_dice=dict())),
    ],
)
def test_options_with_effect_and_defaults_without(name, options):
    head(name, **options)


@pytest.mark.parametrize('kind', HEADS, ids=NAMES)
def test_signature_and_help(kind):
    """``help`` and ``inspect.signature`` of every head list each option, its default and its meaning."""
    name = kind.__name__.removesuffix('Options')
    head_class = getattr(integrations, name)
    parameters = inspect.signature(head_class).parameters
    assert parameters.keys() == {option.name for option in fields(kind)}
    for option in fields(kind):
        assert parameters[option.name].default == option.default
        assert f'{option.name}: ' in head_class.__doc__ and option.metadata['meaning']


def test_signature_of_a_subclass():
    """With a constructor of its own it has its own; otherwise that of the head."""

    class Plain(integrations.Mask2FormerHead):
        pass

    class Own(integrations.Mask2FormerHead):
        def __init__(self, number, **options):
            super().__init__(**options)

    assert list(inspect.signature(Own).parameters) == ['number', 'options']
    assert inspect.signature(Plain) == inspect.signature(integrations.Mask2FormerHead)
    text = pydoc.plain(pydoc.render_doc(integrations.Mask2FormerHead))
    assert all(f'{option.name}: ' in text for option in fields(HEADS[0]))


def test_page_of_options():
    page = write_options.PAGE.read_text(encoding='utf-8')
    assert page == write_options.options_page(), 'run python tools/write_options.py'
