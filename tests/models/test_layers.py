"""Each layer against a slow or a library twin, and against numbers of the official modules."""

import pytest
import torch
from mmcv.ops import MultiScaleDeformableAttention
from torch import nn

from benchmarks.harness import kept_memory
from m2f_mm.models.layers import Attention, FrozenBN, MSDeformAttn, ms_deform_attn, recompute_outputs, sine_position
from m2f_mm.models.layers.deformable_sampling import sample_levels
from tests.helpers.reference import slow_sampling

SHAPES = [(3, 4), (2, 1)]  # of two levels, the second with a border on every side of every sample


def make_attention(dtype=torch.float64):
    torch.manual_seed(0)
    attention = MSDeformAttn(embed_dims=8, num_heads=2, num_levels=2, num_points=3).to(dtype)
    for parameter in attention.parameters():
        nn.init.normal_(parameter, std=0.5)
    tokens = sum(height * width for height, width in SHAPES)
    query, value = torch.randn(2, 5, 8, dtype=dtype), torch.randn(2, tokens, 8, dtype=dtype)
    return attention, query, value


@pytest.mark.parametrize('dims', [2, 4])
def test_deformable_attention_is_what_it_is_defined_to_be(dims):
    attention, query, value = make_attention()
    reference = torch.rand(2, 5, 2, dims, dtype=torch.float64)
    offsets = attention.sampling_offsets(query).view(2, 5, 2, 2, 3, 2)
    weights = attention.attention_weights(query).view(2, 5, 2, 6).softmax(-1).view(2, 5, 2, 2, 3)
    sizes = torch.tensor([(width, height) for height, width in SHAPES])
    if dims == 2:
        locations = reference[:, :, None, :, None] + offsets / sizes[:, None]
    else:
        box = reference[:, :, None, :, None]
        locations = box[..., :2] + offsets / 3 * box[..., 2:] / 2
    expected = attention.output_proj(
        slow_sampling(attention.value_proj(value).unflatten(-1, (2, 4)), SHAPES, locations, weights)
    )
    torch.testing.assert_close(attention(query, value, reference, SHAPES), expected)


def test_deformable_attention_is_mmcvs():
    """Without mmcv's residual."""
    attention, query, value = make_attention(torch.float32)
    twin = MultiScaleDeformableAttention(8, 2, 2, 3, dropout=0.0, batch_first=True)
    twin.load_state_dict(attention.state_dict())
    reference = torch.rand(2, 5, 2, 2)
    shapes = torch.tensor(SHAPES)
    starts = torch.cat((shapes.new_zeros(1), shapes.prod(1).cumsum(0)[:-1]))
    expected = twin(
        query,
        value=value,
        identity=torch.zeros_like(query),
        reference_points=reference,
        spatial_shapes=shapes,
        level_start_index=starts,
    )
    torch.testing.assert_close(attention(query, value, reference, SHAPES), expected)


def test_gradients_of_deformable_attention():
    attention, query, value = make_attention()
    reference = torch.rand(1, 5, 2, 2, dtype=torch.float64) * 0.8 + 0.1
    inputs = (query[:1, :2].requires_grad_(), value[:1].requires_grad_())
    assert torch.autograd.gradcheck(
        lambda q, v: attention(q, v, reference[:, :2], SHAPES), inputs, fast_mode=False, nondet_tol=1e-9
    )


def test_first_offsets_point_in_all_directions():
    """The official initialisation: head h looks along its own direction, point k + 1 pixels away."""
    attention = MSDeformAttn(embed_dims=16, num_heads=8, num_levels=3, num_points=4)
    attention.init_weights()
    offsets = attention.sampling_offsets.bias.view(8, 3, 4, 2)
    directions = torch.tensor([(1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1)])
    steps = torch.arange(1, 5)
    expected = directions[:, None, None] * steps[:, None]
    torch.testing.assert_close(offsets, expected.expand_as(offsets).float(), atol=1e-5, rtol=0)
    assert not attention.sampling_offsets.weight.any() and not attention.attention_weights.weight.any()


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_coordinates_stay_float32_under_amp(dtype, monkeypatch):
    """In fp16 a coordinate near 1 is off by up to a pixel of a map of 2048."""
    dtypes = []

    def spy(value, shapes, locations, weights, *options):
        dtypes.append((value.dtype, locations.dtype, weights.dtype))
        return sample_levels(value, shapes, locations, weights, *options)

    monkeypatch.setattr(ms_deform_attn, 'sample_levels', spy)
    attention, query, value = make_attention(torch.float32)
    reference = torch.rand(1, 5, 2, 2)
    with torch.autocast('cpu', dtype):
        out = attention(query, value, reference, SHAPES)
    assert dtypes == [(torch.float32,) * 3]
    expected = attention(query, value, reference, SHAPES)
    assert (out.float() - expected).abs().max() < 0.05 * expected.abs().max()


