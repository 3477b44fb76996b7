"""The whole image model against the recorded official one: features, layers, matching, losses, gradients, results."""
import pytest
import torch
from golden import (
    FORWARD,
    GRADIENT,
    LOSS,
    OfficialModel,
    ReplayPoints,
    assert_close,
    assert_matching,
    build_criterion,
    cases,
    load,
    official_loss_names,
    preprocess,
)

from m2f_mm.checkpoints import key_map, to_official, to_openmmlab
from m2f_mm.models import mask_transformer
from m2f_mm.structures import SegTargets, attention_mask, contract

CASES = cases('m2f_image')


@pytest.fixture(scope='module', params=CASES)
def case(request):
    """(configuration, recording, model with the recorded weights)."""
    info, recorded = load(request.param)
    model = OfficialModel(info['cfg'])
    missing, unexpected = model.load_state_dict(to_openmmlab(recorded['state_dict']), strict=False)
    assert not unexpected and not missing
    return info, recorded, model.train()


def test_weights_convert_back(case):
    """The model's own tensors under official names are the recorded ones."""
    _, recorded, model = case
    back, official = to_official(model.state_dict()), recorded['state_dict']
    wanted = {key: value for key, value in official.items() if not key.startswith('criterion.')}
    assert back.keys() == {key.replace('static_query', 'query_feat') for key in wanted}
    assert all(torch.equal(back[key.replace('static_query', 'query_feat')], value) for key, value in wanted.items())


def images(info, recorded, model):
    return preprocess(info['cfg']['MODEL'], [item['image'].float() for item in recorded['inputs']['images']],
                      info['cfg']['MODEL']['MASK_FORMER']['SIZE_DIVISIBILITY'])


def test_backbone(case):
    info, recorded, model = case
    batch = images(*case)
    assert list(batch.shape[-2:]) == list(recorded['outputs']['padded_shape'])[-2:]
    for feature, name in zip(model.backbone(batch), ('res2', 'res3', 'res4', 'res5')):
        assert_close(feature, recorded['outputs']['features'][name], FORWARD, name)


def recorded_features(recorded):
    return [recorded['outputs']['features'][name].clone() for name in ('res2', 'res3', 'res4', 'res5')]


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
    for layer, wanted in zip(layers, expected['encoder_layers']):
        assert_close(layer, wanted, FORWARD, 'encoder layer')
    (_, _, reference, shapes, _), out = attention[0]
    assert_close(reference.expand_as(expected['deform0']['reference_points']),
                 expected['deform0']['reference_points'], FORWARD, 'reference points')
    assert [list(shape) for shape in shapes] == expected['deform0']['spatial_shapes'].tolist()
    assert_close(out, expected['deform0']['out'], FORWARD, 'first deformable attention')
    assert_close(mask_features, expected['mask_features'], FORWARD, 'mask features')
    for memory, wanted in zip(memories, expected['multi_scale']):
        assert_close(memory, wanted, FORWARD, 'memory')


def test_decoder_layers(case, monkeypatch):
    """Every prediction and every attention mask, and the state of the queries inside every layer."""
    _, recorded, model = case
    expected = recorded['outputs']['decoder']
    masks, states = [], []

    def recording_mask(embeds, features):
        masks.append(attention_mask(embeds, features))
        return masks[-1]

    monkeypatch.setattr(mask_transformer, 'attention_mask', recording_mask)
    for layer in model.panoptic_head.transformer_decoder.layers:
        residual = type(layer).residual
        monkeypatch.setattr(layer, 'residual', lambda part, x, compute, layer=layer, residual=residual:
                            states.append(residual(layer, part, x, compute)) or states[-1])
    predictions = model.panoptic_head(recorded_features(recorded))

    assert predictions.num_layers == len(expected['pred_logits'])
    for layer in range(predictions.num_layers):
        assert_close(predictions.class_logits[layer], expected['pred_logits'][layer], FORWARD, f'logits {layer}')
        logits = torch.stack(predictions.mask_logits(layer))[:, :, 0]
        assert_close(logits, expected['pred_masks'][layer], FORWARD, f'masks {layer}')
    assert len(masks) == len(expected['attn_mask_used'])
    for allowed, blocked in zip(masks, expected['attn_mask_used']):
        assert torch.equal(~allowed[:, 0], blocked)
    for part, name in enumerate(('after_cross', 'after_self', 'after_ffn')):
        for state, wanted in zip(states[part::3], expected[name]):
            assert_close(state.transpose(0, 1), wanted, FORWARD, name)


def test_training_step(case):
    """Costs, pairs, loss terms, gradients of every parameter and of the features, from the recorded random points."""
    info, recorded, model = case
    expected = recorded['outputs']['train']
    model.zero_grad()
    features = list(model.backbone(images(*case)))
    for feature in features:
        feature.retain_grad()
    predictions = model.panoptic_head(features)
    criterion = build_criterion(info['cfg'], ReplayPoints(recorded['random']['train'], predictions.num_layers))
    targets = [SegTargets(target['labels'], target['masks']) for target in expected['targets']]

    costs = criterion.assigner.costs(predictions, targets, criterion.draw)
    for layer, of_layer in enumerate(costs):
        tag = 'final' if layer == predictions.num_layers - 1 else f'aux_{layer}'
        for cost, wanted in zip(of_layer, expected['cost'][tag]):
            assert_close(cost, wanted, FORWARD, f'cost {tag}')
    assert_matching(criterion.assigner(predictions, targets, criterion.draw), expected['matcher'])

    losses = criterion(predictions, targets)
    total = sum(losses.values())
    named = official_loss_names(losses)
    assert named.keys() == expected['losses_weighted'].keys()
    for name, value in named.items():
        assert_close(value, expected['losses_weighted'][name], LOSS, name)
    assert_close(total, expected['total'], LOSS, 'total')

    total.backward()
    for feature, name in zip(features, ('res2', 'res3', 'res4', 'res5')):
        assert_close(feature.grad, expected['feature_grads'][name], GRADIENT, f'gradient of {name}')
    check_gradients(recorded, dict(model.named_parameters()))


def check_gradients(recorded, parameters):
    norms = recorded['grad_norm_float64']['train']
    names = key_map(recorded['state_dict'])
    floor = 1e-4 * max(norms.values())
    for official, wanted in norms.items():
        gradient = parameters[names[official]].grad
        assert gradient is not None, f'{official} received no gradient'
        assert abs(gradient.norm().item() - wanted) <= max(GRADIENT * wanted, floor), official
    whole = recorded['outputs']['train']['grads']['full_if_numel_le_1024']
    for official, wanted in whole.items():
        if '.downsample.' not in official:  # stored in another order, see the converter
            gradient = parameters[names[official]].grad
            assert (gradient - wanted).abs().max() <= max(GRADIENT * wanted.abs().max(), floor), official


def test_promises_are_masks(case):
    """Sampling and matching pixels of promises is the same as sampling whole masks: the slow twin."""
    _, recorded, model = case
    predictions = model.panoptic_head(recorded_features(recorded))
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(predictions.mask_features.shape[0], 33, 2, generator=generator)
    embeds, features = predictions.mask_embeds[-1], predictions.mask_features
    whole = torch.stack([contract(e, f) for e, f in zip(embeds, features)])[:, :, 0]  # (B, Q, h, w)
    slow = torch.nn.functional.grid_sample(whole, 2 * points[:, :, None] - 1, align_corners=False)[..., 0]
    *_, last = predictions.samples([points] * predictions.num_layers)
    assert_close(last, slow, 1e-5, 'sampled promises')
