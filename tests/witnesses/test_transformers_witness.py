"""Hugging Face's Mask2Former against ours: the same weights through the converter, the same numbers out."""

import pytest
import torch

from m2f_mm.checkpoints.huggingface import from_openmmlab, to_openmmlab
from m2f_mm.integrations.mmdet_samples import to_targets
from tests.helpers.recorded_random import RecordedPoints, Replay
from tests.helpers.tiny_models import (
    MASK_WIDTH,
    STUFF,
    THINGS,
    WIDTH,
    assert_close,
    build_detector,
    detection_batch,
    fill,
    maskformer_config,
    mmdet_config,
    use_our_heads,
)

transformers = pytest.importorskip('transformers')
pytest.importorskip('mmdet')
STAGES = ['stage1', 'stage2', 'stage3', 'stage4']
# Hugging Face shrinks windows that do not fit into a map, where the official code pads the map: stay larger than 4.
SIZE = (160, 192)
UNUSED = 'model.pixel_level_module.encoder.swin.layernorm.'  # of Swin as a classifier
SWIN = dict(depths=[2, 2, 2, 1], num_heads=[2, 2, 4, 6], window_size=4)


def resnet():
    theirs = transformers.ResNetConfig(
        embedding_size=8,
        hidden_sizes=[16, 32, 64, 128],
        depths=[3, 4, 6, 3],
        layer_type='bottleneck',
        out_features=STAGES,
    )
    return theirs, use_our_heads(mmdet_config())


def swin():
    theirs = transformers.SwinConfig(embed_dim=12, drop_path_rate=0.0, out_features=STAGES, **SWIN)
    ours = use_our_heads(mmdet_config())
    ours.backbone = dict(type='SwinTransformer', embed_dims=12, drop_path_rate=0.0, **SWIN)
    ours.panoptic_head.in_channels = [12, 24, 48, 96]
    return theirs, ours


@pytest.fixture(scope='module', params=[resnet, swin], ids=['r50', 'swin'])
def pair(request):
    """(theirs, ours) with the same weights."""
    backbone, cfg = request.param()
    config = transformers.Mask2FormerConfig(
        backbone_config=backbone,
        feature_size=WIDTH,
        mask_feature_size=MASK_WIDTH,
        hidden_dim=WIDTH,
        encoder_layers=1,
        decoder_layers=5,
        num_queries=20,
        num_labels=THINGS + STUFF,
        num_attention_heads=4,
        encoder_feedforward_dim=96,
        dim_feedforward=96,
        train_num_points=100,
    )
    theirs = fill(transformers.Mask2FormerForUniversalSegmentation(config)).eval()  # a batch norm that stays frozen
    with torch.no_grad():  # queries of a random network end up alike, and their matching a matter of rounding
        for name, parameter in theirs.model.transformer_module.named_parameters():
            parameter.mul_(30 if 'queries_' in name else 0.2 if name.endswith(('fc2.weight', 'out_proj.weight')) else 1)
    cfg.data_preprocessor.batch_augments[0].size = SIZE
    cfg.panoptic_head.pixel_decoder.encoder.layer_cfg.self_attn_cfg.num_heads = 4
    ours = build_detector(cfg).train()
    missing, unexpected = ours.load_state_dict(to_openmmlab(theirs.state_dict()), strict=False)
    assert not unexpected and all(name.endswith('relative_position_index') for name in missing)
    return theirs, ours


def test_every_layer(pair):
    theirs, ours = pair
    inputs = ours.data_preprocessor(detection_batch(), True)['inputs']
    with torch.no_grad():
        expected = theirs(inputs, output_auxiliary_logits=True)
        predictions = ours.panoptic_head(ours.extract_feat(inputs))
    layers = [*expected.auxiliary_logits, expected]
    assert predictions.num_layers == len(layers) == 5
    for layer, reference in enumerate(layers):
        assert_close(
            predictions.class_logits[layer], reference['class_queries_logits'], 1e-4, f'logits of layer {layer}'
        )
        masks = torch.stack(predictions.mask_logits(layer))[:, :, 0]
        assert_close(masks, reference['masks_queries_logits'], 1e-4, f'masks of layer {layer}')


