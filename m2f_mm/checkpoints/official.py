"""The official (detectron2) names of Mask2Former's, MaskFormer's and Mask DINO's weights, and MMDetection's, in both
directions.

``to_openmmlab`` and ``from_openmmlab`` work on the keys alone and need no model.
Facts: facebookresearch/Mask2Former, facebookresearch/MaskFormer and IDEA-Research/MaskDINO, the state dicts of their
models.
"""

from collections import OrderedDict
from collections.abc import Iterable
from typing import NamedTuple

from torch import Tensor

from .tables import PATCH_MERGING, Row, below, rename, translate_weights

PIXEL_DECODER = 'sem_seg_head.pixel_decoder.'
PREDICTOR = 'sem_seg_head.predictor.'
IGNORED = ('criterion.', 'pixel_mean', 'pixel_std')
SOURCE = 'an official Mask2Former, MaskFormer or Mask DINO (detectron2)'

# Of newer and older names the newer stand first: ``from_openmmlab`` writes them.
STEM: list[Row] = [
    ('stem.conv1.weight', 'conv1.weight'),
    ('stem.conv1.norm.{P}', 'bn1.{P}'),
]
DEEP_STEM: list[Row] = [  # of R101c, three convolutions
    ('stem.conv{i}.weight', 'stem.{3*i-3}.weight'),
    ('stem.conv{i}.norm.{P}', 'stem.{3*i-2}.{P}'),
]
BACKBONE: list[Row] = [
    ('res{i}.{j}.shortcut.weight', 'layer{i-1}.{j}.downsample.0.weight'),
    ('res{i}.{j}.shortcut.norm.{P}', 'layer{i-1}.{j}.downsample.1.{P}'),
    ('res{i}.{j}.conv{k}.weight', 'layer{i-1}.{j}.conv{k}.weight'),
    ('res{i}.{j}.conv{k}.norm.{P}', 'layer{i-1}.{j}.bn{k}.{P}'),
    ('patch_embed.proj.{P}', 'patch_embed.projection.{P}'),
    ('layers.{i}.blocks.{j}.attn.{R}', 'stages.{i}.blocks.{j}.attn.w_msa.{R}'),
    ('layers.{i}.blocks.{j}.mlp.fc1.{P}', 'stages.{i}.blocks.{j}.ffn.layers.0.0.{P}'),
    ('layers.{i}.blocks.{j}.mlp.fc2.{P}', 'stages.{i}.blocks.{j}.ffn.layers.1.{P}'),
    ('layers.{i}.downsample.{R}', 'stages.{i}.downsample.{R}', PATCH_MERGING),
    ('layers.{i}.{R}', 'stages.{i}.{R}'),
    ('patch_embed.norm.{P}', 'patch_embed.norm.{P}'),
    ('norm{i}.{P}', 'norm{i}.{P}'),
    ('absolute_pos_embed', 'absolute_pos_embed'),
]
DECODER = 'transformer_decoder.layers.{i}.'
PREDICTIONS = [
    ('query_embed.weight', 'query_embed.weight'),
    ('class_embed.{P}', 'cls_embed.{P}'),
    ('mask_embed.layers.{i}.{P}', 'mask_embed.{2*i}.{P}'),
]
MASK2FORMER = [
    *PREDICTIONS,
    ('query_feat.weight', 'query_feat.weight'),
    ('static_query.weight', 'query_feat.weight'),  # older
    ('level_embed.weight', 'level_embed.weight'),
    ('input_proj.{i}.{P}', 'decoder_input_projs.{i}.{P}'),
    ('transformer_cross_attention_layers.{i}.multihead_attn.{R}', DECODER + 'cross_attn.attn.{R}'),
    ('transformer_self_attention_layers.{i}.self_attn.{R}', DECODER + 'self_attn.attn.{R}'),
    ('transformer_cross_attention_layers.{i}.norm.{P}', DECODER + 'norms.0.{P}'),
    ('transformer_self_attention_layers.{i}.norm.{P}', DECODER + 'norms.1.{P}'),
    ('transformer_ffn_layers.{i}.norm.{P}', DECODER + 'norms.2.{P}'),
    ('transformer_ffn_layers.{i}.linear1.{P}', DECODER + 'ffn.layers.0.0.{P}'),
    ('transformer_ffn_layers.{i}.linear2.{P}', DECODER + 'ffn.layers.1.{P}'),
    ('decoder_norm.{P}', 'transformer_decoder.post_norm.{P}'),
]


