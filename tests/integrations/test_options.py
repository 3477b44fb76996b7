"""Options: the stock ones mean what they meant, those that would be ignored are refused by name."""

import pytest
import torch
from mmengine.config import Config

from m2f_mm import config_path, deprecation
from m2f_mm.criterion.costs import focal_cost
from m2f_mm.criterion.losses import focal_loss
from m2f_mm.datasets.head_classes import class_counts
from m2f_mm.models import (
    FPNPixelDecoder,
    MaskFormerTransformerDecoder,
    MSDeformAttnPixelDecoder,
    NeckPixelDecoder,
)
from m2f_mm.registry import MODELS
from m2f_mm.structures import SegTargets
from tests.helpers.tiny_models import (
    CHANNELS,
    MASK_WIDTH,
    STUFF,
    THINGS,
    WIDTH,
    build_detector,
    build_segmentor,
    clip_batch,
    detection_batch,
    gradients,
    maskformer_config,
    mmdet_config,
    mmseg_config,
    step,
    use_our_heads,
    use_our_track_head,
    video_config,
)

pytest.importorskip('mmdet')
ENCODER = 'pixel_decoder.encoder.layer_cfg'
DECODER = 'transformer_decoder.layer_cfg'


def head_config(option=None, value=None, train_cfg=True):
    """The thin stock options under our type, one of them changed; ``train_cfg.`` reaches into that."""
    model = use_our_heads(mmdet_config())
    head = model.panoptic_head
    head.train_cfg = model.train_cfg
    if option is not None:
        *path, name = option.split('.')
        owner = head
        for part in path:
            owner = owner[int(part) if part.isdigit() else part]
        owner[int(name) if name.isdigit() else name] = value
    return head


