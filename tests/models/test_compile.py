"""``torch.compile`` of the network: one graph, the same numbers; the criterion stays outside."""

import pytest
import torch

from tests.helpers.tiny_models import assert_close, build_detector, detection_batch, mmdet_config, use_our_heads

pytest.importorskip('mmdet')

# 'aot_eager' traces forward and backward as any backend gets them, and then runs them without a C++ compiler; 'eager'
# runs what Dynamo captured, in half the time.
BACKEND = 'aot_eager'


@pytest.fixture
def detector():
    cfg = use_our_heads(mmdet_config())
    cfg.type = 'm2f_mm.Mask2Former'
    cfg.backbone.update(depth=18, norm_cfg=dict(type='m2f_mm.FrozenBN'))  # each block is traced anew
    cfg.panoptic_head.in_channels = [4, 8, 16, 32]
    detector = build_detector(cfg)
    torch._dynamo.reset()
    return detector


def network(detector):
    """Backbone and head; a function, since the structure that comes out is not what is compiled."""

    def run(images):
        predictions = detector.panoptic_head(detector.backbone(images))
        return predictions.class_logits, predictions.mask_embeds, predictions.mask_features

    return run


def test_prediction_is_one_graph(detector):
    run = network(detector.eval())
    images = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected, actual = run(images), torch.compile(run, fullgraph=True, backend='eager')(images)
    for mine, theirs in zip(torch.utils._pytree.tree_leaves(actual), torch.utils._pytree.tree_leaves(expected)):
        assert_close(mine, theirs, 1e-5)


def test_training_is_one_graph(detector):
    """Outputs and the gradients of every parameter."""
    run = network(detector.train())
    images = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))

    def step(forward):
        detector.zero_grad()
        outputs = torch.utils._pytree.tree_leaves(forward(images))
        sum(output.square().mean() for output in outputs).backward()
        return outputs, {name: p.grad.clone() for name, p in detector.named_parameters() if p.grad is not None}

    expected, expected_gradients = step(run)
    actual, gradients = step(torch.compile(run, fullgraph=True, backend=BACKEND))
    for mine, theirs in zip(actual, expected):
        assert_close(mine, theirs, 1e-5)
    assert gradients.keys() == expected_gradients.keys() and len(gradients) > 100
    for name, gradient in gradients.items():
        assert_close(gradient, expected_gradients[name], 1e-3, name)


def test_losses_of_a_compiled_network(detector):
    """Compiled in place, as a user does it; matching and losses are not compiled and give what they gave before."""
    detector.train()
    head = detector.panoptic_head
    data = detector.data_preprocessor(detection_batch(), True)

    def losses():
        torch.manual_seed(0)
        return detector.loss(data['inputs'], data['data_samples'])

    expected = losses()
    detector.backbone.compile(backend='eager', fullgraph=True)
    head.forward = torch.compile(head.forward, backend='eager')  # what comes out is a structure of this package
    actual = losses()
    assert actual.keys() == expected.keys()
    for name, loss in actual.items():
        assert_close(loss, expected[name], 1e-4, name)
    sum(actual.values()).backward()
