"""The names of Hugging Face's ``Mask2FormerForUniversalSegmentation``, and MMDetection's.

One table; ``to_openmmlab`` works on the keys alone and needs neither a model nor ``transformers``. It reads the names
of the files on the hub and those that transformers 5 gives its modules. Backbones: Swin, Hugging Face's ResNet and
timm's ResNet.
Facts: huggingface/transformers, ``models/mask2former``, ``models/swin`` and ``models/resnet``.
"""

import re
from collections.abc import Iterable

import torch
from torch import Tensor

from .tables import Row, reorder_patch_merging, translate_keys

# Queries, keys and values are three layers there and one here: PART names the place in the concatenation.
PART = '#'
PARTS = {'q': 0, 'k': 1, 'v': 2, 'query': 0, 'key': 1, 'value': 2}

RESNET: list[Row] = [
    (r'_backbone\.(.+)', r'\1'),  # timm's names are torchvision's, and so are ours
    (r'embedder\.embedder\.convolution\.weight', 'conv1.weight'),
    (r'embedder\.embedder\.normalization\.(\w+)', r'bn1.\1'),
    (
        r'encoder\.stages\.(\d)\.layers\.(\d+)\.shortcut\.convolution\.weight',
        lambda m: f'layer{int(m[1]) + 1}.{m[2]}.downsample.0.weight',
    ),
    (
        r'encoder\.stages\.(\d)\.layers\.(\d+)\.shortcut\.normalization\.(\w+)',
        lambda m: f'layer{int(m[1]) + 1}.{m[2]}.downsample.1.{m[3]}',
    ),
    (
        r'encoder\.stages\.(\d)\.layers\.(\d+)\.layer\.(\d)\.convolution\.weight',
        lambda m: f'layer{int(m[1]) + 1}.{m[2]}.conv{int(m[3]) + 1}.weight',
    ),
    (
        r'encoder\.stages\.(\d)\.layers\.(\d+)\.layer\.(\d)\.normalization\.(\w+)',
        lambda m: f'layer{int(m[1]) + 1}.{m[2]}.bn{int(m[3]) + 1}.{m[4]}',
    ),
]
BLOCK = r'(?:swin\.)?encoder\.layers\.(\d)\.blocks\.(\d+)\.'
SWIN: list[Row] = [
    (r'(?:swin\.)?embeddings\.patch_embeddings\.projection\.(\w+)', r'patch_embed.projection.\1'),
    (r'(?:swin\.)?embeddings\.norm\.(\w+)', r'patch_embed.norm.\1'),
    (r'(?:swin\.)?embeddings\.position_embeddings', 'absolute_pos_embed'),
    (
        BLOCK + r'attention\.(?:self\.)?(?:([qkv])_proj|(query|key|value))\.(\w+)',
        lambda m: f'stages.{m[1]}.blocks.{m[2]}.attn.w_msa.qkv.{m[5]}{PART}{PARTS[m[3] or m[4]]}',
    ),
    (BLOCK + r'attention\.(?:o_proj|output\.dense)\.(\w+)', r'stages.\1.blocks.\2.attn.w_msa.proj.\3'),
    (
        BLOCK + r'attention\.(?:self\.|relative_position_bias\.)?relative_position_bias_table',
        r'stages.\1.blocks.\2.attn.w_msa.relative_position_bias_table',
    ),
    (BLOCK + r'layernorm_before\.(\w+)', r'stages.\1.blocks.\2.norm1.\3'),
    (BLOCK + r'layernorm_after\.(\w+)', r'stages.\1.blocks.\2.norm2.\3'),
    (BLOCK + r'(?:mlp\.fc1|intermediate\.dense)\.(\w+)', r'stages.\1.blocks.\2.ffn.layers.0.0.\3'),
    (BLOCK + r'(?:mlp\.fc2|output\.dense)\.(\w+)', r'stages.\1.blocks.\2.ffn.layers.1.\3'),
    (r'(?:swin\.)?encoder\.layers\.(\d)\.(downsample\.\w+\.\w+)', r'stages.\1.\2'),
    (r'hidden_states_norms\.stage(\d)\.(\w+)', lambda m: f'norm{int(m[1]) - 1}.{m[2]}'),
]
ENCODER = r'encoder\.layers\.(\d+)\.'
PIXEL_DECODER: list[Row] = [
    (r'level_embed', 'level_encoding.weight'),
    (r'input_projections\.(\d)\.0\.(\w+)', r'input_convs.\1.conv.\2'),
    (r'input_projections\.(\d)\.1\.(\w+)', r'input_convs.\1.gn.\2'),
    (ENCODER + r'self_attn\.(.+)', r'encoder.layers.\1.self_attn.\2'),
    (ENCODER + r'self_attn_layer_norm\.(\w+)', r'encoder.layers.\1.norms.0.\2'),
    (ENCODER + r'fc1\.(\w+)', r'encoder.layers.\1.ffn.layers.0.0.\2'),
    (ENCODER + r'fc2\.(\w+)', r'encoder.layers.\1.ffn.layers.1.\2'),
    (ENCODER + r'final_layer_norm\.(\w+)', r'encoder.layers.\1.norms.1.\2'),
    (r'adapter_1\.0\.weight', 'lateral_convs.0.conv.weight'),
    (r'adapter_1\.1\.(\w+)', r'lateral_convs.0.gn.\1'),
    (r'layer_1\.0\.weight', 'output_convs.0.conv.weight'),
    (r'layer_1\.1\.(\w+)', r'output_convs.0.gn.\1'),
    (r'mask_projection\.(\w+)', r'mask_feature.\1'),
]
DECODER = r'decoder\.layers\.(\d+)\.'
TRANSFORMER: list[Row] = [
    (r'queries_features\.weight', 'query_feat.weight'),
    (r'queries_embedder\.weight', 'query_embed.weight'),
    (r'level_embed\.weight', 'level_embed.weight'),
    (r'input_projections\.(\d)\.(\w+)', r'decoder_input_projs.\1.\2'),
    (DECODER + r'cross_attn\.(.+)', r'transformer_decoder.layers.\1.cross_attn.attn.\2'),
    (
        DECODER + r'self_attn\.([qkv])_proj\.(\w+)',
        lambda m: f'transformer_decoder.layers.{m[1]}.self_attn.attn.in_proj_{m[3]}{PART}{PARTS[m[2]]}',
    ),
    (DECODER + r'self_attn\.out_proj\.(\w+)', r'transformer_decoder.layers.\1.self_attn.attn.out_proj.\2'),
    (DECODER + r'cross_attn_layer_norm\.(\w+)', r'transformer_decoder.layers.\1.norms.0.\2'),
    (DECODER + r'self_attn_layer_norm\.(\w+)', r'transformer_decoder.layers.\1.norms.1.\2'),
    (DECODER + r'final_layer_norm\.(\w+)', r'transformer_decoder.layers.\1.norms.2.\2'),
    (DECODER + r'fc1\.(\w+)', r'transformer_decoder.layers.\1.ffn.layers.0.0.\2'),
    (DECODER + r'fc2\.(\w+)', r'transformer_decoder.layers.\1.ffn.layers.1.\2'),
    (r'decoder\.layernorm\.(\w+)', r'transformer_decoder.post_norm.\1'),
    (r'decoder\.mask_predictor\.mask_embedder\.(\d)\.0\.(\w+)', lambda m: f'mask_embed.{2 * int(m[1])}.{m[2]}'),
]
IGNORED = re.compile(r'criterion\.|.*relative_position_index$|model\.pixel_level_module\.encoder\.(swin\.)?layernorm\.')