@pytest.mark.parametrize(
    'option, value, message',
    [
        ('pixel_decoder.act_cfg', dict(type='GELU'), "pixel_decoder.act_cfg: type='GELU'"),
        ('pixel_decoder.encoder.num_cp', 2, 'pixel_decoder.encoder: num_cp=2'),
        (f'{ENCODER}.norm_cfg', dict(type='BN'), f"{ENCODER}.norm_cfg: type='BN'"),
        (f'{ENCODER}.self_attn_cfg.dropout', 0.1, f'{ENCODER}.self_attn_cfg: dropout=0.1'),
        (f'{ENCODER}.self_attn_cfg.batch_first', False, f'{ENCODER}.self_attn_cfg: batch_first=False'),
        (f'{ENCODER}.ffn_cfg.num_fcs', 3, f'{ENCODER}.ffn_cfg: num_fcs=3'),
        (f'{ENCODER}.ffn_cfg.ffn_drop', 0.1, f'{ENCODER}.ffn_cfg: ffn_drop=0.1'),
        ('transformer_decoder.return_intermediate', False, 'transformer_decoder: return_intermediate=False'),
        ('transformer_decoder.post_norm_cfg', dict(type='BN'), "transformer_decoder.post_norm_cfg: type='BN'"),
        (f'{DECODER}.cross_attn_cfg.attn_drop', 0.1, f'{DECODER}.cross_attn_cfg: attn_drop=0.1'),
        (f'{DECODER}.self_attn_cfg.proj_drop', 0.1, f'{DECODER}.self_attn_cfg: proj_drop=0.1'),
        (f'{DECODER}.self_attn_cfg.num_heads', 8, f'{DECODER}.self_attn_cfg: num_heads=8'),
        (f'{DECODER}.ffn_cfg.act_cfg', dict(type='GELU'), f"{DECODER}.ffn_cfg.act_cfg: type='GELU'"),
        ('loss_cls.use_sigmoid', True, 'loss_cls: use_sigmoid=True'),
        ('loss_cls.reduction', 'sum', "loss_cls: reduction='sum'"),
        ('loss_cls.type', 'FocalLoss', "loss_cls: type='FocalLoss'"),
        ('loss_mask.type', 'DiceLoss', "loss_mask: type='DiceLoss'"),
        ('loss_mask', dict(type='FocalLoss', gamma=1.0), 'loss_mask: gamma=1.0'),
        ('loss_dice.naive_dice', False, 'loss_dice: naive_dice=False'),
        ('loss_dice.eps', 1e-3, 'loss_dice: eps=0.001'),
        ('train_cfg.assigner.match_costs.2.eps', 1e-3, 'train_cfg.assigner DiceCost: eps=0.001'),
        ('train_cfg.assigner.match_costs.0.type', 'BBoxL1Cost', 'the cost BBoxL1Cost is not one of'),
        ('train_cfg.assigner.match_costs.0.type', 'FocalLossCost', 'FocalLossCost without binary_input=True'),
        (
            'train_cfg.assigner.match_costs.0',
            dict(type='FocalLossCost', binary_input=True),
            'FocalLossCost with binary_input=True and CrossEntropyLossCost are two costs of the same kind',
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and '.' in value and ':' not in value else '',
)
def test_what_would_be_ignored_is_refused(option, value, message):
    with pytest.raises(ValueError) as error:
        MODELS.build(head_config(option, value))
    assert message in str(error.value)


@pytest.mark.parametrize(
    'option, value, message',
    [
        ('positional_encoding.normalize', False, 'panoptic_head.positional_encoding: normalize=False'),
        ('pixel_decoder.positional_encoding.temperature', 20, 'pixel_decoder.positional_encoding: temperature=20'),
        ('train_cfg.assigner', dict(type='HungarianAssigner'), 'no match_costs'),
        ('train_cfg.assigner.type', 'MaxIoUAssigner', 'MaxIoUAssigner'),
        ('train_cfg.sampler', dict(type='RandomSampler'), 'RandomSampler'),
    ],
)
def test_what_cannot_be_followed_is_refused(option, value, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(head_config(option, value))


def test_another_decoder_is_looked_up():
    with pytest.raises(KeyError, match='NoSuchDecoder'):
        MODELS.build(head_config('transformer_decoder', dict(type='m2f_mm.NoSuchDecoder')))


def test_levels_must_agree():
    """Fewer memories than the decoder attends to: a message, not a silent third of the work."""
    head = MODELS.build(head_config('pixel_decoder.num_outs', 2))
    with pytest.raises(ValueError, match='gives 2 memories, but the transformer decoder attends to 3'):
        head([torch.rand(1, channels, 32 // 2**i, 32 // 2**i) for i, channels in enumerate(CHANNELS)])


def test_classes_from_a_file(tmp_path):
    (tmp_path / 'names.txt').write_text('cat\ndog\n')
    assert len(class_counts('head', dict(classes=str(tmp_path / 'names.txt'))).is_thing) == 2


def maskformer_head(option=None, value=None):
    """The thin options of the stock MaskFormer head under our type, one of them changed; with 0.1 of dropout."""
    model = use_our_heads(maskformer_config())
    head = model.panoptic_head
    head.train_cfg = model.train_cfg
    for layers in (head.pixel_decoder.encoder, head.transformer_decoder):
        for part, options in layers.layer_cfg.items():
            options['ffn_drop' if part == 'ffn_cfg' else 'dropout'] = 0.1
    if option is not None:
        *path, name = option.split('.')
        owner = head
        for part in path:
            owner = owner[part]
        owner[name] = value
    return head


def test_stock_dropout_reaches_every_part():
    head = MODELS.build(maskformer_head())
    layers = [*head.pixel_decoder.encoder.layers, *head.transformer_decoder.layers]
    assert len(layers) == 6
    for layer in layers:
        assert [module.p for module in layer.ffn.modules() if isinstance(module, torch.nn.Dropout)] == [0.1, 0.1]
        attentions = [layer.self_attn, *([layer.cross_attn] if hasattr(layer, 'cross_attn') else [])]
        assert all(attention.dropout == 0.1 for attention in attentions)


@pytest.mark.parametrize(
    'option, value, message',
    [
        (f'{DECODER}.ffn_cfg.ffn_drop', 0.2, f'{DECODER}.ffn_cfg: ffn_drop=0.2; these must be the same'),
        (
            f'{DECODER}.self_attn_cfg',
            dict(num_heads=4, attn_drop=0.1),
            f'{DECODER}.self_attn_cfg: proj_drop=0.0; these must be the same',
        ),
        (f'{ENCODER}.self_attn_cfg.embed_dims', 32, f'{ENCODER}.self_attn_cfg: embed_dims=32, but'),
        ('pixel_decoder.encoder.num_cp', 1, 'pixel_decoder.encoder: num_cp=1'),
        ('pixel_decoder.act_cfg', dict(type='GELU'), "pixel_decoder.act_cfg: type='GELU'"),
        ('pixel_decoder.memory', 'all', "memory must be one of pyramid, coarsest, mask_features, got 'all'"),
        ('loss_mask.alpha', 0.5, 'loss_mask: alpha=0.5'),
        ('train_cfg.oversample_ratio', 3.0, 'with num_points=None masks are compared at every pixel'),
        ('num_transformer_feat_level', 3, 'MaskFormerTransformerDecoder attends to one memory, got 3'),
    ],
    ids=lambda value: value if isinstance(value, str) and '.' in value and ':' not in value else '',
)
def test_what_maskformer_cannot_do_is_refused(option, value, message):
    with pytest.raises(ValueError) as error:
        MODELS.build(maskformer_head(option, value))
    assert message in str(error.value)


@pytest.mark.parametrize(
    'kind, options',
    [
        ('Mask2FormerHead', dict(enforce_decoder_input_project=True)),
        ('MaskFormerHead', {}),
        (
            'MaskFormerHead',
            dict(
                pixel_decoder=dict(type='TransformerEncoderPixelDecoder', num_layers=1),
                enforce_decoder_input_project=True,
            ),
        ),
        ('MaskFormerHead', dict(pixel_decoder=dict(type='mmdet.FPN'), enforce_decoder_input_project=True)),
        ('MaskDINOHead', {}),
        ('PerPixelSegHead', {}),
        ('PerPixelPlusSegHead', {}),
    ],
)
def test_weights_of_an_init_cfg_stay(kind, options, tmp_path):
    """Nothing that a head initialises by itself is left of, once it was told to load a file."""
    if 'Seg' in kind:
        pytest.importorskip('mmseg')
    classes = dict(num_classes=4) if 'Seg' in kind else dict(num_things_classes=4)
    cfg = dict(type=f'm2f_mm.{kind}', in_channels=CHANNELS, feat_channels=32, out_channels=32, **classes, **options)
    if 'PerPixelSeg' not in kind:
        cfg['transformer_decoder'] = dict(num_layers=1, embed_dims=32, feedforward_channels=16)
    state = {name: torch.full_like(value, 0.125) for name, value in MODELS.build(dict(cfg)).state_dict().items()}
    torch.save(state, tmp_path / 'head.pth')
    head = MODELS.build(dict(cfg, init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'head.pth'))))
    head.init_weights()
    assert all((value == 0.125).all() for value in head.state_dict().values())


def test_methods_have_their_own_defaults():
    """What a head takes where nothing is said: the values of the papers."""
    maskformer, mask2former = (
        MODELS.build(dict(type=f'm2f_mm.{name}Head', num_things_classes=2)) for name in ('MaskFormer', 'Mask2Former')
    )
    assert type(maskformer.pixel_decoder) is FPNPixelDecoder and maskformer.pixel_decoder.memory == 'coarsest'
    assert type(maskformer.transformer_decoder) is MaskFormerTransformerDecoder
    assert maskformer.transformer_decoder.num_layers == 6 and maskformer.transformer_decoder.layers[0].ffn.layers[2].p
    for head, weights, points in ((maskformer, (1.0, 20.0, 1.0), None), (mask2former, (2.0, 5.0, 5.0), 12544)):
        criterion, assigner = head.criterion, head.criterion.assigner
        assert tuple(criterion.loss_weights.values()) == weights
        assert (assigner.class_weight, assigner.mask_weight, assigner.dice_weight) == weights
        assert criterion.mask_terms.num_points == assigner.num_points == points
    assert (
        maskformer.criterion.mask_terms.mask_loss is focal_loss
        and maskformer.criterion.assigner.mask_cost is focal_cost
    )


@pytest.mark.parametrize(
    'decoder, pixel_decoder',
    [
        ('MaskFormer', 'MSDeformAttnPixelDecoder'),
        ('MaskFormer', 'mmdet.FPN'),
        ('MaskFormer', 'FPNPixelDecoder'),
        ('Mask2Former', 'TransformerEncoderPixelDecoder'),
        ('Mask2Former', 'FPNPixelDecoder'),
    ],
)
def test_tables_are_separate(decoder, pixel_decoder):
    """Any pixel decoder under any transformer decoder, and either criterion with both."""
    for points in (None, 20):
        head = MODELS.build(
            dict(
                type=f'm2f_mm.{decoder}Head',
                in_channels=CHANNELS,
                feat_channels=WIDTH,
                out_channels=MASK_WIDTH,
                num_things_classes=THINGS,
                num_stuff_classes=STUFF,
                num_queries=6,
                pixel_decoder=dict(type=pixel_decoder, **({} if 'FPN' in pixel_decoder else dict(num_layers=1))),
                transformer_decoder=dict(num_layers=2, embed_dims=WIDTH, feedforward_channels=16),
                train_cfg=dict(num_points=points),
            )
        )
        feats = [torch.rand(1, channels, 32 // 2**i, 32 // 2**i) for i, channels in enumerate(CHANNELS)]
        targets = [SegTargets(torch.tensor([0, 1]), torch.rand(2, 128, 128) < 0.3)]
        losses = head.criterion(head.train()(feats), targets)
        sum(losses.values()).backward()
        unused = {name for name, parameter in head.named_parameters() if parameter.grad is None}
        # Outputs of the neck between the mask features and the one memory.
        between = [f'pixel_decoder.neck.fpn_convs.{i}.conv.{name}' for i in (1, 2) for name in ('weight', 'bias')]
        assert unused == set(between if pixel_decoder == 'mmdet.FPN' else ())


@pytest.mark.parametrize(
    'option, nearest',
    [
        ('num_querys', 'num_queries'),
        ('pixel_decoder.num_outz', 'num_outs'),
        ('pixel_decoder.encoder.num_layer', 'num_layers'),
        (f'{ENCODER}.self_attn_cfg.num_point', 'num_points'),
        (f'{ENCODER}.ffn_cfg.feedforward_channel', 'feedforward_channels'),
        ('transformer_decoder.num_layer', 'num_layers'),
        (f'{DECODER}.ffn_cfg.feedforward_channel', 'feedforward_channels'),
        ('loss_cls.loss_weigth', 'loss_weight'),
        ('train_cfg.num_point', 'num_points'),
        ('train_cfg.assigner.match_cost', 'match_costs'),
        ('train_cfg.assigner.match_costs.0.wieght', 'weight'),
        ('train_cfg.sampler.typ', 'type'),
        ('positional_encoding.num_feat', 'num_feats'),
    ],
)
def test_misspelt_options_are_refused(option, nearest):
    key = option.split('.')[-1]
    with pytest.raises(ValueError, match=f'unknown option {key}=1; did you mean {nearest}'):
        MODELS.build(head_config(option, 1))


def test_options_reach_their_places():
    """Numbers that differ from every default, set once under the stock names and once under ours."""
    stock = head_config('pixel_decoder.encoder.layer_cfg.self_attn_cfg.num_points', 2)
    stock.pixel_decoder.encoder.layer_cfg.ffn_cfg.feedforward_channels = 40
    stock.transformer_decoder.layer_cfg.ffn_cfg.feedforward_channels = 56
    stock.loss_cls.loss_weight, stock.loss_mask.loss_weight, stock.loss_dice.loss_weight = 3.0, 6.0, 7.0
    for cost, weight in zip(stock.train_cfg.assigner.match_costs, (1.5, 2.5, 3.5)):
        cost.weight = weight
    stock.train_cfg.update(num_points=77, oversample_ratio=2.0, importance_sample_ratio=0.5)
    ours = dict(
        type='m2f_mm.Mask2FormerHead',
        in_channels=CHANNELS,
        feat_channels=WIDTH,
        out_channels=MASK_WIDTH,
        num_things_classes=THINGS,
        num_stuff_classes=STUFF,
        num_queries=20,
        pixel_decoder=dict(
            type='MSDeformAttnPixelDecoder', num_layers=1, num_heads=4, num_points=2, feedforward_channels=40
        ),
        transformer_decoder=dict(num_layers=4, embed_dims=WIDTH, num_heads=4, feedforward_channels=56),
        loss_cls=dict(loss_weight=3.0),
        loss_mask=dict(loss_weight=6.0),
        loss_dice=dict(loss_weight=7.0),
        train_cfg=dict(
            num_points=77, oversample_ratio=2.0, importance_sample_ratio=0.5, assigner=stock.train_cfg.assigner
        ),
    )
    for head in (MODELS.build(stock), MODELS.build(ours)):
        criterion = head.criterion
        assert criterion.loss_weights == dict(loss_cls=3.0, loss_mask=6.0, loss_dice=7.0)
        assert criterion.class_weight.tolist() == pytest.approx([1.0] * 8 + [0.1])
        masks = criterion.mask_terms
        assert (masks.num_points, masks.oversample_ratio, masks.importance_ratio) == (77, 2.0, 0.5)
        assigner = criterion.assigner
        assert (assigner.class_weight, assigner.mask_weight, assigner.dice_weight) == (1.5, 2.5, 3.5)
        assert assigner.num_points == 77
        attention = head.pixel_decoder.encoder.layers[0].self_attn
        assert (attention.num_heads, attention.num_levels, attention.num_points) == (4, 3, 2)
        assert head.pixel_decoder.encoder.layers[0].ffn.feedforward_channels == 40
        assert head.transformer_decoder.layers[0].ffn.feedforward_channels == 56
        assert len(head.transformer_decoder.layers) == 4
    assert {key: value.shape for key, value in MODELS.build(stock).state_dict().items()} == {
        key: value.shape for key, value in MODELS.build(ours).state_dict().items()
    }


@pytest.mark.parametrize('short', [False, True], ids=['stock options', 'short ones'])
def test_how_to_compute_reaches_the_parts(short):
    cfg = head_config('activation_checkpointing', 'ffn')
    if short:
        cfg.pixel_decoder = dict(type='m2f_mm.MSDeformAttnPixelDecoder', num_heads=4, num_layers=1)
    cfg.pixel_decoder.deform_attn_backend = 'pytorch'
    head = MODELS.build(cfg)
    layer = head.pixel_decoder.encoder.layers[0]
    assert (layer.activation_checkpointing, layer.self_attn.backend) == ('ffn', 'pytorch')
    assert head.pixel_decoder.activation_checkpointing == head.transformer_decoder.activation_checkpointing == 'ffn'
    with pytest.raises(ValueError, match="activation_checkpointing must be one of .*'everything'"):
        MODELS.build(head_config('activation_checkpointing', 'everything'))


def test_costs_follow_the_losses():
    """An assigner that is not given weighs like the losses."""
    head = head_config('loss_mask.loss_weight', 9.0)
    del head.train_cfg['assigner']
    assigner = MODELS.build(head).criterion.assigner
    assert (assigner.class_weight, assigner.mask_weight, assigner.dice_weight) == (2.0, 9.0, 5.0)


def test_class_weight_needs_a_number_for_each_class():
    with pytest.raises(ValueError, match='class_weight has 134 numbers, but the head has 8 classes'):
        MODELS.build(head_config('loss_cls.class_weight', [1.0] * 133 + [0.1]))


METAINFO = dict(classes=('a', 'b', 'c'), thing_classes=('a', 'b'), stuff_classes=('c',))


@pytest.mark.parametrize(
    'options, expected',
    [
        (dict(num_things=2, num_stuff=1), (2, 1)),
        (dict(num_things=2), (2, 0)),
        (dict(num_classes=3), (0, 3)),
        (dict(metainfo=METAINFO), (2, 1)),
        (dict(metainfo={key.upper(): value for key, value in METAINFO.items()}), (2, 1)),
        (dict(metainfo=dict(thing_classes=('a', 'b'), stuff_classes=('c',))), (2, 1)),
        (dict(metainfo=dict(classes=('a', 'b', 'c'))), (3, 0)),
        (dict(metainfo=METAINFO, num_things=2, num_stuff=1), (2, 1)),
        (dict(metainfo=METAINFO, num_classes=3), (2, 1)),
        (dict(metainfo='mmdet.CocoPanopticDataset'), (80, 53)),
        (dict(metainfo='mmdet.CocoDataset'), (80, 0)),
    ],
    ids=str,
)
def test_classes_are_counted_once(options, expected):
    counts = class_counts('panoptic_head', **options)
    assert (counts.things, counts.stuff) == expected
    assert counts.is_thing == [True] * expected[0] + [False] * expected[1]


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(), 'panoptic_head does not know its classes'),
        (dict(metainfo=METAINFO, num_things=3, num_stuff=1), 'lists 2 thing classes among 3'),
        (dict(metainfo=METAINFO, num_things=1, num_stuff=2), 'the numbers say 1 things and 2 other'),
        (dict(metainfo=METAINFO, num_classes=150), 'say 0 things and 150 other classes'),
        (dict(metainfo=dict(palette=[])), 'metainfo has neither classes nor thing_classes'),
        (dict(metainfo='mmdet.NoSuchDataset'), "metainfo='mmdet.NoSuchDataset' names no registered data set"),
    ],
    ids=str,
)
def test_disagreeing_counts_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        class_counts('panoptic_head', **options)


def test_heads_read_the_metainfo():
    pytest.importorskip('mmseg')
    model = use_our_heads(mmdet_config())
    for head in (model.panoptic_head, model.panoptic_fusion_head):
        del head['num_things_classes'], head['num_stuff_classes']
        head.metainfo = METAINFO
    del model.panoptic_head.loss_cls['class_weight']
    detector = build_detector(model)
    assert (detector.num_things_classes, detector.num_stuff_classes, detector.num_classes) == (2, 1, 3)
    assert detector.panoptic_fusion_head.is_thing == [True, True, False]
    model = mmseg_config()
    del model.decode_head['num_classes'], model.decode_head.loss_cls['class_weight']
    model.decode_head.update(type='m2f_mm.Mask2FormerSegHead', metainfo=METAINFO)
    assert build_segmentor(model).num_classes == 3


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(align_corners=True), 'align_corners=True is not supported'),
        (dict(no_such_option=1), 'no_such_option'),
    ],
)
def test_segmentation_head_refuses(change, message):
    pytest.importorskip('mmseg')
    head = mmseg_config().decode_head
    head.update(type='m2f_mm.Mask2FormerSegHead', **change)
    with pytest.raises((ValueError, TypeError), match=message):
        MODELS.build(head)


