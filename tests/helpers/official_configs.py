"""Networks as a configuration of the official code describes them (detectron2's fields), under OpenMMLab's names.

Every field of a recorded configuration is in one of three tables: it is read here, the official code does not read it
for these networks, or other values than the listed ones cannot be replayed. Anything else is an error, so that no field
is left out silently. Facts: shared/reference/recipes.md, sections 2.5, 3 and 7; detectron2's ResNet.
"""

from fnmatch import fnmatch

from torch import nn

from m2f_mm.models import (
    FPNPixelDecoder,
    Mask2FormerTransformerDecoder,
    MaskDINO,
    MaskDINOTransformerDecoder,
    MaskFormerTransformerDecoder,
    MaskTransformer,
    MSDeformAttnPixelDecoder,
    TransformerEncoderPixelDecoder,
)

FEATURES = ['res2', 'res3', 'res4', 'res5']
# Hidden channels of the encoder of Mask2Former, whatever DIM_FEEDFORWARD says, and heads of Mask DINO's transformer
# decoder, whatever NHEADS says: arguments that the official code never passes.
MASK2FORMER_ENCODER_CHANNELS = 1024
MASK_DINO_DECODER_HEADS = 8

BACKBONES = dict(build_resnet_backbone='RESNETS', D2SwinTransformer='SWIN')
BACKBONE_ONLY = {
    'MODEL.BACKBONE.NAME': list(BACKBONES),
    'MODEL.RESNETS.DEPTH': [18, 34, 50, 101, 152],
    'MODEL.RESNETS.NORM': ['FrozenBN'],  # with statistics of the batch, training and evaluation would differ
    'MODEL.RESNETS.DEFORM_ON_PER_STAGE': [[False] * 4],
    'MODEL.*.OUT_FEATURES': [FEATURES],
    'MODEL.SWIN.*DROP*': [0],  # random numbers that are not recorded
    'MODEL.SWIN.APE': [False],  # MMDetection's positions have one size, and another shape
}
BACKBONE_UNREAD = [
    'MODEL.RESNETS.DEFORM_*',  # no stage is deformable
    'MODEL.SWIN.PRETRAIN_IMG_SIZE',  # of absolute positions
    'MODEL.SWIN.USE_CHECKPOINT',  # changes no number
    'MODEL.RESNETS.STEM_TYPE',  # these three of DeepLab's ResNet alone
    'MODEL.RESNETS.RES4_DILATION',
    'MODEL.RESNETS.RES5_MULTI_GRID',
]
BACKBONE_READ = [
    'MODEL.BACKBONE.FREEZE_AT',
    'MODEL.PIXEL_*',
    *(
        f'MODEL.RESNETS.{name}'
        for name in (
            'DEPTH NUM_GROUPS WIDTH_PER_GROUP STEM_OUT_CHANNELS RES2_OUT_CHANNELS STRIDE_IN_1X1 RES5_DILATION'
        ).split()
    ),
    *(
        f'MODEL.SWIN.{name}'
        for name in ('EMBED_DIM DEPTHS NUM_HEADS WINDOW_SIZE MLP_RATIO QKV_BIAS QK_SCALE PATCH_NORM PATCH_SIZE').split()
    ),
]
HEAD_ONLY = {
    'MODEL.SEM_SEG_HEAD.IN_FEATURES': [FEATURES],
    'MODEL.SEM_SEG_HEAD.COMMON_STRIDE': [4],
    'MODEL.SEM_SEG_HEAD.NORM': ['GN', ''],
    'MODEL.SEM_SEG_HEAD.LOSS_WEIGHT': [1],  # of the per-pixel baselines; the others do not read it
    # The coarsest features; the last is always there.
    'MODEL.SEM_SEG_HEAD.DEFORMABLE_TRANSFORMER_ENCODER_IN_FEATURES': [FEATURES[first:] for first in range(4)],
    'MODEL.*.DROPOUT': [0],  # random numbers that are not recorded
}
HEAD_UNREAD = [
    'INPUT.*',  # of the loader, whose output is recorded
    *(
        f'MODEL.SEM_SEG_HEAD.{name}'
        for name in (
            'ASPP_* LOSS_TYPE PROJECT_* USE_DEPTHWISE_SEPARABLE_CONV IGNORE_VALUE '
            'DEFORMABLE_TRANSFORMER_ENCODER_N_HEADS DEFORMABLE_TRANSFORMER_ENCODER_N_POINTS'
        ).split()
    ),
]
HEAD_READ = [
    'MODEL.SEM_SEG_HEAD.CONVS_DIM',
    'MODEL.SEM_SEG_HEAD.MASK_DIM',
    'MODEL.SEM_SEG_HEAD.NUM_CLASSES',
    'MODEL.SEM_SEG_HEAD.TRANSFORMER_ENC_LAYERS',
    'TEST.DETECTIONS_PER_IMAGE',
]
SHARED_READ = (
    'CLASS_WEIGHT MASK_WEIGHT DICE_WEIGHT NO_OBJECT_WEIGHT TRAIN_NUM_POINTS OVERSAMPLE_RATIO IMPORTANCE_SAMPLE_RATIO '
    'DEC_LAYERS DIM_FEEDFORWARD HIDDEN_DIM NHEADS NUM_OBJECT_QUERIES ENFORCE_INPUT_PROJ SIZE_DIVISIBILITY '
    'TEST.SEMANTIC_ON TEST.INSTANCE_ON TEST.PANOPTIC_ON TEST.OBJECT_MASK_THRESHOLD TEST.OVERLAP_THRESHOLD '
    'TEST.SEM_SEG_POSTPROCESSING_BEFORE_INFERENCE'
).split()