def to_openmmlab(state_dict: dict[str, Tensor], head: str = 'panoptic_head') -> dict[str, Tensor]:
    """Hugging Face's weights under the names of MMDetection and of this package; see ``key_map``."""
    result: dict[str, Tensor] = {}
    parts: dict[str, list[tuple[str, Tensor]]] = {}
    for key, name in key_map(state_dict, head).items():
        name, _, part = name.partition(PART)
        if part:
            parts.setdefault(name, []).append((part, state_dict[key]))
        elif '.encoder.layers.' in key and '.downsample.' in key:
            result[name] = reorder_patch_merging(state_dict[key])
        else:
            result[name] = state_dict[key]
    for name, values in parts.items():
        result[name] = torch.cat([value for _, value in sorted(values, key=lambda item: item[0])])
    return result


def key_map(keys: Iterable[str], head: str = 'panoptic_head') -> dict[str, str]:
    """Hugging Face's key to ours; ``#0``, ``#1``, ``#2`` behind a name are the parts that it is put together from.

    Args:
        keys: all keys of a checkpoint; those of the criterion and of Swin's unused last norm are left out.
        head: the model's attribute that holds the head: ``panoptic_head`` (MMDetection), ``decode_head``
            (MMSegmentation).

    Raises:
        KeyError: names the keys that are not those of a Mask2Former with a ResNet or Swin backbone.
    """
    tables = {
        'model.pixel_level_module.encoder.': ('backbone.', RESNET + SWIN),
        'model.pixel_level_module.decoder.': (f'{head}.pixel_decoder.', PIXEL_DECODER),
        'model.transformer_module.': (f'{head}.', TRANSFORMER),
        'class_predictor.': (f'{head}.cls_embed.', [(r'(\w+)', r'\1')]),
    }
    wanted = (key for key in keys if not IGNORED.match(key))
    return translate_keys(wanted, tables, "Hugging Face's Mask2Former with a ResNet or Swin backbone")
