"""The official (detectron2) names of Mask2Former's weights, and MMDetection's, in both directions.

``to_openmmlab`` and ``from_openmmlab`` work on the keys alone and need no model.
Facts: facebookresearch/Mask2Former, the state dicts of its models.
"""
from collections import OrderedDict
from collections.abc import Iterable

from torch import Tensor

from .tables import reorder_patch_merging, restore_patch_merging, translate_templates

PIXEL_DECODER = 'sem_seg_head.pixel_decoder.'
PREDICTOR = 'sem_seg_head.predictor.'
IGNORED = ('criterion.', 'pixel_mean', 'pixel_std')
SOURCE = 'an official Mask2Former (detectron2)'

BACKBONE = [
    ('stem.conv1.weight', 'conv1.weight'),
    ('stem.conv1.norm.{P}', 'bn1.{P}'),
    ('res{i}.{j}.shortcut.weight', 'layer{i-1}.{j}.downsample.0.weight'),
    ('res{i}.{j}.shortcut.norm.{P}', 'layer{i-1}.{j}.downsample.1.{P}'),
    ('res{i}.{j}.conv{k}.weight', 'layer{i-1}.{j}.conv{k}.weight'),
    ('res{i}.{j}.conv{k}.norm.{P}', 'layer{i-1}.{j}.bn{k}.{P}'),
    ('patch_embed.proj.{P}', 'patch_embed.projection.{P}'),
    ('layers.{i}.blocks.{j}.attn.{R}', 'stages.{i}.blocks.{j}.attn.w_msa.{R}'),
    ('layers.{i}.blocks.{j}.mlp.fc1.{P}', 'stages.{i}.blocks.{j}.ffn.layers.0.0.{P}'),
    ('layers.{i}.blocks.{j}.mlp.fc2.{P}', 'stages.{i}.blocks.{j}.ffn.layers.1.{P}'),
    ('layers.{i}.{R}', 'stages.{i}.{R}'),
    ('patch_embed.norm.{P}', 'patch_embed.norm.{P}'),
    ('norm{i}.{P}', 'norm{i}.{P}'),
    ('absolute_pos_embed', 'absolute_pos_embed'),
]
DECODER = 'transformer_decoder.layers.{i}.'
TRANSFORMER = [
    ('query_feat.weight', 'query_feat.weight'),
    ('static_query.weight', 'query_feat.weight'),  # older; the first of two pairs is the way back
    ('query_embed.weight', 'query_embed.weight'),
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
    ('class_embed.{P}', 'cls_embed.{P}'),
    ('mask_embed.layers.{i}.{P}', 'mask_embed.{2*i}.{P}'),
]


def pixel_decoder_rows(num_fpn: int, deformable: bool) -> list[tuple[str, str]]:
    """Rows of either pixel decoder.

    Args:
        num_fpn: its FPN steps. The official names count them from fine to coarse; so do MMDetection's in the plain
            FPN, and from coarse to fine in the deformable one.
        deformable: MSDeformAttn; otherwise the plain FPN.
    """
    level = f'{{{num_fpn}-i}}' if deformable else '{i-1}'
    encoder = 'transformer.encoder.layers.{i}.'
    rows = [
        ('input_proj.{i}.0.{P}', 'input_convs.{i}.conv.{P}'),
        ('input_proj.{i}.1.{P}', 'input_convs.{i}.gn.{P}'),
        ('transformer.level_embed', 'level_encoding.weight'),
        (encoder + 'self_attn.{R}', 'encoder.layers.{i}.self_attn.{R}'),
        (encoder + 'linear1.{P}', 'encoder.layers.{i}.ffn.layers.0.0.{P}'),
        (encoder + 'linear2.{P}', 'encoder.layers.{i}.ffn.layers.1.{P}'),
        (encoder + 'norm{j}.{P}', 'encoder.layers.{i}.norms.{j-1}.{P}'),
    ] if deformable else [
        (f'layer_{num_fpn + 1}.norm.{{P}}', 'last_feat_conv.gn.{P}'),
        (f'layer_{num_fpn + 1}.{{P}}', 'last_feat_conv.conv.{P}'),
    ]
    return rows + [
        ('adapter_{i}.norm.{P}', f'lateral_convs.{level}.gn.{{P}}'),
        ('adapter_{i}.{P}', f'lateral_convs.{level}.conv.{{P}}'),
        ('layer_{i}.norm.{P}', f'output_convs.{level}.gn.{{P}}'),
        ('layer_{i}.{P}', f'output_convs.{level}.conv.{{P}}'),
        ('mask_features.{P}', 'mask_feature.{P}'),
    ]


