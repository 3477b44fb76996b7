"""The official (detectron2) names of Mask2Former's weights, and MMDetection's.

``to_openmmlab`` works on the keys alone and needs no model.
Facts: facebookresearch/Mask2Former, the state dicts of its models.
"""
from collections.abc import Iterable

from torch import Tensor

from .tables import Row, reorder_patch_merging, translate_keys

PIXEL_DECODER = 'sem_seg_head.pixel_decoder.'
PREDICTOR = 'sem_seg_head.predictor.'
IGNORED = ('criterion.', 'pixel_mean', 'pixel_std')


def _stage(rest: str):
    """The official stages res2 to res5 are OpenMMLab's layer1 to layer4; groups 2, 3, ... go into ``rest``."""
    return lambda match: f'layer{int(match[1]) - 1}.' + rest.format(*match.groups()[1:])


BACKBONE: list[Row] = [
    (r'stem\.conv1\.weight', r'conv1.weight'),
    (r'stem\.conv1\.norm\.(\w+)', r'bn1.\1'),
    (r'res(\d)\.(\d+)\.shortcut\.weight', _stage('{}.downsample.0.weight')),
    (r'res(\d)\.(\d+)\.shortcut\.norm\.(\w+)', _stage('{}.downsample.1.{}')),
    (r'res(\d)\.(\d+)\.conv(\d)\.weight', _stage('{}.conv{}.weight')),
    (r'res(\d)\.(\d+)\.conv(\d)\.norm\.(\w+)', _stage('{}.bn{}.{}')),
    (r'patch_embed\.proj\.(\w+)', r'patch_embed.projection.\1'),
    (r'layers\.(\d)\.blocks\.(\d+)\.attn\.(.+)', r'stages.\1.blocks.\2.attn.w_msa.\3'),
    (r'layers\.(\d)\.blocks\.(\d+)\.mlp\.fc1\.(\w+)', r'stages.\1.blocks.\2.ffn.layers.0.0.\3'),
    (r'layers\.(\d)\.blocks\.(\d+)\.mlp\.fc2\.(\w+)', r'stages.\1.blocks.\2.ffn.layers.1.\3'),
    (r'layers\.(\d)\.(.+)', r'stages.\1.\2'),
    (r'((?:patch_embed\.norm|norm\d)\.\w+|absolute_pos_embed)', r'\1'),
]
TRANSFORMER: list[Row] = [
    (r'static_query\.weight', r'query_feat.weight'),
    (r'(query_feat|query_embed|level_embed)\.weight', r'\1.weight'),
    (r'input_proj\.(\d+)\.(\w+)', r'decoder_input_projs.\1.\2'),
    (r'transformer_cross_attention_layers\.(\d+)\.multihead_attn\.(.+)',
     r'transformer_decoder.layers.\1.cross_attn.attn.\2'),
    (r'transformer_self_attention_layers\.(\d+)\.self_attn\.(.+)', r'transformer_decoder.layers.\1.self_attn.attn.\2'),
    (r'transformer_cross_attention_layers\.(\d+)\.norm\.(\w+)', r'transformer_decoder.layers.\1.norms.0.\2'),
    (r'transformer_self_attention_layers\.(\d+)\.norm\.(\w+)', r'transformer_decoder.layers.\1.norms.1.\2'),
    (r'transformer_ffn_layers\.(\d+)\.norm\.(\w+)', r'transformer_decoder.layers.\1.norms.2.\2'),
    (r'transformer_ffn_layers\.(\d+)\.linear1\.(\w+)', r'transformer_decoder.layers.\1.ffn.layers.0.0.\2'),
    (r'transformer_ffn_layers\.(\d+)\.linear2\.(\w+)', r'transformer_decoder.layers.\1.ffn.layers.1.\2'),
    (r'decoder_norm\.(\w+)', r'transformer_decoder.post_norm.\1'),
    (r'class_embed\.(\w+)', r'cls_embed.\1'),
    (r'mask_embed\.layers\.(\d)\.(\w+)', lambda m: f'mask_embed.{2 * int(m[1])}.{m[2]}'),
]