class Fields:
    """The three tables of a network."""

    def __init__(self, only, unread, read):
        self.only = only
        self.unread = unread
        self.read = read

    def check(self, cfg):
        """Raises ValueError with the field's name where a configuration says what the builders here cannot do."""
        backbone = cfg['MODEL'].get('BACKBONE', {}).get('NAME')
        others = [section for name, section in BACKBONES.items() if name != backbone]
        for name, value in flat(cfg):
            if any(name.startswith(f'MODEL.{section}.') for section in others):
                continue
            allowed = next((values for pattern, values in self.only.items() if fnmatch(name, pattern)), None)
            if allowed is not None and value not in allowed:
                listed = ' or '.join(map(repr, allowed))
                raise ValueError(f'{name} is {value!r}, but a recorded case can be replayed with {listed} only')
            if allowed is None and not any(fnmatch(name, pattern) for pattern in (*self.unread, *self.read)):
                raise ValueError(
                    f'{name} = {value!r} is a field that no builder reads: read it in {__name__}, or list it there'
                )


def flat(cfg, prefix=''):
    """(dotted name, value) of every field."""
    for name, value in cfg.items():
        if isinstance(value, dict):
            yield from flat(value, f'{prefix}{name}.')
        else:
            yield f'{prefix}{name}', value