def transformer_rows(part: str, attentions: dict[str, str]) -> list[Row]:
    """Rows of the transformer that MaskFormer has from DETR.

    Args:
        part: 'encoder' or 'decoder'.
        attentions: its attentions, our names by the official ones.
    """
    theirs, ours = f'transformer.{part}.layers.{{i}}.', 'layers.{i}.'
    return [
        *((f'{theirs}{name}.{{R}}', f'{ours}{own}.{{R}}') for name, own in attentions.items()),
        (theirs + 'linear1.{P}', ours + 'ffn.layers.0.0.{P}'),
        (theirs + 'linear2.{P}', ours + 'ffn.layers.1.{P}'),
        (theirs + 'norm{j}.{P}', ours + 'norms.{j-1}.{P}'),
        (f'transformer.{part}.norm.{{P}}', 'post_norm.{P}'),
    ]


MASK_DINO_MARKS = (PREDICTOR + 'decoder.', PREDICTOR + '_bbox_embed.')
MASKFORMER_MARKS = (PREDICTOR + 'transformer.', PREDICTOR + 'weight')  # the latter: of the per-pixel baseline
ENCODER = dict(self_attn='self_attn.attn')
MASKFORMER = [
    *PREDICTIONS,
    ('input_proj.{P}', 'decoder_input_proj.{P}'),
    *below('', 'transformer_decoder.encoder.', transformer_rows('encoder', ENCODER)),
    *below(
        '',
        'transformer_decoder.',
        transformer_rows('decoder', dict(self_attn='self_attn.attn', multihead_attn='cross_attn.attn')),
    ),
    ('{P}', 'conv_seg.{P}'),  # of the per-pixel baseline, which has nothing else here
]
MASK_DINO = [
    *PREDICTIONS,
    ('query_feat.weight', 'query_feat.weight'),
    ('label_enc.weight', 'label_embed.weight'),
    ('input_proj.{i}.{P}', 'decoder_input_projs.{i}.{P}'),
    ('enc_output.{P}', 'memory_trans_fc.{P}'),
    ('enc_output_norm.{P}', 'memory_trans_norm.{P}'),
    ('_bbox_embed.layers.{i}.{P}', 'box_embed.{2*i}.{P}'),  # one module that is stored for every layer, twice
    ('bbox_embed.{j}.layers.{i}.{P}', 'box_embed.{2*i}.{P}'),
    ('decoder.bbox_embed.{j}.layers.{i}.{P}', 'box_embed.{2*i}.{P}'),
    ('decoder_norm.{P}', 'transformer_decoder.post_norm.{P}'),
    ('decoder.norm.{P}', 'transformer_decoder.post_norm.{P}'),  # the same module
    ('decoder.ref_point_head.layers.{i}.{P}', 'transformer_decoder.ref_point_head.{2*i}.{P}'),
    ('decoder.layers.{i}.cross_attn.{R}', DECODER + 'cross_attn.{R}'),
    ('decoder.layers.{i}.self_attn.{R}', DECODER + 'self_attn.attn.{R}'),
    ('decoder.layers.{i}.norm2.{P}', DECODER + 'norms.0.{P}'),
    ('decoder.layers.{i}.norm1.{P}', DECODER + 'norms.1.{P}'),
    ('decoder.layers.{i}.norm3.{P}', DECODER + 'norms.2.{P}'),
    ('decoder.layers.{i}.linear1.{P}', DECODER + 'ffn.layers.0.0.{P}'),
    ('decoder.layers.{i}.linear2.{P}', DECODER + 'ffn.layers.1.{P}'),
]
TRANSFORMERS = dict(mask2former=MASK2FORMER, maskformer=MASKFORMER, mask_dino=MASK_DINO)
DEFORMABLE_ENCODER = [
    ('input_proj.{i}.0.{P}', 'input_convs.{i}.conv.{P}'),
    ('input_proj.{i}.1.{P}', 'input_convs.{i}.gn.{P}'),
    ('transformer.level_embed', 'level_encoding.weight'),
    *below('', 'encoder.', transformer_rows('encoder', dict(self_attn='self_attn'))),
]
PLAIN_ENCODER = [
    ('input_proj.{P}', 'encoder_in_proj.{P}'),
    *below('', 'encoder.', transformer_rows('encoder', ENCODER)),
]


