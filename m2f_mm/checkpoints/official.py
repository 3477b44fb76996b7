"""The official (detectron2) names of Mask2Former's weights, and MMDetection's.

One table, read from the official side; ``to_openmmlab`` works on the keys alone and needs no model.
Facts: facebookresearch/Mask2Former, the state dicts of its models; see ``docs/architecture.md`` for the whole map.
"""
import re
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

PIXEL_DECODER = 'sem_seg_head.pixel_decoder.'
PREDICTOR = 'sem_seg_head.predictor.'

# pattern of the official key after its prefix, our name after ours
BACKBONE: list[tuple[str, str]] = [
    (r'stem\.conv1\.weight', r'conv1.weight'),
    (r'stem\.conv1\.norm\.(\w+)', r'bn1.\1'),
    (r'res(\d)\.(\d+)\.shortcut\.weight', r'layer{1-1}.\2.downsample.0.weight'),
    (r'res(\d)\.(\d+)\.shortcut\.norm\.(\w+)', r'layer{1-1}.\2.downsample.1.\3'),
    (r'res(\d)\.(\d+)\.conv(\d)\.weight', r'layer{1-1}.\2.conv\3.weight'),
    (r'res(\d)\.(\d+)\.conv(\d)\.norm\.(\w+)', r'layer{1-1}.\2.bn\3.\4'),
    (r'patch_embed\.proj\.(\w+)', r'patch_embed.projection.\1'),
    (r'layers\.(\d)\.blocks\.(\d+)\.attn\.(.+)', r'stages.\1.blocks.\2.attn.w_msa.\3'),
    (r'layers\.(\d)\.blocks\.(\d+)\.mlp\.fc1\.(\w+)', r'stages.\1.blocks.\2.ffn.layers.0.0.\3'),
    (r'layers\.(\d)\.blocks\.(\d+)\.mlp\.fc2\.(\w+)', r'stages.\1.blocks.\2.ffn.layers.1.\3'),
    (r'layers\.(\d)\.(.+)', r'stages.\1.\2'),
    (r'((?:patch_embed\.norm|norm\d)\.\w+|absolute_pos_embed)', r'\1'),
]
PIXEL_DECODER_KEYS: list[tuple[str, str]] = [
    (r'input_proj\.(\d+)\.0\.(\w+)', r'input_convs.\1.conv.\2'),
    (r'input_proj\.(\d+)\.1\.(\w+)', r'input_convs.\1.gn.\2'),
    (r'transformer\.level_embed', r'level_encoding.weight'),
    (r'transformer\.encoder\.layers\.(\d+)\.self_attn\.(.+)', r'encoder.layers.\1.self_attn.\2'),
    (r'transformer\.encoder\.layers\.(\d+)\.linear1\.(\w+)', r'encoder.layers.\1.ffn.layers.0.0.\2'),
    (r'transformer\.encoder\.layers\.(\d+)\.linear2\.(\w+)', r'encoder.layers.\1.ffn.layers.1.\2'),
    (r'transformer\.encoder\.layers\.(\d+)\.norm(\d)\.(\w+)', r'encoder.layers.\1.norms.{2-1}.\3'),
    (r'adapter_(\d)\.norm\.(\w+)', r'lateral_convs.{fpn}.gn.\2'),
    (r'adapter_(\d)\.(\w+)', r'lateral_convs.{fpn}.conv.\2'),
    (r'layer_(\d)\.norm\.(\w+)', r'output_convs.{fpn}.gn.\2'),
    (r'layer_(\d)\.(\w+)', r'output_convs.{fpn}.conv.\2'),
    (r'mask_features\.(\w+)', r'mask_feature.\1'),
]
FPN_PIXEL_DECODER_KEYS: list[tuple[str, str]] = [
    (r'adapter_(\d)\.norm\.(\w+)', r'lateral_convs.{1-1}.gn.\2'),
    (r'adapter_(\d)\.(\w+)', r'lateral_convs.{1-1}.conv.\2'),
    (r'layer_{last}\.norm\.(\w+)', r'last_feat_conv.gn.\1'),
    (r'layer_{last}\.(\w+)', r'last_feat_conv.conv.\1'),
    (r'layer_(\d)\.norm\.(\w+)', r'output_convs.{1-1}.gn.\2'),
    (r'layer_(\d)\.(\w+)', r'output_convs.{1-1}.conv.\2'),
    (r'mask_features\.(\w+)', r'mask_feature.\1'),
]
PREDICTOR_KEYS: list[tuple[str, str]] = [
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
    (r'mask_embed\.layers\.(\d)\.(\w+)', r'mask_embed.{1*2}.\2'),
]
COMPUTE: dict[str, Callable[[int], int]] = {'-1': lambda i: i - 1, '*2': lambda i: 2 * i}
IGNORED = ('criterion.', 'pixel_mean', 'pixel_std')