BACKBONE = Fields(
    BACKBONE_ONLY, BACKBONE_UNREAD, [*BACKBONE_READ, 'MODEL.SEM_SEG_HEAD.*', 'MODEL.M*', 'INPUT.*', 'TEST.*']
)
MASK2FORMER = Fields(
    {
        'MODEL.META_ARCHITECTURE': ['MaskFormer', 'VideoMaskFormer'],
        'MODEL.SEM_SEG_HEAD.NAME': ['MaskFormerHead'],
        'MODEL.SEM_SEG_HEAD.PIXEL_DECODER_NAME': ['MSDeformAttnPixelDecoder'],
        'MODEL.MASK_FORMER.TRANSFORMER_DECODER_NAME': [
            'MultiScaleMaskedTransformerDecoder',
            'VideoMultiScaleMaskedTransformerDecoder',
        ],
        'MODEL.MASK_FORMER.TRANSFORMER_IN_FEATURE': ['multi_scale_pixel_decoder'],
        'MODEL.MASK_FORMER.DEEP_SUPERVISION': [True],
        **BACKBONE_ONLY,
        **HEAD_ONLY,
    },
    ['MODEL.MASK_FORMER.ENC_LAYERS', *BACKBONE_UNREAD, *HEAD_UNREAD],
    [
        *(f'MODEL.MASK_FORMER.{name}' for name in ('PRE_NORM', *SHARED_READ)),
        *BACKBONE_READ,
        *HEAD_READ,
    ],
)
MASK_DINO = Fields(
    {
        'MODEL.META_ARCHITECTURE': ['MaskDINO'],
        'MODEL.SEM_SEG_HEAD.NAME': ['MaskDINOHead'],
        'MODEL.SEM_SEG_HEAD.PIXEL_DECODER_NAME': ['MaskDINOEncoder'],
        'MODEL.SEM_SEG_HEAD.FEATURE_ORDER': ['high2low', 'low2high'],
        'MODEL.MaskDINO.TRANSFORMER_DECODER_NAME': ['MaskDINODecoder'],
        'MODEL.MaskDINO.DEEP_SUPERVISION': [True],
        'MODEL.MaskDINO.HIDDEN_DIM': [256],  # the official encoding of boxes has 128 channels a coordinate
        'MODEL.MaskDINO.BOX_LOSS': [True],
        'MODEL.MaskDINO.DN': ['seg', 'standard'],
        **BACKBONE_ONLY,
        **HEAD_ONLY,
    },
    [
        *(f'MODEL.MaskDINO.{name}' for name in ('ENC_LAYERS', 'EVAL_FLAG', 'PRED_CONV', 'PRE_NORM')),
        'MODEL.SEM_SEG_HEAD.NUM_FEATURE_LEVELS',
        *BACKBONE_UNREAD,
        *HEAD_UNREAD,
    ],
    [
        *(
            f'MODEL.MaskDINO.{name}'
            for name in (
                *SHARED_READ,
                'BOX_WEIGHT',
                'GIOU_WEIGHT',
                'COST_*_WEIGHT',
                'DN_NUM',
                'DN_NOISE_SCALE',
                'INITIALIZE_BOX_TYPE',
                'INITIAL_PRED',
                'LEARN_TGT',
                'PANO_BOX_LOSS',
                'SEMANTIC_CE_LOSS',
                'TWO_STAGE',
                'TEST.PANO_*',
                'TEST.TEST_FOUCUS_ON_BOX',
            )
        ),
        'MODEL.SEM_SEG_HEAD.DIM_FEEDFORWARD',
        'MODEL.SEM_SEG_HEAD.TOTAL_NUM_FEATURE_LEVELS',
        *BACKBONE_READ,
        *HEAD_READ,
    ],
)
MASKFORMER = Fields(
    {
        'MODEL.SEM_SEG_HEAD.NAME': ['MaskFormerHead', 'PerPixelBaselineHead', 'PerPixelBaselinePlusHead'],
        'MODEL.SEM_SEG_HEAD.PIXEL_DECODER_NAME': ['BasePixelDecoder', 'TransformerEncoderPixelDecoder'],
        'MODEL.MASK_FORMER.TRANSFORMER_DECODER_NAME': [
            'StandardTransformerDecoder',
            'MultiScaleMaskedTransformerDecoder',
        ],
        'MODEL.MASK_FORMER.TRANSFORMER_IN_FEATURE': [
            'res5',
            'transformer_encoder',
            'pixel_embedding',
            'multi_scale_pixel_decoder',
        ],
        **HEAD_ONLY,
    },
    HEAD_UNREAD,
    [
        *(f'MODEL.MASK_FORMER.{name}' for name in ('DEEP_SUPERVISION', 'ENC_LAYERS', 'PRE_NORM', *SHARED_READ)),
        *HEAD_READ,
    ],
)


def build_backbone(cfg):
    """The backbone (modules of MMDetection) and the channels of its features."""
    BACKBONE.check(cfg)
    if cfg['MODEL']['BACKBONE']['NAME'] == 'D2SwinTransformer':
        return swin(cfg['MODEL']['SWIN'])
    return resnet(cfg['MODEL']['RESNETS'], cfg['MODEL']['BACKBONE']['FREEZE_AT'])


class _Ratio(float):
    """Of channels: the official code rounds the product down, MMDetection takes it as it is."""

    def __mul__(self, channels):
        return int(float(self) * channels)


def swin(options):
    from mmdet.models.backbones import SwinTransformer

    backbone = SwinTransformer(
        patch_size=options['PATCH_SIZE'],
        strides=(options['PATCH_SIZE'], 2, 2, 2),
        embed_dims=options['EMBED_DIM'],
        depths=options['DEPTHS'],
        num_heads=options['NUM_HEADS'],
        window_size=options['WINDOW_SIZE'],
        mlp_ratio=_Ratio(options['MLP_RATIO']),
        qkv_bias=options['QKV_BIAS'],
        qk_scale=options['QK_SCALE'],
        drop_path_rate=0.0,
    )
    if not options['PATCH_NORM']:  # MMDetection's patch_norm is about the norms between stages, too
        backbone.patch_embed.norm = None
    return backbone, [options['EMBED_DIM'] * 2**stage for stage in range(4)]


