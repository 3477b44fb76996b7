"""Every implementation of deformable sampling against one that is written with loops."""

import math
from importlib.util import find_spec

import pytest
import torch

from m2f_mm.models.layers.deformable_sampling import BACKENDS, choose_backend, sample_levels
from tests.helpers.reference import slow_sampling

SHAPES = ((3, 5), (6, 2), (1, 4))
IMPLEMENTATIONS = [
    'sparse',
    'pytorch',
    pytest.param(
        'deformops',
        marks=pytest.mark.skipif(
            find_spec('deformops') is None, reason='the package deformops (Python >= 3.12) is not installed'
        ),
    ),
    pytest.param('mmcv', marks=pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')),
]


def make_inputs(dtype=torch.float64, batch=2, queries=4, heads=2, channels=8, points=4):
    torch.manual_seed(0)
    value = torch.randn(batch, sum(h * w for h, w in SHAPES), heads, channels, dtype=dtype)
    locations = torch.rand(batch, queries, heads, len(SHAPES), points, 2, dtype=dtype) * 1.6 - 0.3  # some lie outside
    locations = locations + 1e-3  # not on the middle of a pixel, where there is no derivative
    weights = torch.rand(batch, queries, heads, len(SHAPES), points, dtype=dtype)
    return value, locations, weights


def run(backend, inputs):
    device = 'cuda' if backend == 'mmcv' else 'cpu'
    value, locations, weights = (x.to(device) for x in inputs)
    return sample_levels(value, SHAPES, locations, weights, backend=backend)


@pytest.mark.parametrize('backend', IMPLEMENTATIONS)
def test_sampling(backend):
    inputs = make_inputs()
    torch.testing.assert_close(run(backend, inputs).cpu(), slow_sampling(inputs[0], SHAPES, *inputs[1:]))


@pytest.mark.parametrize('backend', IMPLEMENTATIONS)
def test_gradients(backend):
    inputs = [x.requires_grad_() for x in make_inputs(queries=2)]
    assert torch.autograd.gradcheck(lambda *x: run(backend, x), inputs, nondet_tol=1e-9)


@pytest.mark.parametrize('backend', IMPLEMENTATIONS)
def test_in_float32(backend):
    inputs = make_inputs(torch.float32)
    wide = [x.double().requires_grad_() for x in inputs]
    narrow = [x.requires_grad_() for x in inputs]
    expected, actual = run('pytorch', wide), run(backend, narrow)
    assert actual.dtype == torch.float32
    torch.testing.assert_close(actual.cpu().double(), expected, atol=1e-5, rtol=1e-5)
    expected.square().sum().backward()
    actual.square().sum().backward()
    for mine, twin in zip(narrow, wide):
        torch.testing.assert_close(mine.grad.double(), twin.grad, atol=1e-4, rtol=1e-4)


def test_the_sparse_one_keeps_its_arguments_only():
    inputs = [x.requires_grad_() for x in make_inputs()]
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: saved.append(x.data_ptr()) or x, lambda x: x):
        run('sparse', inputs)
    assert sorted(saved) == sorted(x.data_ptr() for x in inputs)


def test_what_is_no_number_is_not_hidden():
    """The matcher names layer and image of it later; here nothing may crash. Infinitely far is outside."""
    for broken in (float('nan'), float('inf'), -1e30):
        value, locations, weights = (x.requires_grad_() for x in make_inputs())
        with torch.no_grad():
            locations[0, 1] = broken
        out = run('sparse', (value, locations, weights))
        out.sum().backward()
        assert out[0, 1].isnan().all() == math.isnan(broken) and out[1].isfinite().all()


def test_the_choice():
    assert choose_backend('auto', 'cpu') == 'sparse'
    assert choose_backend('auto', 'meta') == 'pytorch'
    for backend in ('mmcv', 'deformops', 'sparse', 'pytorch'):
        assert backend in BACKENDS
    with pytest.raises(ValueError, match="must be one of .*got 'triton'"):
        choose_backend('triton', 'cpu')
    with pytest.raises(ValueError, match="'mmcv' does not run on 'cpu': it needs a GPU"):
        choose_backend('mmcv', 'cpu')