def test_fusion_head_refuses_a_loss():
    with pytest.raises(ValueError, match='loss_panoptic'):
        MODELS.build(
            dict(type='m2f_mm.MaskFormerFusionHead', num_things_classes=1, loss_panoptic=dict(type='CrossEntropyLoss'))
        )


@pytest.mark.parametrize(
    'pixel_decoder, kind',
    [
        (dict(type='mmdet.FPN'), NeckPixelDecoder),
        (dict(type='mmdet.PAFPN'), NeckPixelDecoder),
        (dict(type='mmdet.FPN', norm_cfg=dict(type='GN', num_groups=8)), NeckPixelDecoder),
        (dict(type='m2f_mm.FPNPixelDecoder'), FPNPixelDecoder),
        (
            dict(type='PixelDecoder', norm_cfg=dict(type='GN', num_groups=32), act_cfg=dict(type='ReLU')),
            FPNPixelDecoder,
        ),
        (dict(type='m2f_mm.MSDeformAttnPixelDecoder', num_layers=1), MSDeformAttnPixelDecoder),
        (dict(type='m2f_mm.MSDeformAttnPixelDecoder', num_layers=1, num_encoder_levels=4), MSDeformAttnPixelDecoder),
        (None, MSDeformAttnPixelDecoder),
    ],
    ids=['FPN', 'PAFPN', 'FPN with norm', 'ours', 'stock name', 'deformable', 'four levels', 'default'],
)
def test_pixel_decoders_train(pixel_decoder, kind):
    """Any registered neck can take the place of the pixel decoder."""
    cfg = use_our_heads(mmdet_config())
    cfg.panoptic_head.pixel_decoder = pixel_decoder
    detector = build_detector(cfg).train()
    assert type(detector.panoptic_head.pixel_decoder) is kind
    losses = step(detector, detection_batch())
    assert all(loss.isfinite() for loss in losses.values())
    for name, gradient in gradients(detector).items():
        assert gradient is not None and gradient.isfinite().all(), name


