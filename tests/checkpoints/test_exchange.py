"""Weights of the official code, of Hugging Face and of checkpoints with other batch norms: all keys, or a message."""

import pytest
import torch
from mmengine.runner import load_checkpoint, save_checkpoint

from m2f_mm.checkpoints import huggingface, official, source_of, to_huggingface, to_ours
from m2f_mm.checkpoints.tables import rename
from tests.helpers.tiny_models import build_detector, detection_batch, draw, mmdet_config, use_our_heads

pytest.importorskip('mmdet')


def detector(norm):
    cfg = use_our_heads(mmdet_config())
    cfg.backbone.norm_cfg = dict(type=norm) if norm == 'm2f_mm.FrozenBN' else dict(type=norm, requires_grad=False)
    cfg.backbone.norm_eval = norm != 'm2f_mm.FrozenBN'
    return build_detector(cfg)


@pytest.mark.parametrize(
    'source, target', [('BN', 'm2f_mm.FrozenBN'), ('m2f_mm.FrozenBN', 'BN'), ('m2f_mm.FrozenBN', 'm2f_mm.FrozenBN')]
)
def test_frozen_and_plain_batch_norms_share_checkpoints(source, target, tmp_path):
    """Through a file and MMEngine's strict loading; num_batches_tracked is no obstacle in either direction."""
    one, other = detector(source).eval(), detector(target).eval()
    with torch.no_grad():
        for parameter in one.parameters():
            parameter.mul_(1.01)
        one.backbone.bn1.running_mean.add_(0.1)
    save_checkpoint(dict(state_dict=one.state_dict()), str(tmp_path / 'weights.pth'))
    load_checkpoint(other, str(tmp_path / 'weights.pth'), strict=True)
    inputs = one.data_preprocessor(detection_batch(), True)['inputs']
    with torch.no_grad():
        for mine, theirs in zip(other.extract_feat(inputs), one.extract_feat(inputs)):
            torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    'key, name',
    [
        ('backbone.stem.conv1.weight', 'backbone.conv1.weight'),
        ('backbone.stem.conv1.norm.running_var', 'backbone.bn1.running_var'),
        ('backbone.res5.2.conv3.norm.bias', 'backbone.layer4.2.bn3.bias'),
        ('backbone.res2.0.shortcut.norm.weight', 'backbone.layer1.0.downsample.1.weight'),
        (
            'backbone.layers.2.blocks.5.attn.relative_position_bias_table',
            'backbone.stages.2.blocks.5.attn.w_msa.relative_position_bias_table',
        ),
        ('backbone.layers.0.downsample.reduction.weight', 'backbone.stages.0.downsample.reduction.weight'),
        ('backbone.norm3.bias', 'backbone.norm3.bias'),
        ('sem_seg_head.pixel_decoder.transformer.level_embed', 'HEAD.pixel_decoder.level_encoding.weight'),
        (
            'sem_seg_head.pixel_decoder.transformer.encoder.layers.3.norm2.weight',
            'HEAD.pixel_decoder.encoder.layers.3.norms.1.weight',
        ),
        ('sem_seg_head.predictor.static_query.weight', 'HEAD.query_feat.weight'),
        ('sem_seg_head.predictor.query_feat.weight', 'HEAD.query_feat.weight'),
        ('sem_seg_head.predictor.mask_embed.layers.2.weight', 'HEAD.mask_embed.4.weight'),
        (
            'sem_seg_head.predictor.transformer_ffn_layers.8.linear2.bias',
            'HEAD.transformer_decoder.layers.8.ffn.layers.1.bias',
        ),
    ],
)
@pytest.mark.parametrize('head', ['panoptic_head', 'decode_head'])
def test_official_names(key, name, head):
    some = ['sem_seg_head.pixel_decoder.transformer.level_embed', key]
    assert official.key_map(some, head)[key] == name.replace('HEAD', head)