@pytest.mark.parametrize('masked', [False, True])
def test_attention_is_multi_head_attention(masked):
    """Output and gradients, with one mask for all heads."""
    torch.manual_seed(0)
    attention = Attention(16, 4)
    twin = nn.MultiheadAttention(16, 4, batch_first=True)
    twin.load_state_dict(attention.attn.state_dict())
    query, key, value = torch.randn(2, 5, 16), torch.randn(2, 7, 16), torch.randn(2, 7, 16)
    allowed = torch.rand(2, 1, 5, 7) < 0.4
    allowed[..., 0] = True
    out = attention(query, key, value, allowed if masked else None)
    blocked = ~allowed.expand(-1, 4, -1, -1).flatten(0, 1) if masked else None
    expected = twin(query, key, value, attn_mask=blocked, need_weights=False)[0]
    torch.testing.assert_close(out, expected)
    out.square().sum().backward()
    expected.square().sum().backward()
    for parameter, reference in zip(attention.attn.parameters(), twin.parameters()):
        torch.testing.assert_close(parameter.grad, reference.grad)


def random_batch_norm():
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(6).eval()
    for value in norm.state_dict().values():
        if value.is_floating_point():
            value.uniform_(0.5, 2)
    return norm


def test_frozen_batch_norm_is_batch_norm_in_eval_mode():
    norm, frozen = random_batch_norm(), FrozenBN(6)
    frozen.load_state_dict(norm.state_dict(), strict=True)  # num_batches_tracked is let pass
    x = torch.randn(2, 6, 4, 5)
    mine, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    torch.testing.assert_close(frozen.train()(mine), norm(theirs))
    frozen(mine).square().sum().backward()
    norm(theirs).square().sum().backward()
    torch.testing.assert_close(mine.grad, theirs.grad)
    assert not list(frozen.parameters()), 'nothing to train'


def test_frozen_batch_norm_in_place():
    """Only where it is asked for, and without gradients."""
    x = torch.randn(2, 6, 4, 5)
    expected, plain, lean = FrozenBN(6)(x), FrozenBN(6), FrozenBN(6, inplace=True)
    with torch.no_grad():
        assert plain(x) is not x
        overwritten = x.clone()
        assert lean(overwritten) is overwritten
        torch.testing.assert_close(overwritten, expected)
    kept = x.clone().requires_grad_()
    lean(kept).sum().backward()
    assert torch.equal(kept, x) and kept.grad is not None


def test_frozen_batch_norm_goes_back_into_batch_norm():
    frozen, norm = FrozenBN(6), random_batch_norm()
    missing, unexpected = norm.load_state_dict(frozen.state_dict(), strict=False)
    assert missing in ([], ['num_batches_tracked']) and not unexpected
    torch.testing.assert_close(norm.running_var, torch.ones(6))


def test_frozen_batch_norm_still_reports_what_is_missing():
    with pytest.raises(RuntimeError, match='running_var'):
        FrozenBN(2).load_state_dict(dict(weight=torch.ones(2), bias=torch.ones(2), running_mean=torch.ones(2)))
    with pytest.raises(RuntimeError, match='strange'):
        FrozenBN(2).load_state_dict({**FrozenBN(2).state_dict(), 'strange': torch.ones(2)})


def test_frozen_batch_norm_saves_no_input():
    x = torch.randn(1, 6, 4, 5, requires_grad=True)
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t.numel()) or t, lambda t: t):
        FrozenBN(6)(x).sum()
    assert max(saved, default=0) < x.numel(), 'the backward pass needs the scale only'


def test_position_encoding_of_an_image():
    """Numbers of the official module for a map of 3 x 5 with 128 features an axis."""
    encoding = sine_position(3, 5, 128).tokens().T.view(256, 3, 5)
    assert encoding.shape == (256, 3, 5)
    for first, values in (
        (0, [-0.866025, -0.500001, -0.466871, -0.884325]),
        (128, [-0.587785, -0.809017, -0.122705, -0.992443]),
    ):
        torch.testing.assert_close(encoding[first : first + 4, 1, 2], torch.tensor(values), atol=2e-6, rtol=0)
    torch.testing.assert_close(encoding[126:128, 2, 4], torch.tensor([0.000726, 1.0]), atol=2e-6, rtol=0)
    assert abs(float(encoding.sum()) - 1864.777) < 2e-2


def test_position_encoding_of_a_clip():
    encoding = sine_position(3, 5, 128, num_frames=2).tokens().view(2, 3, 5, 256).permute(0, 3, 1, 2)
    assert encoding.shape == (2, 256, 3, 5)
    for frame, first, row, column, values in (
        (0, 0, 1, 2, [-0.866023, -1.500001, -0.250481, -1.860632]),
        (1, 128, 1, 2, [-0.524994, 0.189009, -0.064269, 0.005848]),
        (1, 0, 2, 4, [-0.000004, 2.0, -1.168618, 1.572194]),
    ):
        torch.testing.assert_close(
            encoding[frame, first : first + 4, row, column], torch.tensor(values), atol=4e-6, rtol=0
        )
    assert abs(float(encoding.sum()) - 7384.563) < 5e-2