def test_neck_with_too_few_maps_is_refused():
    decoder = NeckPixelDecoder(torch.nn.Identity(), in_channels=[8, 8], feat_channels=8, num_outs=3)
    with pytest.raises(ValueError, match='Identity returned 2 maps; 3 memories and the mask features need 4'):
        decoder([torch.zeros(1, 8, 8, 8), torch.zeros(1, 8, 4, 4)])


def test_own_classes_as_the_readme_says():
    """In one of our recipes, whose head names a data set, and in a stock config, which has numbers."""
    metainfo = dict(thing_classes=('date', 'fig'), stuff_classes=('table',), classes=('date', 'fig', 'table'))
    ours = Config.fromfile(config_path('mask2former_r50_8xb2-lsj-50e_coco-panoptic'))
    ours.merge_from_dict(dict(model=dict(panoptic_head=dict(metainfo=dict(_delete_=True, **metainfo)))))
    stock = use_our_heads(mmdet_config())
    none = dict(num_things_classes=None, num_stuff_classes=None)
    stock.panoptic_head.update(none, metainfo=metainfo)
    stock.panoptic_head.loss_cls.class_weight = None
    for cfg in (ours.model, stock):
        cfg.backbone.init_cfg = None
        head = MODELS.build(dict(cfg.panoptic_head, train_cfg=cfg.train_cfg, test_cfg=cfg.test_cfg))
        assert head.is_thing == [True, True, False] and head.cls_embed.out_features == 4
        assert head.criterion.class_weight.tolist() == pytest.approx([1, 1, 1, 0.1])