def test_old_official_keys():
    """From before the pixel decoder had a module of its own, and with what does not belong to the model."""
    old = official.key_map(
        [
            'sem_seg_head.mask_features.weight',
            'sem_seg_head.transformer.level_embed',
            'sem_seg_head.adapter_1.weight',
            'criterion.empty_weight',
            'pixel_mean',
        ]
    )
    assert old == {
        'sem_seg_head.mask_features.weight': 'panoptic_head.pixel_decoder.mask_feature.weight',
        'sem_seg_head.transformer.level_embed': 'panoptic_head.pixel_decoder.level_encoding.weight',
        'sem_seg_head.adapter_1.weight': 'panoptic_head.pixel_decoder.lateral_convs.0.conv.weight',
    }


def test_patch_merging_is_reordered():
    """The official code stacks sub-grids, mmdet unfolds: the same merged pixel from either."""
    torch.manual_seed(0)
    channels = 3
    weight = torch.randn(2 * channels, 4 * channels)
    x = torch.randn(1, channels, 4, 6)
    grids = torch.cat([x[:, :, row::2, column::2] for row, column in ((0, 0), (1, 0), (0, 1), (1, 1))], 1)
    expected = torch.einsum('oc,bchw->bohw', weight, grids)
    key = 'backbone.layers.0.downsample.reduction.weight'
    converted = official.to_openmmlab({key: weight})['backbone.stages.0.downsample.reduction.weight']
    unfolded = torch.nn.functional.unfold(x, 2, stride=2)
    torch.testing.assert_close((converted @ unfolded).view_as(expected), expected)


ENCODER = 'model.pixel_level_module.encoder.'


@pytest.mark.parametrize(
    'key, name',
    [
        (ENCODER + '_backbone.layer1.0.downsample.0.weight', 'backbone.layer1.0.downsample.0.weight'),
        (ENCODER + '_backbone.bn1.running_mean', 'backbone.bn1.running_mean'),
        (ENCODER + 'encoder.stages.3.layers.1.layer.2.normalization.weight', 'backbone.layer4.1.bn3.weight'),
        (
            ENCODER + 'encoder.layers.1.blocks.0.attention.self.key.bias',
            'backbone.stages.1.blocks.0.attn.w_msa.qkv.bias#1',
        ),
        (
            ENCODER + 'swin.encoder.layers.1.blocks.0.attention.v_proj.weight',
            'backbone.stages.1.blocks.0.attn.w_msa.qkv.weight#2',
        ),
        (
            ENCODER + 'encoder.layers.1.blocks.0.attention.output.dense.weight',
            'backbone.stages.1.blocks.0.attn.w_msa.proj.weight',
        ),
        (ENCODER + 'encoder.layers.1.blocks.0.output.dense.weight', 'backbone.stages.1.blocks.0.ffn.layers.1.weight'),
        (ENCODER + 'hidden_states_norms.stage4.weight', 'backbone.norm3.weight'),
        ('class_predictor.bias', 'panoptic_head.cls_embed.bias'),
    ],
)
def test_hugging_face_names(key, name):
    """Of both generations of the library, and with timm's ResNet; the rest is tested with the library at hand."""
    assert huggingface.key_map([key]) == {key: name}


def test_queries_keys_and_values_become_one_matrix():
    prefix = 'model.transformer_module.decoder.layers.0.self_attn.'
    parts = {f'{prefix}{part}_proj.weight': torch.full((2, 2), float(i)) for i, part in enumerate('qkv')}
    translated = huggingface.to_openmmlab(dict(reversed(parts.items())))
    assert translated['panoptic_head.transformer_decoder.layers.0.self_attn.attn.in_proj_weight'][:, 0].tolist() == [
        0,
        0,
        1,
        1,
        2,
        2,
    ]


@pytest.mark.parametrize('module', [official, huggingface])
def test_foreign_keys_are_named(module):
    with pytest.raises(KeyError, match=r'2 keys are not .*detr\.layer\.weight, other'):
        module.key_map(['detr.layer.weight', 'other'])


