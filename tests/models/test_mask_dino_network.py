"""Mask DINO's network beyond parity: what is recomputed, ``torch.compile``, the parts that only some models have."""

import pytest
import torch

from m2f_mm.models import MaskDINO, MaskDINOTransformerDecoder, MSDeformAttnPixelDecoder
from m2f_mm.models.layers import deformable_sampling
from m2f_mm.structures import SegTargets
from tests.helpers.tiny_models import assert_close

BACKEND = 'aot_eager'  # traces forward and backward as any backend gets them


def network(activation_checkpointing='none', out_channels=24, **options):
    torch.manual_seed(0)
    pixel_decoder = MSDeformAttnPixelDecoder(
        [4, 8, 12, 16],
        32,
        out_channels,
        num_outs=4,
        num_encoder_levels=3,
        num_extra_levels=1,
        fine_first=True,
        always_fpn=True,
        num_layers=2,
        num_heads=4,
        feedforward_channels=128,
        activation_checkpointing=activation_checkpointing,
    )
    decoder = MaskDINOTransformerDecoder(
        num_layers=3,
        embed_dims=32,
        num_heads=4,
        feedforward_channels=128,
        activation_checkpointing=activation_checkpointing,
    )
    model = MaskDINO(pixel_decoder, decoder, 5, num_queries=7, mask_channels=out_channels, **options)
    model.init_weights()
    with torch.no_grad():  # offsets start at whole pixels, where bilinear samples have two derivatives
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return model


def features(batch=2):
    generator = torch.Generator().manual_seed(1)
    return [
        torch.randn(batch, channels, 32 >> i, 48 >> i, generator=generator) for i, channels in enumerate((4, 8, 12, 16))
    ]


def targets():
    masks = torch.zeros(3, 128, 192, dtype=torch.bool)
    masks[0, 10:50, 20:90], masks[1, 60:, 100:], masks[2, 5:9, 5:9] = True, True, True
    whole = SegTargets(torch.tensor([0, 3, 1]), masks).with_boxes()
    return [whole, SegTargets(whole.labels[:1], whole.masks[:1], whole.boxes[:1])]


def outputs(predictions):
    tensors = [*predictions.class_logits, *predictions.mask_embeds, *predictions.boxes]
    if predictions.mask_features is not None:
        tensors.append(predictions.mask_features)
    return tensors + (outputs(predictions.denoising) if predictions.denoising is not None else [])


def step(model, run=None):
    """Outputs of a step with the same noise, and the gradients of all weights."""
    model.zero_grad()
    torch.manual_seed(0)
    actual = outputs(model(features(), targets=targets())) if run is None else run(features())
    sum((x * x).mean() for x in actual).backward()
    return actual, {
        name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None
    }


def assert_same(gradients, expected):
    """Each within a thousandth of its norm or, where that is nothing but rounding, of the largest norm."""
    assert gradients.keys() == expected.keys()
    floor = 1e-5 * max(gradient.norm() for gradient in expected.values())
    for name, gradient in gradients.items():
        assert (gradient - expected[name]).norm() <= max(1e-3 * expected[name].norm(), floor), name


@pytest.mark.parametrize(
    'options',
    [
        dict(),
        dict(boxes_from_masks='bitmask', learned_content=True),
        dict(two_stage=False, boxes_from_masks='no'),
        dict(out_channels=None, boxes_from_masks='no'),
    ],
    ids=['two stages', 'learned contents', 'one stage', 'boxes alone'],
)
def test_recomputing_changes_nothing(options):
    (expected, reference), (actual, gradients) = (step(network(kind, **options).train()) for kind in ('none', 'full'))
    for mine, theirs in zip(actual, expected, strict=True):
        torch.testing.assert_close(mine, theirs)
    assert reference.keys() == dict(network(**options).named_parameters()).keys()
    assert_same(gradients, reference)


@pytest.mark.parametrize('start', ['no', 'mask2box'])
def test_prediction_is_one_graph(start):
    torch._dynamo.reset()
    model = network(boxes_from_masks=start).eval()
    with torch.no_grad():
        expected = outputs(model(features()))
        actual = torch.compile(lambda x: outputs(model(x)), fullgraph=True, backend='eager')(features())
    for mine, theirs in zip(actual, expected, strict=True):
        assert_close(mine, theirs, 1e-4)


def test_training_is_one_graph():
    """Without noised objects, whose number changes from batch to batch."""
    torch._dynamo.reset()
    model = network(denoising_queries=0).train()
    expected, reference = step(model, lambda x: outputs(model(x)))
    actual, gradients = step(model, torch.compile(lambda x: outputs(model(x)), fullgraph=True, backend=BACKEND))
    for mine, theirs in zip(actual, expected, strict=True):
        assert_close(mine, theirs, 1e-4)
    assert len(gradients) > 100
    assert_same(gradients, reference)


def test_noised_objects_in_a_compiled_network():
    """Compiled in place, as a user does it; graphs may break where the noise is drawn."""
    torch._dynamo.reset()
    model = network().train()
    (expected, _), (actual, _) = (
        step(model),
        step(model, lambda x: outputs(torch.compile(model.forward, backend='eager')(x, targets=targets()))),
    )
    for mine, theirs in zip(actual, expected, strict=True):
        assert_close(mine, theirs, 1e-4)


def test_tensors_of_the_levels_are_made_once_for_all_layers(monkeypatch):
    """Once for the encoder, once for the decoder: each number is a kernel of its own on a GPU."""
    filled = []

    def counted(value, device):
        filled.append(value)
        return torch.full((), value, dtype=torch.long, device=device)

    monkeypatch.setattr(deformable_sampling, '_scalar', counted)
    model = network().eval()
    with torch.no_grad():
        model(features())
    assert len(filled) == 2 * 2 * 4  # height and width of 4 levels


@pytest.mark.parametrize('two_stage', [True, False])
def test_start_queries(two_stage):
    """Learned queries, given explicitly, are what a network starts from by itself; a two-stage one selects none then,
    and every weight still gets a gradient."""
    options = dict(denoising_queries=0, boxes_from_masks='no')
    model = network(two_stage=two_stage, **options)
    start = network(two_stage=False, **options)
    content, boxes = (part.weight.expand(2, -1, -1) for part in (start.query_feat, start.query_embed))
    predictions = model.train()(features(), start_queries=(content, boxes.sigmoid()))
    assert not predictions.selected and len(predictions) == 4
    sum((x * x).mean() for x in outputs(predictions)).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    if not two_stage:
        for mine, theirs in zip(outputs(predictions), outputs(model(features())), strict=True):
            assert_close(mine, theirs, 1e-5)