def built(where, **test_cfg):
    """The model of a stock config with our types, ours or MMDetection's detector, with a ``test_cfg`` for the model or
    one of its heads."""
    if where == 'segmentor':
        model = mmseg_config()
        model.update(type='m2f_mm.MaskSegmentor', test_cfg=test_cfg)
        model.decode_head.type = 'm2f_mm.Mask2FormerSegHead'
        return build_segmentor(model)
    if where == 'video':
        model = use_our_track_head(video_config())
        model.test_cfg = test_cfg
        return build_detector(model)
    model = use_our_heads(mmdet_config())
    if where != 'stock detector':
        model.type = 'm2f_mm.Mask2Former'
    if where.endswith('detector'):
        model.test_cfg = test_cfg
    else:
        del model['test_cfg']
        model[where].test_cfg = test_cfg
    return build_detector(model)


@pytest.mark.parametrize('where', ['detector', 'stock detector', 'panoptic_head', 'panoptic_fusion_head'])
def test_test_cfg_may_stand_anywhere(where):
    with pytest.raises(ValueError, match='test_cfg: unknown option max_per_img=3; did you mean max_per_image?'):
        built(where, max_per_img=3)


@pytest.mark.parametrize(
    'option, value, message',
    [
        ('max_per_img', 3, 'unknown option max_per_img=3; did you mean max_per_image?'),
        ('object_mask_threshold', 0, 'unknown option object_mask_threshold=0; did you mean object_mask_thr?'),
        ('score_threshold', 0.9, 'unknown option score_threshold=0.9; did you mean score_thr?'),
        ('nms', dict(type='nms'), 'known are panoptic_on, instance_on, semantic_on'),
        ('max_per_image', 0, 'max_per_image=0: must be a whole number from 1'),
        ('iou_thr', 80, 'iou_thr=80: must be a number in 0..1'),
        ('instance_on', 'yes', "instance_on='yes': must be True or False"),
        ('temperature', 0, 'temperature=0: must be a number above 0 or None'),
    ],
)
def test_test_cfg_is_checked_at_build(option, value, message):
    with pytest.raises(ValueError) as error:
        built('stock detector', **{option: value})
    assert message in str(error.value)


