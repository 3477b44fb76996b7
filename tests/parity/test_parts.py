"""Pixel decoder variants, single modules and the criterion's edge cases against the recorded official ones."""

import pytest
import torch

from m2f_mm.checkpoints import to_official, to_openmmlab
from m2f_mm.criterion import HungarianAssigner, SetCriterion
from m2f_mm.models import MSDeformAttn, MSDeformAttnPixelDecoder
from m2f_mm.models.layers import sine_position
from m2f_mm.structures import MaskPredictions, SegTargets
from tests.helpers.golden import (
    FORWARD,
    LOSS,
    ReplayPoints,
    assert_close,
    assert_matching,
    cases,
    load,
    official_loss_names,
)


@pytest.mark.parametrize('path', cases('m2f_pixel_decoder'))
def test_pixel_decoder_variants(path):
    info, recorded = load(path)
    features = [recorded['features'][name] for name in ('res2', 'res3', 'res4', 'res5')]
    for variant in recorded['variants']:
        settings = variant['settings']
        decoder = MSDeformAttnPixelDecoder(
            [feature.shape[1] for feature in features],
            settings['conv_dim'],
            settings['mask_dim'],
            num_encoder_levels=len(settings['transformer_in_features']),
            num_layers=settings['enc_layers'],
            num_heads=settings['nheads'],
            feedforward_channels=settings['dim_feedforward'],
            norm_cfg=dict(type='GN', num_groups=32) if settings['norm'] == 'GN' else None,
        )
        official = {f'sem_seg_head.pixel_decoder.{k}': v for k, v in variant['state_dict'].items()}
        weights = to_openmmlab(official)
        back = to_official(weights)
        assert back.keys() == official.keys() and all(torch.equal(back[key], official[key]) for key in official)
        prefix = 'panoptic_head.pixel_decoder.'
        decoder.load_state_dict({key[len(prefix) :]: value for key, value in weights.items()})
        mask_features, memories = decoder(features)
        assert_close(mask_features, variant['outputs']['mask_features'], FORWARD, variant['name'])
        assert len(memories) == len(variant['outputs']['multi_scale'])
        for memory, expected in zip(memories, variant['outputs']['multi_scale']):
            assert_close(memory, expected, FORWARD, variant['name'])


@pytest.mark.parametrize('path', cases('m2f_pixel_decoder'))
def test_deformable_attention(path):
    recorded = load(path)[1]['modules']['ms_deform_attn']
    settings, inputs = recorded['settings'], recorded['inputs']
    attention = MSDeformAttn(settings['d_model'], settings['n_heads'], settings['n_levels'], settings['n_points'])
    attention.load_state_dict(recorded['state_dict'])
    shapes = [tuple(shape) for shape in inputs['spatial_shapes'].tolist()]
    for dims in (2, 4):
        out = attention(inputs['query'], inputs['value_in'], inputs[f'reference_points_{dims}'], shapes)
        assert_close(out, recorded['outputs'][f'out_ref{dims}'], FORWARD, f'{dims}-d reference points')


@pytest.mark.parametrize('path', cases('m2f_pixel_decoder'))
def test_position_encodings(path):
    modules = load(path)[1]['modules']
    flat = modules['position_embedding_sine']
    height, width = flat['shape'][-2:]
    for normalize, name in ((True, 'out_no_mask'), (False, 'out_not_normalized')):
        tokens = sine_position(height, width, flat['num_pos_feats'], normalize=normalize).tokens()
        encoding = tokens.T.unflatten(1, (height, width))
        assert_close(encoding.expand_as(flat[name]), flat[name], 1e-5, name)
    clip = modules['position_embedding_sine_3d']
    frames, height, width = clip['shape'][1], *clip['shape'][-2:]
    tokens = sine_position(height, width, clip['num_pos_feats'], frames).tokens()
    encoding = tokens.unflatten(0, (frames, height, width)).permute(0, 3, 1, 2)
    assert_close(encoding[None].expand_as(clip['out_no_mask']), clip['out_no_mask'], 1e-5, 'clip')


CRITERION = [
    pytest.param(designed, id=designed['name'])
    for parameter in cases('m2f_criterion')
    if parameter.values[0]
    for designed in load(parameter.values[0])[1]['cases']
] or cases('m2f_criterion')


@pytest.mark.parametrize('designed', CRITERION)
def test_criterion(designed):
    """Given masks as lazy masks: the features are the masks of all layers, the embeddings pick them out."""
    settings, expected = designed['settings'], designed['outputs']
    outputs = [*designed['inputs']['outputs']['aux_outputs'], designed['inputs']['outputs']]
    final_logits = outputs[-1]['pred_logits'].clone().requires_grad_()
    final_masks = outputs[-1]['pred_masks'].clone().requires_grad_()
    logits = [output['pred_logits'] for output in outputs[:-1]] + [final_logits]
    masks = [output['pred_masks'] for output in outputs[:-1]] + [final_masks]
    queries = masks[0].shape[1]
    picks = torch.eye(queries * len(masks)).split(queries)
    predictions = MaskPredictions.from_lists(
        logits, [pick.expand(len(masks[0]), -1, -1) for pick in picks], torch.cat(masks, 1)[:, None]
    )
    targets = [SegTargets(target['labels'], target['masks']) for target in designed['inputs']['targets']]

    weights = [settings['weights_and_costs'][f'loss_{name}'] for name in ('ce', 'mask', 'dice')]
    criterion = SetCriterion(
        HungarianAssigner(*weights, num_points=settings['num_points']),
        [1.0] * settings['num_classes'] + [settings['eos_coef']],
        *weights,
        num_points=settings['num_points'],
        oversample_ratio=settings['oversample_ratio'],
        importance_ratio=settings['importance_sample_ratio'],
        draw=ReplayPoints(designed['random'], len(masks)),
    )
    assert_matching(criterion.assigner(predictions, targets, criterion.draw), expected['matcher'])
    losses = criterion(predictions, targets)
    scale = dict(loss_ce=weights[0], loss_mask=weights[1], loss_dice=weights[2])
    for name, value in official_loss_names(losses).items():
        reference = expected['losses_unweighted'][name] * scale['_'.join(name.split('_')[:2])]
        assert_close(value, reference, LOSS, name)
    total = sum(losses.values())
    assert_close(total, expected['total_weighted'], LOSS, 'total')
    total.backward()
    assert_close(final_logits.grad, expected['grad_pred_logits'], 1e-4, 'gradient of the class logits')
    assert_close(final_masks.grad, expected['grad_pred_masks'], 1e-4, 'gradient of the masks')
