"""MMDetection's DINO starts Mask DINO: what both have computes the same."""

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import load_checkpoint

from m2f_mm.checkpoints import source_of, to_ours
from m2f_mm.checkpoints.sources import DINO, OURS
from m2f_mm.models.recorder import PredictionRecorder
from tests.helpers.tiny_models import (
    CHANNELS,
    build_detector,
    fill,
    mmdet_config,
    stock_config,
    thin_backbone,
    use_our_heads,
)

pytest.importorskip('mmdet')
DIMS, HIDDEN = 64, 96


def stock(layers=2):
    """MMDetection's DINO, thin, in evaluation mode and with the official temperature of the positions; layers share
    their heads of boxes, as in Mask DINO."""
    import mmdet
    from mmdet.models.layers.transformer.utils import MLP

    model = stock_config(mmdet, 'dino/dino-4scale_r50_8xb2-12e_coco.py').model
    thin_backbone(model.backbone)
    model.neck.update(in_channels=CHANNELS[1:], out_channels=DIMS)
    model.encoder.num_layers, model.decoder.num_layers = 2, layers
    for part in model.encoder, model.decoder:
        for name, options in part.layer_cfg.items():
            options.update(embed_dims=DIMS)
            if name == 'ffn_cfg':
                options.update(feedforward_channels=HIDDEN)
    model.positional_encoding.update(num_feats=DIMS // 2, temperature=10000)
    model.bbox_head.update(embed_dims=DIMS)
    with DefaultScope.overwrite_default_scope('mmdet'):
        detector = MODELS.build(model)
    detector.decoder.ref_point_head = MLP(2 * DIMS, DIMS, DIMS, 2)  # a fork has it wider
    fill(detector)
    last = detector.bbox_head.reg_branches[layers - 1].state_dict()
    for branch in detector.bbox_head.reg_branches:
        branch.load_state_dict({name: 0.1 * value for name, value in last.items()})
    return detector.eval()


def ours(layers=3, **options):
    cfg = Config(
        dict(
            type='m2f_mm.MaskDINO',
            backbone=stock_config(
                __import__('mmdet'), 'dino/dino-4scale_r50_8xb2-12e_coco.py'
            ).model.backbone.to_dict(),
            test_cfg=dict(panoptic_on=False, instance_on=True),
            panoptic_head=dict(
                type='m2f_mm.MaskDINOHead',
                num_things_classes=80,
                num_stuff_classes=0,
                in_channels=CHANNELS,
                feat_channels=DIMS,
                out_channels=48,
                num_queries=12,
                pixel_decoder={**dict(num_layers=2, feedforward_channels=HIDDEN), **options},
                transformer_decoder=dict(num_layers=layers, embed_dims=DIMS, feedforward_channels=HIDDEN),
            ),
        )
    )
    thin_backbone(cfg.backbone)
    cfg.backbone.out_indices = (0, 1, 2, 3)
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MODELS.build(cfg).eval()


@pytest.fixture(scope='module')
def pair(tmp_path_factory):
    """DINO with two decoder layers, and Mask DINO with three that has loaded its file."""
    path = tmp_path_factory.mktemp('dino') / 'dino.pth'
    detector, model = stock(), ours()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
        for conv in model.panoptic_head.pixel_decoder.input_convs:
            conv.conv.bias.zero_()
    torch.save(dict(state_dict=detector.state_dict()), path)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    load_checkpoint(model, str(path))
    return detector, model, before


def test_what_is_shared(pair):
    """Nothing is left over, and nothing of ours stays as it was but what DINO has not."""
    detector, model, before = pair
    assert source_of(detector.state_dict()) == DINO
    translated = to_ours(detector.state_dict())
    own = model.state_dict()
    assert all(own[name].shape == value.shape and torch.equal(own[name], value) for name, value in translated.items())
    untouched = {name for name in own if name not in translated}
    assert all(torch.equal(own[name], before[name]) for name in untouched)
    assert all(
        any(
            part in name
            for part in (
                'mask_embed',
                'mask_feature',
                'lateral_convs',
                'output_convs',
                'transformer_decoder.layers.2',
                'conv.bias',
            )
        )
        for name in untouched
    ), untouched
    assert torch.equal(own['panoptic_head.cls_embed.weight'], detector.bbox_head.cls_branches[1].weight)
    assert torch.equal(own['panoptic_head.label_embed.weight'], detector.dn_query_generator.label_embedding.weight)


@torch.no_grad()
def test_encoder_computes_the_same(pair):
    from mmdet.structures import DetDataSample

    detector, model, _ = pair
    images = torch.randn(2, 3, 128, 192)
    samples = [DetDataSample(metainfo=dict(batch_input_shape=(128, 192), img_shape=(128, 192)))] * 2
    inputs, _ = detector.pre_transformer(detector.extract_feat(images), samples)
    expected = detector.forward_encoder(**inputs)['memory']
    _, memories = model.panoptic_head.pixel_decoder(model.extract_feat(images))
    actual = torch.cat([memory.flatten(2) for memory in memories], 2).transpose(1, 2)
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_decoder_computes_the_same(pair, monkeypatch):
    """With the levels in the order of each."""
    from mmdet.models.layers.transformer import dino_layers

    encoding = dino_layers.coordinate_to_encoding
    monkeypatch.setattr(dino_layers, 'coordinate_to_encoding', lambda x, **_: encoding(x, num_feats=DIMS // 2))
    detector, model, _ = pair
    shapes = [(16, 24), (8, 12), (4, 6), (2, 3)]
    levels = [torch.randn(2, h * w, DIMS) for h, w in shapes]
    query, boxes = torch.randn(2, 12, DIMS), torch.rand(2, 12, 4) * 0.4 + 0.3
    sizes = torch.tensor(shapes)
    start = torch.cat((sizes.new_zeros(1), sizes.prod(1).cumsum(0)[:-1]))
    queries, references = detector.decoder(
        query,
        torch.cat(levels, 1),
        key_padding_mask=None,
        self_attn_mask=None,
        reference_points=boxes,
        spatial_shapes=sizes,
        level_start_index=start,
        valid_ratios=torch.ones(2, 4, 2),
        reg_branches=detector.bbox_head.reg_branches,
    )
    head = model.panoptic_head
    decoder, layers = head.transformer_decoder, []
    for layer in decoder.layers:
        layer.register_forward_hook(lambda _, args, output: layers.append((args[2], output)))
    recorder = PredictionRecorder(head, None, supervised=False)
    decoder(query, (boxes / (1 - boxes)).log(), torch.cat(levels[::-1], 1), shapes[::-1], head.box_embed, recorder)
    for (_, actual), expected in zip(layers, queries):
        torch.testing.assert_close(decoder.post_norm(actual), expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(layers[1][0], references[1], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize('options', [dict(fine_first=False), dict(num_extra_levels=2, num_outs=4)])
def test_other_levels_are_refused(options, tmp_path):
    torch.save(dict(state_dict=stock().state_dict()), tmp_path / 'dino.pth')
    with pytest.raises(ValueError, match='DINO with 4 levels.*fine_first=True, num_extra_levels=1'):
        load_checkpoint(ours(**options), str(tmp_path / 'dino.pth'))


def test_other_heads_take_the_backbone(tmp_path):
    model, state = build_detector(use_our_heads(mmdet_config())), stock().state_dict()
    torch.save(dict(state_dict=state), tmp_path / 'dino.pth')
    load_checkpoint(model, str(tmp_path / 'dino.pth'))
    own = model.state_dict()
    assert all(torch.equal(own[name], value) for name, value in state.items() if name.startswith('backbone.'))


def test_relatives_are_not_taken_for_it():
    """Grounding DINO has all that DINO has, and a language model."""
    state = stock().state_dict()
    assert source_of([*state, 'encoder.text_layers.0.norms.0.weight']) == OURS


def test_wider_encoding_of_boxes_is_left_out():
    """A fork's, which the file of a released model has not."""
    state = stock().state_dict()
    name = 'decoder.ref_point_head.layers.0.weight'
    state[name] = torch.zeros(DIMS, 4 * DIMS)
    assert 'panoptic_head.transformer_decoder.ref_point_head.0.weight' not in to_ours(state)
    assert 'panoptic_head.transformer_decoder.ref_point_head.2.weight' in to_ours(state)
