"""The builders of recorded networks read every field: the parameters that the official code would have."""

import copy

import pytest

from tests.helpers.golden import build_criterion
from tests.helpers.official_configs import (
    MASKFORMER,
    build_backbone,
    build_head,
    build_mask_dino_head,
    build_maskformer_head,
    maskformer_pixel_decoder,
    padding_divisor,
)

FEATURES = ['res2', 'res3', 'res4', 'res5']
TEST = dict(
    SEMANTIC_ON=True,
    INSTANCE_ON=True,
    PANOPTIC_ON=False,
    OBJECT_MASK_THRESHOLD=0.3,
    OVERLAP_THRESHOLD=0.3,
    SEM_SEG_POSTPROCESSING_BEFORE_INFERENCE=False,
)
TRANSFORMER = dict(
    CLASS_WEIGHT=2.0,
    MASK_WEIGHT=5.0,
    DICE_WEIGHT=4.0,
    NO_OBJECT_WEIGHT=0.1,
    TRAIN_NUM_POINTS=10,
    OVERSAMPLE_RATIO=3.0,
    IMPORTANCE_SAMPLE_RATIO=0.75,
    DEC_LAYERS=3,
    DIM_FEEDFORWARD=48,
    HIDDEN_DIM=32,
    NHEADS=4,
    NUM_OBJECT_QUERIES=7,
    ENFORCE_INPUT_PROJ=False,
    SIZE_DIVISIBILITY=32,
    DEEP_SUPERVISION=True,
    DROPOUT=0.0,
    ENC_LAYERS=0,
    PRE_NORM=False,
    TEST=TEST,
)
HEAD = dict(
    CONVS_DIM=32,
    MASK_DIM=16,
    NUM_CLASSES=5,
    TRANSFORMER_ENC_LAYERS=1,
    NORM='GN',
    COMMON_STRIDE=4,
    IN_FEATURES=FEATURES,
    ASPP_CHANNELS=256,
    DEFORMABLE_TRANSFORMER_ENCODER_IN_FEATURES=FEATURES[1:],
    DEFORMABLE_TRANSFORMER_ENCODER_N_HEADS=8,
)
RESNETS = dict(
    DEPTH=50,
    STEM_OUT_CHANNELS=8,
    NUM_GROUPS=1,
    WIDTH_PER_GROUP=4,
    RES2_OUT_CHANNELS=16,
    STRIDE_IN_1X1=False,
    RES5_DILATION=1,
    NORM='FrozenBN',
    OUT_FEATURES=FEATURES,
    STEM_TYPE='basic',
    DEFORM_ON_PER_STAGE=[False] * 4,
)
SWIN = dict(
    EMBED_DIM=12,
    DEPTHS=[1, 1, 2, 1],
    NUM_HEADS=[2, 2, 4, 6],
    WINDOW_SIZE=4,
    MLP_RATIO=4.0,
    QKV_BIAS=True,
    QK_SCALE=None,
    PATCH_NORM=True,
    PATCH_SIZE=4,
    PRETRAIN_IMG_SIZE=64,
    APE=False,
    DROP_PATH_RATE=0.0,
    OUT_FEATURES=FEATURES,
)
MASK_DINO = dict(
    {name: value for name, value in TRANSFORMER.items() if name != 'TRANSFORMER_DECODER_NAME'},
    HIDDEN_DIM=256,
    TWO_STAGE=True,
    LEARN_TGT=False,
    INITIALIZE_BOX_TYPE='mask2box',
    INITIAL_PRED=True,
    DN='seg',
    DN_NUM=10,
    DN_NOISE_SCALE=0.4,
    SEMANTIC_CE_LOSS=False,
    COST_CLASS_WEIGHT=4.0,
    EVAL_FLAG=1,
)


def config(changes):
    """A configuration with some fields, named from ``MODEL`` on, that differ."""
    cfg = dict(
        MODEL=dict(
            BACKBONE=dict(NAME='build_resnet_backbone', FREEZE_AT=0),
            RESNETS=RESNETS,
            SWIN=SWIN,
            PIXEL_MEAN=[0.0] * 3,
            SEM_SEG_HEAD=HEAD,
            MASK_FORMER=TRANSFORMER,
        ),
        TEST=dict(DETECTIONS_PER_IMAGE=10),
    )
    return changed(cfg, changes)


def changed(cfg, changes):
    cfg = copy.deepcopy(cfg)
    for name, value in changes.items():
        section = cfg['MODEL']
        *path, last = name.split('.')
        for part in path:
            section = section[part]
        section[last] = value
    return cfg