class Variant(NamedTuple):
    """What the tables depend on.

    Args:
        deep_stem: three convolutions in the stem of the ResNet.
        num_fpn: FPN steps of the pixel decoder.
        encoder: of the pixel decoder: 'deformable', 'plain' or none, ''.
        transformer: whose transformer decoder, a key of ``TRANSFORMERS``; a per-pixel baseline's is MaskFormer's.
    """

    deep_stem: bool
    num_fpn: int
    encoder: str
    transformer: str

    def table(self, head: str) -> list[Row]:
        """Rows of whole names.

        Args:
            head: the model's attribute that holds the head.
        """
        return [
            *below('backbone.', 'backbone.', backbone_rows(self.deep_stem)),
            *below(PIXEL_DECODER, f'{head}.pixel_decoder.', pixel_decoder_rows(self.num_fpn, self.encoder)),
            *below(PREDICTOR, f'{head}.', TRANSFORMERS[self.transformer]),
        ]


def backbone_rows(deep_stem: bool) -> list[Row]:
    """Rows of a ResNet, whose stem has three convolutions if ``deep_stem``, otherwise one."""
    return (DEEP_STEM if deep_stem else STEM) + BACKBONE


def pixel_decoder_rows(num_fpn: int, encoder: str) -> list[Row]:
    """Rows of any of the three pixel decoders, see ``Variant``.

    The official names count FPN steps from fine to coarse; so do MMDetection's in the plain FPN, and from coarse to
    fine in the deformable one.
    """
    level = f'{{{num_fpn}-i}}' if encoder == 'deformable' else '{i-1}'
    coarsest = 'encoder_out_proj' if encoder else 'last_feat_conv'
    rows = (
        DEFORMABLE_ENCODER
        if encoder == 'deformable'
        else [
            *(PLAIN_ENCODER if encoder else []),
            (f'layer_{num_fpn + 1}.norm.{{P}}', coarsest + '.gn.{P}'),
            (f'layer_{num_fpn + 1}.{{P}}', coarsest + '.conv.{P}'),
        ]
    )
    return rows + [
        ('adapter_{i}.norm.{P}', f'lateral_convs.{level}.gn.{{P}}'),
        ('adapter_{i}.{P}', f'lateral_convs.{level}.conv.{{P}}'),
        ('layer_{i}.norm.{P}', f'output_convs.{level}.gn.{{P}}'),
        ('layer_{i}.{P}', f'output_convs.{level}.conv.{{P}}'),
        ('mask_features.{P}', 'mask_feature.{P}'),
    ]


def to_openmmlab(state_dict: dict[str, Tensor], head: str = 'panoptic_head') -> dict[str, Tensor]:
    """Official weights under the names of MMDetection and of this package, for image and video models.

    Args:
        state_dict: weights by name, newer or older (``static_query``; no ``pixel_decoder.``); those of the criterion
            and the pixel mean are left out.
        head: the model's attribute that holds the head: ``panoptic_head`` (MMDetection), ``decode_head``
            (MMSegmentation).

    Raises:
        KeyError: names the keys that belong to none of the three methods.
    """
    keys = _newest_names(state_dict)
    return translate_weights(
        {new: state_dict[key] for key, new in keys.items()}, variant_of(keys.values()).table(head), SOURCE
    )