@pytest.mark.parametrize(
    'where, options, message',
    [
        ('video', dict(max_per_image=3), 'unknown option max_per_image=3; did you mean max_per_video?'),
        ('video', dict(window=3), 'unknown option window=3; did you mean window_size?'),
        ('video', dict(instance_masks=None), "instance_masks=None: must be 'bitmap' or 'rle'"),
        ('video', dict(window_size=3, window_overlap=3), 'windows of window_size=3 frames cannot share 3'),
        ('segmentor', dict(mod='slide'), "unknown option mod='slide'; did you mean mode?"),
        ('segmentor', dict(mode='slides'), "mode='slides': must be 'whole' or 'slide'"),
        ('segmentor', dict(mode='slide', crop_size=(8, 8)), "mode='slide' needs stride=(height, width)"),
        ('segmentor', dict(mode='slide', crop_size=(8, 8), stride=(8, 9)), 'leaves gaps between crops'),
        ('segmentor', dict(mode='slide', crop_size=8, stride=(8, 9)), 'crop_size=8: must be two whole numbers'),
    ],
)
def test_test_cfg_of_videos_and_segmentors(where, options, message):
    pytest.importorskip('mmseg')
    with pytest.raises(ValueError) as error:
        built(where, **options)
    assert message in str(error.value)


