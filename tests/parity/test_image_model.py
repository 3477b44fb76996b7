"""The whole image model against the recorded official one: features, layers, matching, losses, gradients, results."""

import torch

from m2f_mm.checkpoints import to_official
from m2f_mm.mask_ops import mask_logits_from
from m2f_mm.structures import SegTargets
from tests.helpers.golden import (
    FORWARD,
    GRADIENT,
    assert_close,
    check_criterion,
    check_decoder,
    check_gradients,
    images,
    watch_decoder,
)
from tests.helpers.official_configs import FEATURES


def test_weights_convert_back(case):
    """The model's own tensors under official names are the recorded ones."""
    _, recorded, model = case
    back, official = to_official(model.state_dict()), recorded['state_dict']
    expected = {key: value for key, value in official.items() if not key.startswith('criterion.')}
    assert back.keys() == {key.replace('static_query', 'query_feat') for key in expected}
    assert all(torch.equal(back[key.replace('static_query', 'query_feat')], value) for key, value in expected.items())


def test_backbone(case):
    info, recorded, model = case
    batch = images(*case)
    assert list(batch.shape[-2:]) == list(recorded['outputs']['padded_shape'])[-2:]
    for feature, name in zip(model.backbone(batch), FEATURES):
        assert_close(feature, recorded['outputs']['features'][name], FORWARD, name)


def recorded_features(recorded):
    return [recorded['outputs']['features'][name].clone() for name in FEATURES]


def test_pixel_decoder(case):
    _, recorded, model = case
    expected = recorded['outputs']['pixel_decoder']
    layers = []
    decoder = model.panoptic_head.pixel_decoder
    hooks = [layer.register_forward_hook(lambda *args: layers.append(args[-1])) for layer in decoder.encoder.layers]
    attention = []
    hooks.append(decoder.encoder.layers[0].self_attn.register_forward_hook(lambda *args: attention.append(args[1:])))
    mask_features, memories = decoder(recorded_features(recorded))
    for hook in hooks:
        hook.remove()
    for layer, official in zip(layers, expected['encoder_layers']):
        assert_close(layer, official, FORWARD, 'encoder layer')
    (_, _, reference, levels, _), out = attention[0]
    assert_close(
        reference.expand_as(expected['deform0']['reference_points']),
        expected['deform0']['reference_points'],
        FORWARD,
        'reference points',
    )
    assert [list(shape) for shape in levels.shapes] == expected['deform0']['spatial_shapes'].tolist()
    assert_close(out, expected['deform0']['out'], FORWARD, 'first deformable attention')
    assert_close(mask_features, expected['mask_features'], FORWARD, 'mask features')
    for memory, official in zip(memories, expected['multi_scale']):
        assert_close(memory, official, FORWARD, 'memory')


def test_decoder_layers(case, monkeypatch):
    """Every prediction and every attention mask, and the state of the queries inside every layer."""
    _, recorded, model = case
    masks, states = watch_decoder(monkeypatch, model.panoptic_head.transformer_decoder)
    predictions = model.panoptic_head(recorded_features(recorded))
    check_decoder(predictions, masks, states, recorded['outputs']['decoder'])


def test_training_step(case):
    """Costs, pairs, loss terms, gradients of every parameter and of the features, from the recorded random points."""
    info, recorded, model = case
    expected = recorded['outputs']['train']
    model.zero_grad()
    features = list(model.backbone(images(*case)))
    for feature in features:
        feature.retain_grad()
    predictions = model.panoptic_head(features)
    targets = [SegTargets(target['labels'], target['masks']) for target in expected['targets']]
    check_criterion(info['cfg'], recorded['random']['train'], predictions, targets, expected).backward()
    for feature, name in zip(features, FEATURES):
        assert_close(feature.grad, expected['feature_grads'][name], GRADIENT, f'gradient of {name}')
    check_gradients(recorded, 'train', model, expected['grads']['full_if_numel_le_1024'])


def test_lazy_masks_are_masks(case):
    """Sampling and matching pixels of lazy masks is the same as sampling whole masks: the slow twin."""
    _, recorded, model = case
    predictions = model.panoptic_head(recorded_features(recorded))
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(predictions.mask_features.shape[0], 33, 2, generator=generator)
    embeds, features = predictions.mask_embeds[-1], predictions.mask_features
    whole = torch.stack([mask_logits_from(e, f) for e, f in zip(embeds, features)])[:, :, 0]  # (B, Q, h, w)
    slow = torch.nn.functional.grid_sample(whole, 2 * points[:, :, None] - 1, align_corners=False)[..., 0]
    *_, last = predictions.samples([points] * predictions.num_layers)
    assert_close(last, slow, 1e-5, 'sampled lazy masks')