def from_openmmlab(state_dict: dict[str, Tensor], head: str = 'panoptic_head') -> dict[str, Tensor]:
    """The inverse of ``to_openmmlab``: weights as the official code loads them, in its newer names and with its
    versions as ``_metadata``, which ``torch.save`` keeps.

    Raises:
        KeyError: names the keys that the official models have no place for.
    """
    laterals = {name.split('.')[3] for name in state_dict if name.startswith(f'{head}.pixel_decoder.lateral_convs.')}
    marks = dict(deformable='level_encoding.weight', plain='encoder_in_proj.weight')
    encoder = next((kind for kind, mark in marks.items() if f'{head}.pixel_decoder.{mark}' in state_dict), '')
    transformer = (
        'mask_dino'
        if f'{head}.box_embed.0.weight' in state_dict
        else 'mask2former'
        if f'{head}.level_embed.weight' in state_dict
        else 'maskformer'
    )
    variant = Variant('backbone.stem.0.weight' in state_dict, len(laterals), encoder, transformer)
    source = f'what the official models have under {head}'
    state = OrderedDict(translate_weights(state_dict, variant.table(head), source, backwards=True))
    if transformer == 'mask_dino':
        layers = {name.split('.')[3] for name in state_dict if name.startswith(f'{head}.transformer_decoder.layers.')}
        state.update(shared_modules(state, len(layers)))
    # Without a version the official head takes the names for its older ones, and renames them once more.
    state._metadata = OrderedDict((module.rstrip('.'), dict(version=2)) for module in ('sem_seg_head', PREDICTOR))
    return state


def shared_modules(state: dict[str, Tensor], num_layers: int) -> dict[str, Tensor]:
    """The names under which Mask DINO's code stores its one box head and one norm once more."""
    boxes, norm = PREDICTOR + '_bbox_embed.', PREDICTOR + 'decoder_norm.'
    again = {
        PREDICTOR + 'decoder.norm.' + key[len(norm) :]: value for key, value in state.items() if key.startswith(norm)
    }
    for owner in ('bbox_embed', 'decoder.bbox_embed'):
        again.update(
            (f'{PREDICTOR}{owner}.{layer}.{key[len(boxes) :]}', value)
            for layer in range(num_layers)
            for key, value in state.items()
            if key.startswith(boxes)
        )
    return again


def backbone_to_openmmlab(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """A backbone's own file, detectron2's ResNet or the original Swin: keys without a prefix on both sides.

    Raises:
        KeyError: names the keys that belong to neither.
    """
    return translate_weights(
        state_dict, backbone_rows('stem.conv2.weight' in state_dict), "detectron2's or Swin's backbones"
    )


def key_map(keys: Iterable[str], head: str = 'panoptic_head') -> dict[str, str]:
    """Official key to ours.

    Args, Raises: as for ``to_openmmlab``.
    """
    newest = _newest_names(keys)
    names = rename(newest.values(), variant_of(newest.values()).table(head), SOURCE)
    return {key: names[new] for key, new in newest.items()}


def variant_of(keys: Iterable[str]) -> Variant:
    """Of official keys, in their newest form."""
    keys = set(keys)
    adapters = {key.split('.')[2] for key in keys if key.startswith(PIXEL_DECODER + 'adapter_')}
    marks = dict(deformable='transformer.level_embed', plain='input_proj.weight')
    encoder = next((kind for kind, mark in marks.items() if PIXEL_DECODER + mark in keys), '')
    transformer = (
        'mask_dino'
        if any(key.startswith(MASK_DINO_MARKS) for key in keys)
        else 'maskformer'
        if any(key.startswith(MASKFORMER_MARKS) for key in keys)
        else 'mask2former'
    )
    return Variant('backbone.stem.conv2.weight' in keys, len(adapters), encoder, transformer)


def _newest_names(keys: Iterable[str]) -> dict[str, str]:
    """The newest form of each key that belongs to the network: in the first versions the pixel decoder was no module
    of its own, its keys stood directly under ``sem_seg_head``."""

    def newest(key: str) -> str:
        if key.startswith('sem_seg_head.') and not key.startswith((PIXEL_DECODER, PREDICTOR)):
            return PIXEL_DECODER + key[len('sem_seg_head.') :]
        return key

    return {key: newest(key) for key in keys if not key.startswith(IGNORED)}