@pytest.mark.parametrize('frames', [1, 2])
def test_projected_position_is_the_projection_of_the_position(frames):
    torch.manual_seed(0)
    weight, level = torch.randn(7, 16), torch.randn(16)
    position = sine_position(3, 5, 8, frames).at_level(level)
    expected = (sine_position(3, 5, 8, frames).tokens() + level) @ weight.T
    torch.testing.assert_close(position.project(weight), expected)
    torch.testing.assert_close(position.tokens() @ weight.T, expected)


def test_positions_may_be_added_inside_of_attention():
    """Once for every level in deformable attention, for keys and values in the other."""
    attention, _, value = make_attention()
    positions = [sine_position(height, width, 4).at_level(torch.randn(8).double()) for height, width in SHAPES]
    tokens = torch.cat([position.tokens() for position in positions])
    query, reference = torch.randn_like(value), torch.rand(1, value.shape[1], 2, 2).double()
    torch.testing.assert_close(
        attention(query, value, reference, SHAPES, positions),
        attention(query + tokens, value, reference, SHAPES),
        atol=1e-6,
        rtol=1e-6,
    )

    attention = Attention(8, 2)
    query, memory = torch.randn(2, 5, 8), torch.randn(2, 12, 8)
    keys, values = sine_position(3, 4, 4), sine_position(3, 4, 4).at_level(torch.randn(8))
    torch.testing.assert_close(
        attention(query, memory, memory, key_position=keys, value_position=values),
        attention(query, memory + keys.tokens(), memory + values.tokens()),
        atol=1e-6,
        rtol=1e-5,
    )


class Sum(nn.Module):
    def forward(self, x, y):
        return x + y


def gradients_through(x, norm, tanh, add, linear, conv):
    """An output that is a view where it is kept, one made of another one, and one that dies without being kept."""
    tokens = norm(x)
    first = linear(tokens.flatten(0, 1)).view(2, 3, 4, 5)
    summed = add(tanh(first), first)
    second = conv(summed)
    del tokens, summed
    third = conv(second.exp())  # may lie where one of the others was
    return torch.autograd.grad(third.square().sum(), [x, *norm.parameters(), *linear.parameters(), *conv.parameters()])


def test_recomputed_outputs_have_the_same_gradients():
    torch.manual_seed(0)
    norm, linear, conv = nn.LayerNorm(7), nn.Linear(7, 20), nn.Conv2d(3, 3, 3, padding=1)
    cheap = [norm, nn.Tanh(), Sum()]
    x = torch.randn(2, 3, 7, requires_grad=True)
    actual = []
    for enabled in (False, True):
        with recompute_outputs(cheap, enabled):
            actual.append(gradients_through(x, *cheap, linear, conv))
    for mine, theirs in zip(*actual):
        assert torch.equal(mine, theirs)


def test_output_that_another_hook_replaces_is_not_recomputed():
    norm, linear = nn.LayerNorm(7), nn.Linear(7, 5)
    norm.register_forward_hook(lambda module, inputs, output: 2 * output)
    x = torch.randn(2, 7)
    gradients = []
    for enabled in (False, True):
        with recompute_outputs([norm], enabled):
            gradients.append(torch.autograd.grad(linear(norm(x)).square().sum(), linear.weight)[0])
    assert torch.equal(*gradients)


def test_recomputed_output_is_not_kept():
    norm, linear = nn.LayerNorm(64), nn.Linear(64, 1)
    x = torch.randn(1000, 64, requires_grad=True)
    kept_bytes = []
    for enabled in (False, True):
        with recompute_outputs([norm], enabled):
            kept_bytes.append(kept_memory(lambda: linear(norm(x))))
    assert kept_bytes[0] - kept_bytes[1] == 4 * 1000 * 64


def test_no_hook_after_the_context():
    """Modules are called again in the backward pass, by a checkpoint, and in the next step."""
    tanh, x = nn.Tanh(), torch.randn(3, 4, requires_grad=True)
    with recompute_outputs([tanh]) as context:
        tanh(x)
        assert context.outputs
    tanh(x)
    assert not context.outputs and context.saved_tensors is None and not tanh._forward_hooks


def test_tensor_at_the_address_of_a_dead_result_is_its_own():
    """As it happens when the allocator gives the same place again."""
    linear, tanh, x = nn.Linear(4, 4), nn.Tanh(), torch.randn(3, 4, requires_grad=True)
    with recompute_outputs([tanh]):
        result = tanh(x)
        kept = linear(result)  # keeps what recomputes it
        other = result.detach()
        del result
        other.fill_(7.0)
        (gradient,) = torch.autograd.grad(linear(other).sum(), linear.weight)
    assert gradient.eq(21.0).all()
    (gradient,) = torch.autograd.grad(kept.sum(), linear.weight)
    torch.testing.assert_close(gradient, x.tanh().sum(0).expand(4, -1))