def resnet(options, freeze_at=0):
    """MMDetection's ResNet with detectron2's widths: output and bottleneck channels that do not depend on each other,
    and groups."""
    from mmdet.models.backbones import ResNet
    from mmdet.models.backbones.resnet import BasicBlock, Bottleneck

    outputs = options['RES2_OUT_CHANNELS']
    groups, widths = options['NUM_GROUPS'], options['NUM_GROUPS'] * options['WIDTH_PER_GROUP']
    dilation = options['RES5_DILATION']

    class Block(Bottleneck):
        """Built with as many hidden as output channels; then the convolutions get their own number."""

        expansion = 1

        def __init__(self, inplanes, planes, **others):
            super().__init__(inplanes, planes, **others)
            width = planes // outputs * widths
            self.conv1 = self.with_channels(self.conv1, inplanes, width)
            self.conv2 = self.with_channels(self.conv2, width, width, groups)
            self.conv3 = self.with_channels(self.conv3, width, planes)
            for name in (self.norm1_name, self.norm2_name):
                setattr(self, name, type(getattr(self, name))(width))

        @staticmethod
        def with_channels(conv, inputs, outputs, groups=1):
            return nn.Conv2d(
                inputs, outputs, conv.kernel_size, conv.stride, conv.padding, conv.dilation, groups, bias=False
            )

    class AnyResNet(ResNet):
        arch_settings = {
            depth: (BasicBlock if block is BasicBlock else Block, blocks)
            for depth, (block, blocks) in ResNet.arch_settings.items()
        }

    if options['DEPTH'] < 50 and (outputs, groups, dilation) != (64, 1, 1):
        raise ValueError(
            'a ResNet of 18 or 34 layers has RES2_OUT_CHANNELS 64, NUM_GROUPS 1 and RES5_DILATION 1, got '
            f'{outputs}, {groups} and {dilation}'
        )
    backbone = AnyResNet(
        options['DEPTH'],
        stem_channels=options['STEM_OUT_CHANNELS'],
        base_channels=outputs,
        strides=(1, 2, 2, 1 if dilation == 2 else 2),
        dilations=(1, 1, 1, dilation),
        style='caffe' if options['STRIDE_IN_1X1'] else 'pytorch',
        frozen_stages=freeze_at - 1,
        norm_cfg=dict(type='m2f_mm.FrozenBN'),
        norm_eval=False,
    )
    return backbone, [outputs * 2**stage for stage in range(4)]


def padding_divisor(cfg, method='MASK_FORMER'):
    """What sides of a batch are a multiple of: the backbone's own number, which only Swin has, where the field is
    negative."""
    divisor = cfg['MODEL'][method]['SIZE_DIVISIBILITY']
    if divisor < 0:
        divisor = 32 if cfg['MODEL']['BACKBONE']['NAME'] == 'D2SwinTransformer' else 0
    return max(divisor, 1)


def norm_of(head):
    return dict(type='GN', num_groups=32) if head['NORM'] == 'GN' else None


def build_head(cfg, channels):
    """Mask2Former's, of images or videos."""
    MASK2FORMER.check(cfg)
    head, transformer = cfg['MODEL']['SEM_SEG_HEAD'], cfg['MODEL']['MASK_FORMER']
    pixel_decoder = MSDeformAttnPixelDecoder(
        channels,
        head['CONVS_DIM'],
        head['MASK_DIM'],
        num_encoder_levels=len(head['DEFORMABLE_TRANSFORMER_ENCODER_IN_FEATURES']),
        num_layers=head['TRANSFORMER_ENC_LAYERS'],
        num_heads=transformer['NHEADS'],
        feedforward_channels=MASK2FORMER_ENCODER_CHANNELS,
        norm_cfg=norm_of(head),
    )
    decoder = Mask2FormerTransformerDecoder(
        transformer['DEC_LAYERS'] - 1,  # one more prediction than layers
        transformer['HIDDEN_DIM'],
        transformer['NHEADS'],
        transformer['DIM_FEEDFORWARD'],
        transformer['PRE_NORM'],
    )
    return MaskTransformer(
        pixel_decoder,
        decoder,
        head['NUM_CLASSES'],
        transformer['NUM_OBJECT_QUERIES'],
        mask_channels=head['MASK_DIM'],
        project_memory=transformer['ENFORCE_INPUT_PROJ'],
    )