def mask_dino_config(changes):
    cfg = config({})
    del cfg['MODEL']['MASK_FORMER']
    cfg['MODEL']['MaskDINO'] = MASK_DINO
    cfg['MODEL']['SEM_SEG_HEAD'].update(DIM_FEEDFORWARD=40, TOTAL_NUM_FEATURE_LEVELS=4, FEATURE_ORDER='low2high')
    return changed(cfg, changes)


def maskformer_config(changes):
    cfg = config({})
    cfg['MODEL'] = {name: cfg['MODEL'][name] for name in ('SEM_SEG_HEAD', 'MASK_FORMER')}
    cfg['MODEL']['SEM_SEG_HEAD'].update(PIXEL_DECODER_NAME='BasePixelDecoder')
    cfg['MODEL']['MASK_FORMER'].update(
        TRANSFORMER_DECODER_NAME='StandardTransformerDecoder', TRANSFORMER_IN_FEATURE='res5'
    )
    return changed(cfg, changes)


def check_shapes(module, expected):
    shapes = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    for name, shape in expected.items():
        assert shapes.get(name) == shape, name


@pytest.mark.parametrize(
    'changes, expected',
    [
        (
            {},
            {
                'conv1.weight': (8, 3, 7, 7),
                'layer1.0.conv1.weight': (4, 8, 1, 1),
                'layer1.0.conv3.weight': (16, 4, 1, 1),
                'layer4.2.conv3.weight': (128, 32, 1, 1),
                'layer4.2.bn3.weight': (128,),
            },
        ),
        (
            dict(RES2_OUT_CHANNELS=24),
            {
                'layer1.0.conv2.weight': (4, 4, 3, 3),
                'layer1.0.conv3.weight': (24, 4, 1, 1),
                'layer1.0.downsample.0.weight': (24, 8, 1, 1),
                'layer1.1.conv1.weight': (4, 24, 1, 1),
                'layer2.0.conv1.weight': (8, 24, 1, 1),
                'layer4.0.conv3.weight': (192, 32, 1, 1),
                'layer4.0.bn2.weight': (32,),
            },
        ),
        (dict(RES2_OUT_CHANNELS=8), {'layer1.0.conv3.weight': (8, 4, 1, 1), 'layer1.0.downsample.0.weight': None}),
        (
            dict(NUM_GROUPS=2, WIDTH_PER_GROUP=3),
            {'layer1.0.conv1.weight': (6, 8, 1, 1), 'layer2.0.conv2.weight': (12, 6, 3, 3), 'layer1.0.bn1.bias': (6,)},
        ),
        (dict(STEM_OUT_CHANNELS=12), {'conv1.weight': (12, 3, 7, 7), 'layer1.0.conv1.weight': (4, 12, 1, 1)}),
        (dict(DEPTH=101), {'layer3.22.conv1.weight': (16, 64, 1, 1)}),
        (
            dict(DEPTH=18, RES2_OUT_CHANNELS=64),
            {'layer1.1.conv2.weight': (64, 64, 3, 3), 'layer1.0.conv3.weight': None},
        ),
    ],
    ids=str,
)
def test_resnet(changes, expected):
    cfg = config({f'RESNETS.{name}': value for name, value in changes.items()})
    backbone, channels = build_backbone(cfg)
    check_shapes(backbone, expected)
    first = cfg['MODEL']['RESNETS']['RES2_OUT_CHANNELS']
    assert channels == [first, 2 * first, 4 * first, 8 * first]


def test_strides_and_dilation_of_a_resnet():
    block = build_backbone(config({}))[0].layer4[0]
    assert block.conv1.stride == (1, 1) and block.conv2.stride == (2, 2) and block.conv2.dilation == (1, 1)
    backbone, _ = build_backbone(config({'RESNETS.STRIDE_IN_1X1': True, 'RESNETS.RES5_DILATION': 2}))
    block = backbone.layer3[0]
    assert block.conv1.stride == (2, 2) and block.conv2.stride == (1, 1)
    first, second, _ = backbone.layer4
    assert first.conv1.stride == first.downsample[0].stride == (1, 1)
    assert first.conv2.dilation == second.conv2.dilation == second.conv2.padding == (2, 2)


def test_frozen_stages_of_a_resnet():
    backbone, _ = build_backbone(config({'BACKBONE.FREEZE_AT': 2}))
    backbone.train()
    frozen = {name.split('.')[0] for name, value in backbone.named_parameters() if not value.requires_grad}
    assert frozen == {'conv1', 'layer1'}


