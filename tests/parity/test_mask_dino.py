"""Mask DINO's rooms against the recorded official ones: the pixel decoder."""
import pytest
import torch
from golden import FORWARD, assert_close, cases, load

from m2f_mm.checkpoints import to_official, to_openmmlab
from m2f_mm.models import MSDeformAttnPixelDecoder

FEATURES = ('res2', 'res3', 'res4', 'res5')


@pytest.mark.parametrize('path', cases('mdino_pixel_decoder'))
def test_pixel_decoder(path):
    """Any number of levels, both orders, and the finest feature in the encoder."""
    _, recorded = load(path)
    features = [recorded['features'][name] for name in FEATURES]
    for variant in recorded['variants']:
        settings, outputs = variant['settings'], variant['outputs']
        seen, levels = len(settings['transformer_in_features']), settings['total_num_feature_levels']
        decoder = MSDeformAttnPixelDecoder(
            [feature.shape[1] for feature in features], settings['conv_dim'], settings['mask_dim'], num_outs=levels,
            num_encoder_levels=seen, num_extra_levels=levels - seen, fine_first=settings['feature_order'] == 'low2high',
            always_fpn=True, num_layers=settings['enc_layers'], num_heads=settings['nheads'],
            feedforward_channels=settings['dim_feedforward'],
            norm_cfg=dict(type='GN', num_groups=32) if settings['norm'] == 'GN' else None)
        official = {f'sem_seg_head.pixel_decoder.{key}': value for key, value in variant['state_dict'].items()}
        weights = to_openmmlab(official)
        back = to_official(weights)
        assert back.keys() == official.keys() and all(torch.equal(back[key], official[key]) for key in official)
        prefix = 'panoptic_head.pixel_decoder.'
        decoder.load_state_dict({key[len(prefix):]: value for key, value in weights.items()})
        mask_features, memories = decoder(features)
        assert_close(mask_features, outputs['mask_features'], FORWARD, f'{variant["name"]}: mask features')
        assert len(memories) == len(outputs['multi_scale']) == levels
        for memory, wanted in zip(memories, outputs['multi_scale']):
            assert_close(memory, wanted, FORWARD, f'{variant["name"]}: memory')