def test_loss_and_gradients(pair, monkeypatch):
    theirs, ours = pair
    data = ours.data_preprocessor(detection_batch(), True)
    ours.panoptic_head.criterion.draw = points = RecordedPoints()
    ours.zero_grad()
    losses = ours(**data, mode='loss')
    sum(losses.values()).backward()

    targets = to_targets(data['data_samples'], ours.panoptic_head.is_thing, data['inputs'].device)
    terms = {}
    hook = theirs.criterion.register_forward_hook(lambda module, args, output: terms.update(output))
    replay = Replay(points.in_order([4, 0, 1, 2, 3]))
    monkeypatch.setattr(torch, 'rand', replay)
    theirs.zero_grad()
    loss = theirs(
        data['inputs'],
        mask_labels=[target.masks.float() for target in targets],
        class_labels=[target.labels for target in targets],
    ).loss
    loss.backward()
    hook.remove()
    assert not replay.values

    names = dict(loss_cls='loss_cross_entropy', loss_mask='loss_mask', loss_dice='loss_dice')
    for name, value in losses.items():
        layer, _, term = name.rpartition('.')
        assert_close(value, terms[names[term] + (f'_{layer[1:]}' if layer else '')], 1e-4, name)
    assert_close(sum(losses.values()), loss, 1e-5, 'total')
    # the converter is linear, so it translates gradients too
    expected = to_openmmlab(
        {name: parameter.grad for name, parameter in theirs.named_parameters() if parameter.grad is not None}
    )
    floor = 1e-5 * max(gradient.norm() for gradient in expected.values())
    for name, parameter in ours.named_parameters():
        if parameter.requires_grad:
            error = (parameter.grad - expected[name]).norm()
            assert error <= max(1e-3 * expected[name].norm(), floor), name


def test_saved_file(pair, tmp_path):
    """What transformers writes has the names of the hub, not those of its modules."""
    theirs, ours = pair
    theirs.save_pretrained(tmp_path)
    safetensors = pytest.importorskip('safetensors.torch')
    weights = to_openmmlab(safetensors.load_file(tmp_path / 'model.safetensors'))
    expected = to_openmmlab(theirs.state_dict())
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


def test_export(pair, tmp_path):
    """transformers loads the file that we write, every tensor of it, and computes the same."""
    theirs, ours = pair
    safetensors = pytest.importorskip('safetensors.torch')
    exported = from_openmmlab(ours.state_dict())
    with torch.no_grad():
        back = to_openmmlab(exported)
    assert all(torch.equal(value, ours.state_dict()[name]) for name, value in back.items())
    theirs.config.save_pretrained(tmp_path)
    safetensors.save_file(exported, str(tmp_path / 'model.safetensors'), dict(format='pt'))
    loaded, info = type(theirs).from_pretrained(tmp_path, output_loading_info=True)
    assert not info['unexpected_keys'] and not info['mismatched_keys']
    extra = ('criterion.empty_weight', 'num_batches_tracked', 'swin.layernorm.weight', 'swin.layernorm.bias')
    assert [key for key in info['missing_keys'] if not key.endswith(extra)] == []  # nothing that a prediction reads
    for name, value in theirs.named_parameters():
        assert torch.equal(loaded.get_parameter(name), value) or name.startswith(UNUSED), name
    inputs = torch.rand(1, 3, *SIZE)
    with torch.no_grad():
        expected, actual = theirs(inputs), loaded.eval()(inputs)
    assert torch.equal(actual.class_queries_logits, expected.class_queries_logits)
    assert torch.equal(actual.masks_queries_logits, expected.masks_queries_logits)


@pytest.mark.parametrize('kind', ['r50', 'swin'])
def test_maskformer(kind, tmp_path):
    """From the weights of transformers the same results, and from our file again."""
    safetensors = pytest.importorskip('safetensors.torch')
    if kind == 'r50':
        backbone, cfg = resnet()
    else:
        backbone, cfg = swin()
    model = use_our_heads(maskformer_config(encoder=False))
    model.backbone, model.panoptic_head.in_channels = cfg.backbone, cfg.panoptic_head.in_channels
    decoder = transformers.DetrConfig(
        d_model=WIDTH, decoder_layers=3, decoder_attention_heads=4, decoder_ffn_dim=96, num_queries=20, dropout=0.0
    )
    config = transformers.MaskFormerConfig(
        backbone_config=backbone,
        decoder_config=decoder,
        fpn_feature_size=WIDTH,
        mask_feature_size=WIDTH,
        num_labels=THINGS + STUFF,
    )
    theirs = fill(transformers.MaskFormerForInstanceSegmentation(config)).eval()
    ours = build_detector(model).eval()
    missing, unexpected = ours.load_state_dict(to_openmmlab(theirs.state_dict()), strict=False)
    assert not unexpected and all(name.endswith('relative_position_index') for name in missing)
    inputs = torch.rand(1, 3, *SIZE)
    with torch.no_grad():
        expected = theirs(inputs)
        predictions = ours.panoptic_head(ours.extract_feat(inputs))
    assert_close(predictions.class_logits[-1], expected.class_queries_logits, 1e-4, 'logits')
    masks = torch.stack(predictions.mask_logits(-1))[:, :, 0]
    assert_close(masks, expected.masks_queries_logits, 1e-4, 'masks')

    theirs.config.save_pretrained(tmp_path)
    safetensors.save_file(from_openmmlab(ours.state_dict()), str(tmp_path / 'model.safetensors'), dict(format='pt'))
    loaded, info = type(theirs).from_pretrained(tmp_path, output_loading_info=True)
    assert not info['unexpected_keys'] and not info['mismatched_keys']
    with torch.no_grad():
        actual = loaded.eval()(inputs)
    assert torch.equal(actual.class_queries_logits, expected.class_queries_logits)
    assert torch.equal(actual.masks_queries_logits, expected.masks_queries_logits)