RESNET_NAMES = [
    'embedder.embedder.convolution.weight',
    'embedder.embedder.normalization.running_var',
    'encoder.stages.3.layers.2.layer.1.convolution.weight',
    'encoder.stages.0.layers.0.shortcut.normalization.bias',
]
SWIN_NAMES = [
    'embeddings.patch_embeddings.projection.bias',
    *(f'encoder.layers.2.blocks.5.attention.self.{name}.weight' for name in ('query', 'key', 'value')),
    'encoder.layers.2.blocks.5.attention.self.relative_position_bias_table',
    'encoder.layers.2.blocks.5.intermediate.dense.bias',
    'encoder.layers.2.blocks.5.output.dense.weight',
    'encoder.layers.0.downsample.reduction.weight',
    'hidden_states_norms.stage1.weight',
]
HEAD_NAMES = [
    'model.pixel_level_module.decoder.level_embed',
    'model.pixel_level_module.decoder.encoder.layers.5.self_attn.sampling_offsets.weight',
    'model.pixel_level_module.decoder.adapter_1.0.weight',
    'model.transformer_module.level_embed.weight',
    *(f'model.transformer_module.decoder.layers.8.self_attn.{part}_proj.bias' for part in 'qkv'),
    'model.transformer_module.decoder.layers.8.cross_attn.in_proj_weight',
    'model.transformer_module.decoder.mask_predictor.mask_embedder.2.0.weight',
    'class_predictor.weight',
]


@pytest.mark.parametrize('backbone', [RESNET_NAMES, SWIN_NAMES], ids=['resnet', 'swin'])
@pytest.mark.parametrize('class_ids', [None, (2, 0, 3, 1)])
def test_hugging_face_and_back(backbone, class_ids):
    """Name by name and number by number; patch merging, the three parts of an attention and the classes are moved."""
    there = {key: draw(key, (5, 8)) for key in [*(ENCODER + name for name in backbone), *HEAD_NAMES]}
    ours = to_ours(there, 'decode_head', class_ids)
    assert source_of(ours) != source_of(there) and len(ours) < len(there)
    back = to_huggingface(ours, 'decode_head', class_ids)
    assert back.keys() == there.keys() and all(torch.equal(back[key], there[key]) for key in there)


@pytest.mark.parametrize(
    'name',
    ['decode_head.box_embed.0.weight', 'backbone.stem.0.weight', 'decode_head.pixel_decoder.encoder_in_proj.bias'],
)
def test_hugging_face_has_no_place_for_others(name):
    with pytest.raises(KeyError, match=f"1 keys are not those of what Hugging Face's.*{name}"):
        to_huggingface({'decode_head.query_feat.weight': torch.zeros(1), name: torch.zeros(1)}, 'decode_head')


@pytest.mark.parametrize(
    'theirs, ours, name, ours_name',
    [
        ('res{i}.{j}.conv{k}.{P}', 'layer{i-1}.{j}.bn{k}.{P}', 'res5.11.conv3.bias', 'layer4.11.bn3.bias'),
        ('adapter_{i}.{R}', 'lateral_convs.{3-i}.{R}', 'adapter_1.norm.weight', 'lateral_convs.2.norm.weight'),
        ('mask.layers.{i}.{P}', 'mask.{2*i}.{P}', 'mask.layers.2.bias', 'mask.4.bias'),
        ('convs.{i}', 'convs.{i+4}', 'convs.0', 'convs.4'),
    ],
)
def test_rows_work_in_both_directions(theirs, ours, name, ours_name):
    rows = [(theirs, ours)]
    assert rename([name], rows, 'x') == {name: ours_name}
    assert rename([ours_name], rows, 'x', backwards=True) == {ours_name: name}


@pytest.mark.parametrize('name', ['mask.3.bias', 'mask.x.bias', 'mask.2.a.b'])
def test_names_of_another_form_are_not_taken(name):
    with pytest.raises(KeyError, match='1 keys are not those of x: mask'):
        rename([name], [('mask.layers.{i}.{P}', 'mask.{2*i}.{P}')], 'x', backwards=True)