def build_mask_dino_head(cfg, channels):
    MASK_DINO.check(cfg)
    head, dino = cfg['MODEL']['SEM_SEG_HEAD'], cfg['MODEL']['MaskDINO']
    inputs, levels = len(head['DEFORMABLE_TRANSFORMER_ENCODER_IN_FEATURES']), head['TOTAL_NUM_FEATURE_LEVELS']
    pixel_decoder = MSDeformAttnPixelDecoder(
        channels,
        head['CONVS_DIM'],
        head['MASK_DIM'],
        num_outs=levels,
        num_encoder_levels=inputs,
        num_extra_levels=levels - inputs,
        fine_first=head['FEATURE_ORDER'] == 'low2high',
        always_fpn=True,
        num_layers=head['TRANSFORMER_ENC_LAYERS'],
        num_heads=dino['NHEADS'],
        feedforward_channels=head['DIM_FEEDFORWARD'],
        norm_cfg=norm_of(head),
    )
    decoder = MaskDINOTransformerDecoder(
        dino['DEC_LAYERS'],
        dino['HIDDEN_DIM'],
        MASK_DINO_DECODER_HEADS,
        levels,
        feedforward_channels=dino['DIM_FEEDFORWARD'],
    )
    return MaskDINO(
        pixel_decoder,
        decoder,
        head['NUM_CLASSES'],
        dino['NUM_OBJECT_QUERIES'],
        levels,
        two_stage=dino['TWO_STAGE'],
        learned_content=dino['LEARN_TGT'],
        boxes_from_masks=dino['INITIALIZE_BOX_TYPE'],
        denoising_queries=dino['DN_NUM'],
        noise_scale=dino['DN_NOISE_SCALE'],
        initial_prediction=dino['INITIAL_PRED'],
        no_object=has_no_object(dino),
        mask_channels=head['MASK_DIM'],
        project_memory=dino['ENFORCE_INPUT_PROJ'],
    )


def has_no_object(dino):
    """Whether classes compete in a softmax with no-object; the criterion and the network of the official code disagree
    about panoptic models."""
    softmax = dino['TEST']['SEMANTIC_ON'] and dino['SEMANTIC_CE_LOSS']
    if softmax and dino['TEST']['PANOPTIC_ON']:
        raise ValueError('SEMANTIC_CE_LOSS of a panoptic Mask DINO: its network has C + 1 classes, its criterion C')
    return softmax


def maskformer_pixel_decoder(cfg, channels, memory='pyramid'):
    """MaskFormer's two."""
    MASKFORMER.check(cfg)
    head, transformer = cfg['MODEL']['SEM_SEG_HEAD'], cfg['MODEL']['MASK_FORMER']
    sizes, options = (channels, head['CONVS_DIM'], head['MASK_DIM']), dict(memory=memory, norm_cfg=norm_of(head))
    if head['PIXEL_DECODER_NAME'] == 'BasePixelDecoder':
        return FPNPixelDecoder(*sizes, **options)
    return TransformerEncoderPixelDecoder(
        *sizes,
        num_layers=head['TRANSFORMER_ENC_LAYERS'],
        num_heads=transformer['NHEADS'],
        feedforward_channels=transformer['DIM_FEEDFORWARD'],
        dropout=transformer['DROPOUT'],
        pre_norm=transformer.get('PRE_NORM', False),
        **options,
    )


def build_maskformer_head(cfg, channels):
    """A pixel decoder of MaskFormer under its own transformer decoder or Mask2Former's."""
    head, transformer = cfg['MODEL']['SEM_SEG_HEAD'], cfg['MODEL']['MASK_FORMER']
    sizes = transformer['HIDDEN_DIM'], transformer['NHEADS'], transformer['DIM_FEEDFORWARD']
    source = transformer['TRANSFORMER_IN_FEATURE']
    if transformer['TRANSFORMER_DECODER_NAME'] == 'MultiScaleMaskedTransformerDecoder':
        memory = 'pyramid'
        decoder = Mask2FormerTransformerDecoder(transformer['DEC_LAYERS'] - 1, *sizes, transformer['PRE_NORM'])
    else:
        memory = 'mask_features' if source == 'pixel_embedding' else 'coarsest'
        decoder = MaskFormerTransformerDecoder(
            transformer['DEC_LAYERS'],
            transformer['ENC_LAYERS'],
            *sizes,
            transformer['DROPOUT'],
            transformer['PRE_NORM'],
        )
    if (memory == 'pyramid') != (source == 'multi_scale_pixel_decoder') or (
        source == 'transformer_encoder' and head['PIXEL_DECODER_NAME'] != 'TransformerEncoderPixelDecoder'
    ):
        raise ValueError(f'TRANSFORMER_IN_FEATURE is {source!r}, which these decoders do not have')
    if source == 'res5' and head['PIXEL_DECODER_NAME'] != 'BasePixelDecoder':
        raise ValueError("TRANSFORMER_IN_FEATURE is 'res5', but our pixel decoder gives what its encoder made of it")
    return MaskTransformer(
        maskformer_pixel_decoder(cfg, channels, memory),
        decoder,
        head['NUM_CLASSES'],
        transformer['NUM_OBJECT_QUERIES'],
        num_levels=3 if memory == 'pyramid' else 1,
        mask_channels=head['MASK_DIM'],
        project_memory=transformer.get('ENFORCE_INPUT_PROJ', False),
        deep_supervision=transformer['DEEP_SUPERVISION'],
    )