@pytest.mark.parametrize(
    'changes, expected',
    [
        (
            {},
            {
                'patch_embed.projection.weight': (12, 3, 4, 4),
                'patch_embed.norm.weight': (12,),
                'stages.0.blocks.0.ffn.layers.0.0.weight': (48, 12),
                'stages.0.blocks.0.attn.w_msa.relative_position_bias_table': (49, 2),
                'stages.0.blocks.0.attn.w_msa.qkv.bias': (36,),
                'stages.2.blocks.1.norm1.weight': (48,),
            },
        ),
        (dict(EMBED_DIM=24), {'stages.3.blocks.0.norm1.weight': (192,)}),
        (dict(DEPTHS=[2, 1, 1, 1]), {'stages.0.blocks.1.norm1.weight': (12,), 'stages.2.blocks.1.norm1.weight': None}),
        (
            dict(NUM_HEADS=[3, 2, 4, 6], WINDOW_SIZE=3),
            {'stages.0.blocks.0.attn.w_msa.relative_position_bias_table': (25, 3)},
        ),
        (dict(MLP_RATIO=2.55), {'stages.0.blocks.0.ffn.layers.0.0.weight': (30, 12)}),
        (dict(QKV_BIAS=False), {'stages.0.blocks.0.attn.w_msa.qkv.bias': None}),
        (dict(PATCH_NORM=False), {'patch_embed.norm.weight': None, 'stages.0.downsample.norm.weight': (48,)}),
        (dict(PATCH_SIZE=2), {'patch_embed.projection.weight': (12, 3, 2, 2)}),
    ],
    ids=str,
)
def test_swin(changes, expected):
    cfg = config({'BACKBONE.NAME': 'D2SwinTransformer', **{f'SWIN.{name}': value for name, value in changes.items()}})
    backbone, channels = build_backbone(cfg)
    check_shapes(backbone, expected)
    first = cfg['MODEL']['SWIN']['EMBED_DIM']
    assert channels == [first, 2 * first, 4 * first, 8 * first]


def test_scale_of_swins_attention():
    cfg = config({'BACKBONE.NAME': 'D2SwinTransformer', 'SWIN.QK_SCALE': 0.25})
    assert build_backbone(cfg)[0].stages[0].blocks[0].attn.w_msa.scale == 0.25


CROSS = 'transformer_decoder.layers.0.cross_attn.'
OFFSETS = 'pixel_decoder.encoder.layers.0.self_attn.sampling_offsets.weight'


@pytest.mark.parametrize(
    'changes, expected',
    [
        (
            {},
            {
                'query_embed.weight': (7, 32),
                'cls_embed.weight': (6, 32),
                'mask_embed.4.weight': (16, 32),
                'transformer_decoder.layers.1.norms.0.weight': (32,),
                'transformer_decoder.layers.2.norms.0.weight': None,
                'transformer_decoder.layers.0.ffn.layers.0.0.weight': (48, 32),
                'pixel_decoder.encoder.layers.0.ffn.layers.0.0.weight': (1024, 32),
                OFFSETS: (4 * 3 * 4 * 2, 32),
                'decoder_input_projs.0.weight': None,
                'pixel_decoder.lateral_convs.0.gn.weight': (32,),
            },
        ),
        ({'MASK_FORMER.NHEADS': 2}, {OFFSETS: (2 * 3 * 4 * 2, 32)}),
        ({'MASK_FORMER.HIDDEN_DIM': 64}, {'decoder_input_projs.2.weight': (64, 32, 1, 1)}),
        ({'MASK_FORMER.ENFORCE_INPUT_PROJ': True}, {'decoder_input_projs.2.weight': (32, 32, 1, 1)}),
        ({'MASK_FORMER.NUM_OBJECT_QUERIES': 9}, {'query_feat.weight': (9, 32)}),
        ({'MASK_FORMER.DEC_LAYERS': 4}, {'transformer_decoder.layers.2.norms.0.weight': (32,)}),
        ({'SEM_SEG_HEAD.NUM_CLASSES': 8}, {'cls_embed.bias': (9,)}),
        ({'SEM_SEG_HEAD.MASK_DIM': 24}, {'mask_embed.4.weight': (24, 32)}),
        ({'SEM_SEG_HEAD.CONVS_DIM': 64}, {'pixel_decoder.lateral_convs.0.conv.weight': (64, 16, 1, 1)}),
        ({'SEM_SEG_HEAD.NORM': ''}, {'pixel_decoder.lateral_convs.0.gn.weight': None}),
        ({'SEM_SEG_HEAD.TRANSFORMER_ENC_LAYERS': 2}, {OFFSETS.replace('.0.', '.1.', 1): (4 * 3 * 4 * 2, 32)}),
        (
            {'SEM_SEG_HEAD.DEFORMABLE_TRANSFORMER_ENCODER_IN_FEATURES': FEATURES[2:]},
            {OFFSETS: (4 * 2 * 4 * 2, 32), 'pixel_decoder.lateral_convs.1.conv.weight': (32, 16, 1, 1)},
        ),
    ],
    ids=str,
)
def test_mask2former(changes, expected):
    check_shapes(build_head(config(changes), [16, 32, 64, 128]), expected)