def test_train_cfg_of_a_segmentor_and_a_head():
    pytest.importorskip('mmseg')
    model = mmseg_config()
    model.update(type='m2f_mm.MaskSegmentor', train_cfg=dict(num_points=9))
    model.decode_head.type = 'm2f_mm.Mask2FormerSegHead'
    with pytest.raises(ValueError, match='num_points=9; known are decode_head.train_cfg'):
        build_segmentor(model)
    with pytest.raises(ValueError, match='train_cfg: unknown option num_point=9; did you mean num_points?'):
        MODELS.build(head_config('train_cfg.num_point', 9))


def test_options_in_two_places():
    """The model's and its head's are joined; different values for one option are not."""
    model = use_our_heads(mmdet_config())
    model.type = 'm2f_mm.Mask2Former'
    model.panoptic_fusion_head.test_cfg = dict(score_thr=0.25)
    assert build_detector(model).panoptic_fusion_head.test_cfg.score_thr == 0.25
    model.panoptic_head.test_cfg = dict(iou_thr=0.9)
    with pytest.raises(ValueError, match='model.test_cfg has iou_thr=0.05, but panoptic_head.test_cfg has iou_thr=0.9'):
        build_detector(model)


@pytest.mark.parametrize('masks', ['bitmap', 'rle'])
def test_score_threshold(masks):
    """Instances below it are left out, the others stay as they are."""
    everything = built('detector', panoptic_on=False, instance_on=True, instance_masks=masks)
    bounded = built('stock detector', panoptic_on=False, instance_on=True, instance_masks=masks, score_thr=0.2)
    bounded.load_state_dict(everything.state_dict())
    with torch.no_grad():
        results = [model.eval().test_step(detection_batch())[0].pred_instances for model in (everything, bounded)]
    every, best = results
    above = every.scores >= 0.2
    assert 0 < above.sum() < len(every) and torch.equal(best.scores, every.scores[above])
    assert torch.equal(torch.as_tensor(best.masks.cpu()), torch.as_tensor(every[above].masks.cpu()))


