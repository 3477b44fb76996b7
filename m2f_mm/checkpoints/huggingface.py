"""The names of Hugging Face's ``Mask2FormerForUniversalSegmentation`` and ``MaskFormerForInstanceSegmentation``, and
MMDetection's, in both directions.

``to_openmmlab`` and ``from_openmmlab`` work on the keys alone and need neither a model nor ``transformers``. They read
the names of the files on the hub and those that transformers 5 gives its modules, and write the former, which every
version loads with ``from_pretrained``. Backbones: Swin, Hugging Face's ResNet and, to read, timm's ResNet. MaskFormer
has the pixel decoder without an encoder there.
Facts: huggingface/transformers, ``models/mask2former``, ``models/maskformer``, ``models/swin`` and ``models/resnet``.
"""

import re
from collections.abc import Iterable

from torch import Tensor

from .tables import PATCH_MERGING, Row, below, rename, translate_weights

RESNET: list[Row] = [
    ('embedder.embedder.convolution.weight', 'conv1.weight'),
    ('embedder.embedder.normalization.{P}', 'bn1.{P}'),
    *below(
        'encoder.stages.{i}.layers.{j}.',
        'layer{i+1}.{j}.',
        [
            ('shortcut.convolution.weight', 'downsample.0.weight'),
            ('shortcut.normalization.{P}', 'downsample.1.{P}'),
            ('layer.{k}.convolution.weight', 'conv{k+1}.weight'),
            ('layer.{k}.normalization.{P}', 'bn{k+1}.{P}'),
        ],
    ),
]
TIMM_RESNET: list[Row] = [('_backbone.{R}', '{R}')]  # its names are torchvision's, and so are ours
SWIN: list[Row] = [
    ('embeddings.patch_embeddings.projection.{P}', 'patch_embed.projection.{P}'),
    ('embeddings.norm.{P}', 'patch_embed.norm.{P}'),
    ('embeddings.position_embeddings', 'absolute_pos_embed'),
    *below(
        'encoder.layers.{i}.blocks.{j}.',
        'stages.{i}.blocks.{j}.',
        [
            ('attention.self.query.{P}', 'attn.w_msa.qkv.{P}#0'),
            ('attention.self.key.{P}', 'attn.w_msa.qkv.{P}#1'),
            ('attention.self.value.{P}', 'attn.w_msa.qkv.{P}#2'),
            ('attention.self.relative_position_bias_table', 'attn.w_msa.relative_position_bias_table'),
            ('attention.output.dense.{P}', 'attn.w_msa.proj.{P}'),
            ('layernorm_before.{P}', 'norm1.{P}'),
            ('layernorm_after.{P}', 'norm2.{P}'),
            ('intermediate.dense.{P}', 'ffn.layers.0.0.{P}'),
            ('output.dense.{P}', 'ffn.layers.1.{P}'),
        ],
    ),
    ('encoder.layers.{i}.downsample.{R}', 'stages.{i}.downsample.{R}', PATCH_MERGING),
    ('hidden_states_norms.stage{i}.{P}', 'norm{i-1}.{P}'),
]
MASKFORMER_SWIN: list[Row] = [('hidden_states_norms.{i}.{P}', 'norm{i}.{P}'), *below('model.', '', SWIN)]
# What transformers 5 calls modules of Swin that the files on the hub name otherwise
SWIN_MODULES = {
    'attention.self.query': 'attention.q_proj',
    'attention.self.key': 'attention.k_proj',
    'attention.self.value': 'attention.v_proj',
    'attention.self.relative_position_bias_table': 'attention.relative_position_bias.relative_position_bias_table',
    'attention.output.dense': 'attention.o_proj',
    '.intermediate.dense': '.mlp.fc1',
    '.output.dense': '.mlp.fc2',
}
# A key that transformers renames is a second row behind the first, whose name ``from_openmmlab`` writes. In ``below``
# the prefix of theirs stands before that of ours.
PIXEL_DECODER: list[Row] = [
    ('level_embed', 'level_encoding.weight'),
    ('input_projections.{i}.0.{P}', 'input_convs.{i}.conv.{P}'),
    ('input_projections.{i}.1.{P}', 'input_convs.{i}.gn.{P}'),
    *below(
        'encoder.layers.{i}.',
        'encoder.layers.{i}.',
        [
            ('self_attn.{R}', 'self_attn.{R}'),
            ('self_attn_layer_norm.{P}', 'norms.0.{P}'),
            ('fc1.{P}', 'ffn.layers.0.0.{P}'),
            ('fc2.{P}', 'ffn.layers.1.{P}'),
            ('final_layer_norm.{P}', 'norms.1.{P}'),
        ],
    ),
    ('adapter_1.0.weight', 'lateral_convs.0.conv.weight'),
    ('adapter_1.1.{P}', 'lateral_convs.0.gn.{P}'),
    ('layer_1.0.weight', 'output_convs.0.conv.weight'),
    ('layer_1.1.{P}', 'output_convs.0.gn.{P}'),
    ('mask_projection.{P}', 'mask_feature.{P}'),
]
TRANSFORMER: list[Row] = [
    ('queries_features.weight', 'query_feat.weight'),
    ('queries_embedder.weight', 'query_embed.weight'),
    ('level_embed.weight', 'level_embed.weight'),
    ('input_projections.{i}.{P}', 'decoder_input_projs.{i}.{P}'),
    *below(
        'decoder.layers.{i}.',
        'transformer_decoder.layers.{i}.',
        [
            ('cross_attn.{R}', 'cross_attn.attn.{R}'),
            ('self_attn.q_proj.{P}', 'self_attn.attn.in_proj_{P}#0'),
            ('self_attn.k_proj.{P}', 'self_attn.attn.in_proj_{P}#1'),
            ('self_attn.v_proj.{P}', 'self_attn.attn.in_proj_{P}#2'),
            ('self_attn.out_proj.{P}', 'self_attn.attn.out_proj.{P}'),
            ('cross_attn_layer_norm.{P}', 'norms.0.{P}'),
            ('self_attn_layer_norm.{P}', 'norms.1.{P}'),
            ('final_layer_norm.{P}', 'norms.2.{P}'),
            ('fc1.{P}', 'ffn.layers.0.0.{P}'),
            ('fc2.{P}', 'ffn.layers.1.{P}'),
        ],
    ),
    ('decoder.layernorm.{P}', 'transformer_decoder.post_norm.{P}'),
]
FPN: list[Row] = [  # of MaskFormer, from coarse to fine
    ('fpn.stem.0.weight', 'last_feat_conv.conv.weight'),
    ('fpn.stem.1.{P}', 'last_feat_conv.gn.{P}'),
    ('fpn.layers.{i}.proj.0.weight', 'lateral_convs.{2-i}.conv.weight'),
    ('fpn.layers.{i}.proj.1.{P}', 'lateral_convs.{2-i}.gn.{P}'),
    ('fpn.layers.{i}.block.0.weight', 'output_convs.{2-i}.conv.weight'),
    ('fpn.layers.{i}.block.1.{P}', 'output_convs.{2-i}.gn.{P}'),
    ('mask_projection.{P}', 'mask_feature.{P}'),
]
MASKFORMER_TRANSFORMER: list[Row] = [
    ('queries_embedder.weight', 'query_embed.weight'),
    ('input_projection.{P}', 'decoder_input_proj.{P}'),
    *below(
        'decoder.layers.{i}.',
        'transformer_decoder.layers.{i}.',
        [
            *(
                (f'{theirs}.{part}_proj.{{P}}', f'{ours}.attn.in_proj_{{P}}#{number}')
                for theirs, ours in (('self_attn', 'self_attn'), ('encoder_attn', 'cross_attn'))
                for number, part in enumerate('qkv')
            ),
            ('self_attn.out_proj.{P}', 'self_attn.attn.out_proj.{P}'),
            ('encoder_attn.out_proj.{P}', 'cross_attn.attn.out_proj.{P}'),
            ('self_attn_layer_norm.{P}', 'norms.0.{P}'),
            ('encoder_attn_layer_norm.{P}', 'norms.1.{P}'),
            ('final_layer_norm.{P}', 'norms.2.{P}'),
            ('fc1.{P}', 'ffn.layers.0.0.{P}'),
            ('fc2.{P}', 'ffn.layers.1.{P}'),
            ('self_attn.o_proj.{P}', 'self_attn.attn.out_proj.{P}'),  # names of modules in transformers 5
            ('encoder_attn.o_proj.{P}', 'cross_attn.attn.out_proj.{P}'),
            ('mlp.fc1.{P}', 'ffn.layers.0.0.{P}'),
            ('mlp.fc2.{P}', 'ffn.layers.1.{P}'),
        ],
    ),
    ('decoder.layernorm.{P}', 'transformer_decoder.post_norm.{P}'),
]
ENCODER = 'model.pixel_level_module.encoder.'
IGNORED = re.compile(rf'criterion\.|.*relative_position_index$|{re.escape(ENCODER)}((swin|model)\.)?layernorm\.')
SOURCE = "Hugging Face's Mask2Former or MaskFormer with a ResNet or Swin backbone"