def test_what_has_no_parameters():
    """Heads of attention, the order of the norms, the points of the loss."""
    head = build_head(config({'MASK_FORMER.NHEADS': 2, 'MASK_FORMER.PRE_NORM': True}), [16, 32, 64, 128])
    layer = head.transformer_decoder.layers[0]
    assert layer.cross_attn.num_heads == layer.self_attn.num_heads == 2 and layer.pre_norm
    criterion = build_criterion(
        config(
            {'MASK_FORMER.TRAIN_NUM_POINTS': 11, 'MASK_FORMER.DICE_WEIGHT': 3.0, 'MASK_FORMER.NO_OBJECT_WEIGHT': 0.2}
        ),
        None,
    )
    assert criterion.mask_terms.num_points == 11
    assert criterion.loss_weights['loss_dice'] == criterion.assigner.dice_weight == 3
    assert criterion.class_weight.tolist() == pytest.approx([1] * 5 + [0.2])
    assert padding_divisor(config({'MASK_FORMER.SIZE_DIVISIBILITY': 64})) == 64
    assert padding_divisor(config({'MASK_FORMER.SIZE_DIVISIBILITY': -1})) == 1
    swin = {'MASK_FORMER.SIZE_DIVISIBILITY': -1, 'BACKBONE.NAME': 'D2SwinTransformer'}
    assert padding_divisor(config(swin)) == 32


DECODER_OFFSETS = CROSS + 'sampling_offsets.weight'


@pytest.mark.parametrize(
    'changes, expected',
    [
        (
            {},
            {
                OFFSETS: (4 * 4 * 4 * 2, 32),
                DECODER_OFFSETS: (8 * 4 * 4 * 2, 256),
                'transformer_decoder.layers.2.norms.0.weight': (256,),
                'cls_embed.weight': (5, 256),
                'pixel_decoder.encoder.layers.0.ffn.layers.0.0.weight': (40, 32),
                'label_embed.weight': (5, 256),
                'query_feat.weight': None,
                'memory_trans_fc.weight': (256, 256),
            },
        ),
        # The official decoder has 8 heads whatever NHEADS says.
        ({'MaskDINO.NHEADS': 2}, {OFFSETS: (2 * 4 * 4 * 2, 32), DECODER_OFFSETS: (8 * 4 * 4 * 2, 256)}),
        (
            {'SEM_SEG_HEAD.TOTAL_NUM_FEATURE_LEVELS': 5},
            {OFFSETS: (4 * 5 * 4 * 2, 32), DECODER_OFFSETS: (8 * 5 * 4 * 2, 256)},
        ),
        ({'SEM_SEG_HEAD.DIM_FEEDFORWARD': 24}, {'pixel_decoder.encoder.layers.0.ffn.layers.0.0.weight': (24, 32)}),
        ({'MaskDINO.DIM_FEEDFORWARD': 24}, {'transformer_decoder.layers.0.ffn.layers.0.0.weight': (24, 256)}),
        ({'MaskDINO.LEARN_TGT': True}, {'query_feat.weight': (7, 256), 'memory_trans_fc.weight': (256, 256)}),
        ({'MaskDINO.TWO_STAGE': False}, {'query_embed.weight': (7, 4), 'memory_trans_fc.weight': None}),
        ({'MaskDINO.SEMANTIC_CE_LOSS': True}, {'cls_embed.weight': (6, 256)}),
        ({'MaskDINO.SEMANTIC_CE_LOSS': True, 'MaskDINO.TEST.SEMANTIC_ON': False}, {'cls_embed.weight': (5, 256)}),
    ],
    ids=str,
)
def test_mask_dino(changes, expected):
    head = build_mask_dino_head(mask_dino_config(changes), [16, 32, 64, 128])
    check_shapes(head, expected)
    assert head.transformer_decoder.layers[0].self_attn.num_heads == 8