def pixel_decoder_rows(num_fpn: int, deformable: bool) -> list[Row]:
    """Rows of either pixel decoder.

    Args:
        num_fpn: its FPN steps. The official names count them from fine to coarse; so do MMDetection's in the plain
            FPN, and from coarse to fine in the deformable one.
        deformable: MSDeformAttn; otherwise the plain FPN.
    """
    def fpn(convs: str, part: str):
        def name(match) -> str:
            level = num_fpn - int(match[1]) if deformable else int(match[1]) - 1
            return f'{convs}.{level}.{part}.{match[2]}'
        return name

    rows: list[Row] = [
        (r'input_proj\.(\d+)\.0\.(\w+)', r'input_convs.\1.conv.\2'),
        (r'input_proj\.(\d+)\.1\.(\w+)', r'input_convs.\1.gn.\2'),
        (r'transformer\.level_embed', r'level_encoding.weight'),
        (r'transformer\.encoder\.layers\.(\d+)\.self_attn\.(.+)', r'encoder.layers.\1.self_attn.\2'),
        (r'transformer\.encoder\.layers\.(\d+)\.linear1\.(\w+)', r'encoder.layers.\1.ffn.layers.0.0.\2'),
        (r'transformer\.encoder\.layers\.(\d+)\.linear2\.(\w+)', r'encoder.layers.\1.ffn.layers.1.\2'),
        (r'transformer\.encoder\.layers\.(\d+)\.norm(\d)\.(\w+)',
         lambda m: f'encoder.layers.{m[1]}.norms.{int(m[2]) - 1}.{m[3]}'),
    ] if deformable else [
        (rf'layer_{num_fpn + 1}\.norm\.(\w+)', r'last_feat_conv.gn.\1'),
        (rf'layer_{num_fpn + 1}\.(\w+)', r'last_feat_conv.conv.\1'),
    ]
    return rows + [
        (r'adapter_(\d)\.norm\.(\w+)', fpn('lateral_convs', 'gn')),
        (r'adapter_(\d)\.(\w+)', fpn('lateral_convs', 'conv')),
        (r'layer_(\d)\.norm\.(\w+)', fpn('output_convs', 'gn')),
        (r'layer_(\d)\.(\w+)', fpn('output_convs', 'conv')),
        (r'mask_features\.(\w+)', r'mask_feature.\1'),
    ]


def to_openmmlab(state_dict: dict[str, Tensor], head: str = 'panoptic_head') -> dict[str, Tensor]:
    """Official weights under the names of MMDetection and of this package; see ``key_map``."""
    return _renamed(state_dict, key_map(state_dict, head))


def backbone_to_openmmlab(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """A backbone's own file, detectron2's ResNet or the original Swin: keys without a prefix on both sides."""
    return _renamed(state_dict, translate_keys(state_dict, {'': ('', BACKBONE)}, "detectron2's or Swin's backbones"))


def _renamed(state_dict: dict[str, Tensor], names: dict[str, str]) -> dict[str, Tensor]:
    return {
        name: reorder_patch_merging(state_dict[key]) if '.downsample.' in key else state_dict[key]
        for key, name in names.items()
    }


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
    tables = {
        'backbone.': ('backbone.', BACKBONE),
        PIXEL_DECODER: (f'{head}.pixel_decoder.', pixel_decoder_rows(len(adapters), deformable)),
        PREDICTOR: (f'{head}.', TRANSFORMER)
    }
    mapped = translate_keys(modern, tables, 'an official Mask2Former (detectron2)')
    return {modern[name]: ours for name, ours in mapped.items()}


def _modern(key: str) -> str:
    """Keys from before the pixel decoder had a module of its own."""
    if key.startswith('sem_seg_head.') and not key.startswith((PIXEL_DECODER, PREDICTOR)):
        return PIXEL_DECODER + key[len('sem_seg_head.'):]
    return key