def to_openmmlab(state_dict: dict[str, Tensor], head: str = 'panoptic_head') -> dict[str, Tensor]:
    """Official weights under the names of MMDetection and of this package; see ``key_map``."""
    return {name: reorder_patch_merging(state_dict[key]) if '.downsample.' in key else state_dict[key]
            for key, name in key_map(state_dict, head).items()}


def from_openmmlab(state_dict: dict[str, Tensor], head: str = 'panoptic_head') -> dict[str, Tensor]:
    """The inverse of ``to_openmmlab``: weights as the official code loads them, in its newer names and with its
    versions as ``_metadata``, which ``torch.save`` keeps.

    Raises:
        KeyError: names the keys that the official models have no place for.
    """
    laterals = {name.split('.')[3] for name in state_dict if name.startswith(f'{head}.pixel_decoder.lateral_convs.')}
    deformable = any(name.startswith(f'{head}.pixel_decoder.encoder.') for name in state_dict)
    names = translate_templates(state_dict, _tables(head, len(laterals), deformable),
                                f'what the official models have under {head}', backwards=True)
    state = OrderedDict(
        (key, restore_patch_merging(state_dict[name])
         if key.startswith('backbone.layers.') and '.downsample.' in key else state_dict[name])
        for name, key in names.items())
    # Without a version the official head takes the names for its older ones, and renames them once more.
    state._metadata = OrderedDict((module.rstrip('.'), dict(version=2)) for module in ('sem_seg_head', PREDICTOR))
    return state


def backbone_to_openmmlab(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """A backbone's own file, detectron2's ResNet or the original Swin: keys without a prefix on both sides."""
    names = translate_templates(state_dict, {'': ('', BACKBONE)}, "detectron2's or Swin's backbones")
    return {name: reorder_patch_merging(state_dict[key]) if '.downsample.' in key else state_dict[key]
            for key, name in names.items()}


def key_map(keys: Iterable[str], head: str = 'panoptic_head') -> dict[str, str]:
    """Official key to ours, for image and video models, newer and older keys (``static_query``; no
    ``pixel_decoder.``).

    Args:
        keys: all keys of a checkpoint; those of the criterion and the pixel mean are left out.
        head: the model's attribute that holds the head: ``panoptic_head`` (MMDetection), ``decode_head``
            (MMSegmentation).

    Raises:
        KeyError: names the keys that are not Mask2Former's.
    """
    modern = {_modern(key): key for key in keys if not key.startswith(IGNORED)}
    adapters = {name.split('.')[2] for name in modern if name.startswith(PIXEL_DECODER + 'adapter_')}
    deformable = any(name.startswith(PIXEL_DECODER + 'transformer.') for name in modern)
    mapped = translate_templates(modern, _tables(head, len(adapters), deformable), SOURCE)
    return {modern[name]: ours for name, ours in mapped.items()}


def _tables(head: str, num_fpn: int, deformable: bool) -> dict[str, tuple[str, list[tuple[str, str]]]]:
    return {
        'backbone.': ('backbone.', BACKBONE),
        PIXEL_DECODER: (f'{head}.pixel_decoder.', pixel_decoder_rows(num_fpn, deformable)),
        PREDICTOR: (f'{head}.', TRANSFORMER)
    }


def _modern(key: str) -> str:
    """Keys from before the pixel decoder had a module of its own."""
    if key.startswith('sem_seg_head.') and not key.startswith((PIXEL_DECODER, PREDICTOR)):
        return PIXEL_DECODER + key[len('sem_seg_head.'):]
    return key