@pytest.mark.parametrize(
    'changes, expected',
    [
        ({}, {'transformer_decoder.layers.2.norms.0.weight': (32,), 'cls_embed.weight': (6, 32)}),
        ({'MASK_FORMER.ENC_LAYERS': 1}, {'transformer_decoder.encoder.layers.0.norms.0.weight': (32,)}),
        (
            {
                'SEM_SEG_HEAD.PIXEL_DECODER_NAME': 'TransformerEncoderPixelDecoder',
                'MASK_FORMER.TRANSFORMER_IN_FEATURE': 'transformer_encoder',
            },
            {'pixel_decoder.encoder.layers.0.norms.0.weight': (32,)},
        ),
        (
            {
                'MASK_FORMER.TRANSFORMER_DECODER_NAME': 'MultiScaleMaskedTransformerDecoder',
                'MASK_FORMER.TRANSFORMER_IN_FEATURE': 'multi_scale_pixel_decoder',
            },
            {'transformer_decoder.layers.1.norms.0.weight': (32,), 'query_feat.weight': (7, 32)},
        ),
    ],
    ids=str,
)
def test_maskformer(changes, expected):
    head = build_maskformer_head(maskformer_config(changes), [16, 32, 64, 128])
    check_shapes(head, expected)


@pytest.mark.parametrize(
    'build, changes, message',
    [
        (build_backbone, {'RESNETS.NORM': 'SyncBN'}, r"MODEL.RESNETS.NORM is 'SyncBN', but .* with 'FrozenBN' only"),
        (build_backbone, {'RESNETS.DEFORM_ON_PER_STAGE': [False, False, True, True]}, 'DEFORM_ON_PER_STAGE'),
        (build_backbone, {'RESNETS.DEPTH': 18}, 'of 18 or 34 layers has RES2_OUT_CHANNELS 64'),
        (build_backbone, {'BACKBONE.NAME': 'build_resnet_deeplab_backbone'}, 'MODEL.BACKBONE.NAME'),
        (build_backbone, {'BACKBONE.NAME': 'D2SwinTransformer', 'SWIN.APE': True}, 'MODEL.SWIN.APE is True'),
        (build_head, {'SEM_SEG_HEAD.COMMON_STRIDE': 8}, 'MODEL.SEM_SEG_HEAD.COMMON_STRIDE is 8'),
        (build_head, {'SEM_SEG_HEAD.IN_FEATURES': FEATURES[1:]}, 'MODEL.SEM_SEG_HEAD.IN_FEATURES'),
        (build_head, {'SEM_SEG_HEAD.DEFORMABLE_TRANSFORMER_ENCODER_IN_FEATURES': ['res2']}, 'ENCODER_IN_FEATURES'),
        (build_head, {'MASK_FORMER.DROPOUT': 0.1}, 'MODEL.MASK_FORMER.DROPOUT is 0.1'),
        (build_head, {'MASK_FORMER.DEEP_SUPERVISION': False}, 'DEEP_SUPERVISION is False'),
        (
            build_head,
            {'MASK_FORMER.NEW_OPTION': 3},
            'MASK_FORMER.NEW_OPTION = 3 is a field that no builder reads',
        ),
    ],
    ids=lambda value: list(value)[-1] if isinstance(value, dict) else '',
)
def test_other_values_are_refused(build, changes, message):
    options = [] if build is build_backbone else [[16, 32, 64, 128]]
    with pytest.raises(ValueError, match=message):
        build(config(changes), *options)


@pytest.mark.parametrize(
    'changes, message',
    [
        ({'MaskDINO.HIDDEN_DIM': 128}, 'HIDDEN_DIM is 128'),
        ({'MaskDINO.DN': 'no'}, "DN is 'no', but .* with 'seg' or 'standard' only"),
        ({'MaskDINO.BOX_LOSS': False}, 'BOX_LOSS'),
        ({'MaskDINO.SEMANTIC_CE_LOSS': True, 'MaskDINO.TEST.PANOPTIC_ON': True}, 'SEMANTIC_CE_LOSS of a panoptic'),
    ],
)
def test_mask_dinos_other_values_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        build_mask_dino_head(mask_dino_config(changes), [16, 32, 64, 128])


def test_maskformers_other_values_are_refused():
    channels = [16, 32, 64, 128]
    with pytest.raises(ValueError, match="TRANSFORMER_IN_FEATURE is 'res4'"):
        MASKFORMER.check(maskformer_config({'MASK_FORMER.TRANSFORMER_IN_FEATURE': 'res4'}))
    with pytest.raises(ValueError, match='which these decoders do not have'):
        build_maskformer_head(
            maskformer_config({'MASK_FORMER.TRANSFORMER_IN_FEATURE': 'transformer_encoder'}), channels
        )
    with pytest.raises(ValueError, match='LOSS_WEIGHT is 2'):
        maskformer_pixel_decoder(maskformer_config({'SEM_SEG_HEAD.LOSS_WEIGHT': 2.0}), channels)