@pytest.mark.parametrize('options', [dict(), dict(window_size=2)], ids=['clip', 'windows'])
def test_score_threshold_of_videos(options):
    model = built('video', **options)
    with torch.no_grad():
        (every,) = model.eval().test_step(clip_batch(1, 3))
        scores = every[0].pred_track_instances.scores
        model.track_head.test_cfg = dict(options, score_thr=scores.sort().values[5].item())
        (best,) = model.test_step(clip_batch(1, 3))
    assert len(scores) == 10
    for frame in best.video_data_samples:
        torch.testing.assert_close(frame.pred_track_instances.scores.sort().values, scores.sort().values[5:])
        assert len(frame.pred_track_instances.masks) == 5


@pytest.mark.parametrize('detector', ['m2f_mm.Mask2Former', 'Mask2Former'])
def test_fusion_head_takes_the_classes_of_the_head(detector):
    """As the README says: the numbers of a stock config set aside, the metainfo for the head alone."""
    model = use_our_heads(mmdet_config())
    model.type = detector
    none = dict(num_things_classes=None, num_stuff_classes=None)
    model.panoptic_head.update(none, metainfo=METAINFO)
    model.panoptic_head.loss_cls.class_weight = None
    model.panoptic_fusion_head.update(none)
    detector = build_detector(model)
    with torch.no_grad():
        results = detector.eval().test_step(detection_batch())
    fusion_head = detector.panoptic_fusion_head
    assert fusion_head.is_thing == [True, True, False] and fusion_head.with_loss is False
    assert (fusion_head.num_things_classes, fusion_head.num_stuff_classes, fusion_head.num_classes) == (2, 1, 3)
    assert {int(label) % 1000 for label in results[0].pred_panoptic_seg.sem_seg.unique()} <= {0, 1, 2, 3}


def test_fusion_head_without_classes_under_a_stock_head():
    import mmdet.models  # noqa: F401

    model = mmdet_config()
    model.panoptic_fusion_head.update(
        type='m2f_mm.MaskFormerFusionHead', num_things_classes=None, num_stuff_classes=None
    )
    detector = build_detector(model)
    with torch.no_grad(), pytest.raises(ValueError, match='panoptic_fusion_head does not know its classes'):
        detector.eval().test_step(detection_batch())


@pytest.mark.parametrize('place', ['head', 'pixel_decoder', 'transformer_decoder'])
def test_checkpointing_is_an_old_name(place):
    """``checkpointing`` is ``activation_checkpointing`` under its old name, which warns."""
    deprecation._warned.clear()
    options = dict(checkpointing='full')
    with pytest.warns(FutureWarning, match='activation_checkpointing'):
        given = options if place == 'head' else {place: options}
        head = MODELS.build(dict(type='m2f_mm.Mask2FormerHead', num_things_classes=2, **given))
    parts = ['pixel_decoder', 'transformer_decoder'] if place == 'head' else [place]
    assert all(getattr(head, part).activation_checkpointing == 'full' for part in parts)


@pytest.mark.parametrize(
    'name',
    ['MSDeformAttnPixelDecoder', 'TransformerEncoderPixelDecoder', 'Mask2FormerTransformerDecoder']
    + ['MaskFormerTransformerDecoder', 'MaskDINOTransformerDecoder'],
)
def test_checkpointing_is_an_old_name_of_constructors(name):
    deprecation._warned.clear()
    with pytest.warns(FutureWarning, match='activation_checkpointing'):
        part = MODELS.build(dict(type=f'm2f_mm.{name}', checkpointing='full'))
    assert any(getattr(module, 'activation_checkpointing', '') == 'full' for module in part.modules())