def table(head: str, maskformer: bool) -> list[Row]:
    """Rows for the names of the files on the hub.

    Args:
        head: the model's attribute that holds the head.
        maskformer: of MaskFormer, else of Mask2Former.
    """
    swin, decoder, transformer, masks = (
        (MASKFORMER_SWIN, FPN, MASKFORMER_TRANSFORMER, 'mask_embedder.{i}.0.{P}')
        if maskformer
        else (
            SWIN,
            PIXEL_DECODER,
            TRANSFORMER,
            'model.transformer_module.decoder.mask_predictor.mask_embedder.{i}.0.{P}',
        )
    )
    return [
        *below(ENCODER, 'backbone.', RESNET + swin),
        *below('model.pixel_level_module.decoder.', f'{head}.pixel_decoder.', decoder),
        *below('model.transformer_module.', f'{head}.', transformer),
        ('class_predictor.{P}', f'{head}.cls_embed.{{P}}'),
        (masks, f'{head}.mask_embed.{{2*i}}.{{P}}'),
    ]


def other_names(rows: list[Row]) -> list[Row]:
    """Swin's rows for the names of its modules, with and without the module ``swin`` around them."""

    def renamed(name: str) -> str:
        for hub, module in SWIN_MODULES.items():
            name = name.replace(hub, module)
        return name

    modules = [(renamed(row[0]), *row[1:]) for row in rows]
    return [*modules, *below('swin.', '', rows), *below('swin.', '', modules)]


