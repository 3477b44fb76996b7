"""Built models survive what MMEngine and users do to them: copies, pickles, averages of weights."""

import copy
import functools
import pickle

import pytest
import torch
from mmengine.model import ExponentialMovingAverage
from mmengine.structures import BaseDataElement

from tests.helpers.mask_dino_models import detector as mask_dino
from tests.helpers.per_pixel_models import segmentor as per_pixel
from tests.helpers.tiny_models import (
    build_segmentor,
    clip_batch,
    detection_batch,
    mmseg_config,
    our_detector,
    semantic_batch,
    step,
)

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')


def segmentor():
    config = mmseg_config()
    config.type = 'm2f_mm.MaskSegmentor'
    config.decode_head.type = 'm2f_mm.Mask2FormerSegHead'
    return build_segmentor(config)


def averaged(model):
    average = ExponentialMovingAverage(model, update_buffers=True)
    average.update_parameters(model)
    return average.module


MODELS = {
    'detector': (lambda: our_detector('images')[0], detection_batch),
    'Mask DINO': (mask_dino, detection_batch),
    'segmentor': (segmentor, semantic_batch),
    'per-pixel segmentor': (lambda: per_pixel('PerPixelPlusSegHead'), semantic_batch),
    'video detector': (lambda: our_detector('clips')[0], clip_batch),
}
COPIES = {
    'deepcopy': copy.deepcopy,
    'pickle': lambda model: pickle.loads(pickle.dumps(model)),
    'average': averaged,
}


@functools.cache
def trained(kind):
    """A model that has done a training step and a prediction, whose results are the second value."""
    build, batch = MODELS[kind]
    model = build().train()
    step(model, batch())
    return model, results(model, batch())


def results(model, data):
    with torch.no_grad():
        return list(tensors(model.eval().test_step(data)))


def tensors(value):
    """Every tensor within samples of results."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, BaseDataElement):
        for _, item in sorted(value.items()):
            yield from tensors(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tensors(item)


@pytest.mark.parametrize('way', COPIES)
@pytest.mark.parametrize('kind', MODELS)
def test_copies_predict_alike_and_learn_alone(kind, way):
    model, expected = trained(kind)
    batch = MODELS[kind][1]
    other = COPIES[way](model)
    actual = results(other, batch())
    assert len(actual) == len(expected) > 2
    assert all(torch.equal(*pair) for pair in zip(actual, expected))
    losses = step(other.train().requires_grad_(), batch())  # which the average does not
    assert all(loss.isfinite() for loss in losses.values())
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    assert all(torch.equal(*pair) for pair in zip(results(model, batch()), expected))