def to_openmmlab(state_dict: dict[str, Tensor], head: str = 'panoptic_head') -> dict[str, Tensor]:
    """Official weights under the names of MMDetection and of this package; see ``key_map``."""
    return {name: _reorder(key, state_dict[key]) for key, name in key_map(state_dict, head).items()}


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
    modern = {key: _modern(key) for key in keys if not key.startswith(IGNORED)}
    adapters = {key.split('.')[2] for key in modern.values() if key.startswith(PIXEL_DECODER + 'adapter_')}
    num_fpn = len(adapters)
    deformable = any(key.startswith(PIXEL_DECODER + 'transformer.') for key in modern.values())
    pixel_decoder = PIXEL_DECODER_KEYS if deformable else [
        (pattern.replace('{last}', str(num_fpn + 1)), name) for pattern, name in FPN_PIXEL_DECODER_KEYS]
    tables = {
        'backbone.': ('backbone.', BACKBONE),
        PIXEL_DECODER: (f'{head}.pixel_decoder.', pixel_decoder),
        PREDICTOR: (f'{head}.', PREDICTOR_KEYS)
    }
    mapped, unknown = {}, []
    for key, name in modern.items():
        prefix = next((prefix for prefix in tables if name.startswith(prefix)), None)
        translated = prefix and _translate(name[len(prefix):], tables[prefix][1], num_fpn)
        if translated:
            mapped[key] = tables[prefix][0] + translated
        else:
            unknown.append(key)
    if unknown:
        raise KeyError(f'{len(unknown)} keys are not those of an official Mask2Former: {", ".join(unknown[:8])}'
                       f'{", ..." if len(unknown) > 8 else ""}. Check that the file is a detectron2 checkpoint')
    return mapped


def _modern(key: str) -> str:
    """Keys from before the pixel decoder had a module of its own."""
    if key.startswith('sem_seg_head.') and not key.startswith((PIXEL_DECODER, PREDICTOR)):
        return PIXEL_DECODER + key[len('sem_seg_head.'):]
    return key


def _translate(key: str, table: list[tuple[str, str]], num_fpn: int) -> str | None:
    """The first matching row; ``{i-1}`` and ``{i*2}`` compute with group i, ``{fpn}`` counts FPN levels from
    coarse to fine where the official names count from fine to coarse. None without a match."""
    for pattern, name in table:
        match = re.fullmatch(pattern, key)
        if match:
            name = match.expand(name)
            if '{fpn}' in name:
                return name.replace('{fpn}', str(num_fpn - int(match[1])))
            return re.sub(r'\{(\d)(-1|\*2)\}',
                          lambda m, groups=match: str(COMPUTE[m[2]](int(groups[int(m[1])]))), name)
    return None


def _reorder(key: str, value: Tensor) -> Tensor:
    """Swin's patch merging: OpenMMLab unfolds, so its four sub-grids come channel-major and columns before rows."""
    if '.downsample.' not in key:
        return value
    groups = value.unflatten(-1, (4, -1))[..., torch.tensor([0, 2, 1, 3]), :]
    return groups.transpose(-1, -2).flatten(-2).contiguous()