def to_openmmlab(state_dict: dict[str, Tensor], head: str = 'panoptic_head') -> dict[str, Tensor]:
    """Hugging Face's weights under the names of MMDetection and of this package.

    Args:
        state_dict: weights by name; those of the criterion and of Swin's unused last norm are left out.
        head: the model's attribute that holds the head: ``panoptic_head`` (MMDetection), ``decode_head``
            (MMSegmentation).

    Raises:
        KeyError: names the keys that are not those of a Mask2Former or MaskFormer with a ResNet or Swin backbone.
    """
    state_dict = {key: value for key, value in state_dict.items() if not IGNORED.match(key)}
    return translate_weights(state_dict, _all_names(state_dict, head), SOURCE)


def from_openmmlab(state_dict: dict[str, Tensor], head: str = 'panoptic_head') -> dict[str, Tensor]:
    """The inverse of ``to_openmmlab``: the names of the files on the hub.

    Raises:
        KeyError: names the keys that have no place there, such as those of Mask DINO, of MaskFormer's encoder or of
            another backbone.
    """
    state_dict = {name: value for name, value in state_dict.items() if not name.endswith('relative_position_index')}
    rows = table(head, maskformer=f'{head}.pixel_decoder.last_feat_conv.conv.weight' in state_dict)
    return translate_weights(state_dict, rows, f'what {SOURCE} has', backwards=True)


def key_map(keys: Iterable[str], head: str = 'panoptic_head') -> dict[str, str]:
    """Hugging Face's key to ours; ``#0``, ``#1``, ``#2`` behind a name are the parts of a concatenation.

    Args, Raises: as for ``to_openmmlab``.
    """
    keys = [key for key in keys if not IGNORED.match(key)]
    return rename(keys, _all_names(keys, head), SOURCE)


def _all_names(keys: Iterable[str], head: str) -> list[Row]:
    maskformer = any(key.startswith('model.pixel_level_module.decoder.fpn.') for key in keys)
    return table(head, maskformer) + below(ENCODER, 'backbone.', TIMM_RESNET + other_names(SWIN))
