"""Training in half precision on the whole model: close to float32 where it matters."""

import pytest
import torch

from tests.helpers.recorded_random import RecordedPoints
from tests.helpers.tiny_models import (
    build_detector,
    clip_batch,
    detection_batch,
    gradients,
    mmdet_config,
    our_detector,
    use_our_heads,
)

pytest.importorskip('mmdet')


def trained(kind, dtype=None):
    """(losses, gradients) of one step with the same points, inside autocast or not."""
    detector, head = our_detector(kind)
    head.criterion.draw = RecordedPoints()
    data = detector.train().data_preprocessor(detection_batch() if kind == 'images' else clip_batch(), True)
    with torch.autocast('cpu', dtype or torch.bfloat16, enabled=dtype is not None):
        losses = detector(**data, mode='loss')
    scale = 2**10 if dtype == torch.float16 else 1  # what a gradient scaler would do
    (sum(losses.values()) * scale).backward()
    return losses, {name: gradient / scale for name, gradient in gradients(detector).items()}


@pytest.fixture(scope='module', params=['images', 'clips'])
def expected(request):
    """(what is trained, losses and gradients in float32)."""
    return request.param, trained(request.param)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16], ids=['bf16', 'fp16'])
def test_losses_and_gradients(dtype, expected):
    kind, (full_losses, full_gradients) = expected
    losses, gradients = trained(kind, dtype)
    assert losses.keys() == full_losses.keys()
    for loss in losses.values():
        assert loss.dtype == torch.float32 and loss.isfinite()
    total, full_total = float(sum(losses.values())), float(sum(full_losses.values()))
    assert abs(total - full_total) < 0.03 * full_total
    for name, gradient in gradients.items():
        assert gradient is not None and gradient.isfinite().all(), name
    flat, reference = (
        torch.cat([values[name].flatten() for name in gradients]) for values in (gradients, full_gradients)
    )
    similarity = torch.nn.functional.cosine_similarity(flat, reference, 0)
    assert float(similarity) > (0.95 if dtype == torch.bfloat16 else 0.99), similarity


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16], ids=['bf16', 'fp16'])
def test_inference(dtype):
    """Results have the types and sizes of float32 ones, and mostly say the same."""
    detector = build_detector(use_our_heads(mmdet_config())).eval()
    results = []
    for enabled in (False, True):
        data = detector.data_preprocessor(detection_batch(), False)
        with torch.no_grad(), torch.autocast('cpu', dtype, enabled=enabled):
            results.append(detector.predict(data['inputs'], data['data_samples']))
    for full, half in zip(*results):
        assert half.pred_instances.scores.dtype == torch.float32
        full, half = full.pred_panoptic_seg.sem_seg, half.pred_panoptic_seg.sem_seg
        assert full.shape == half.shape and full.dtype == half.dtype
        assert float((full % 1000 == half % 1000).float().mean()) > 0.7
