"""Weights of any source: read without running anything, recognised by name, loaded and converted."""

import copy
import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import load_checkpoint

from m2f_mm.checkpoints import key_map, read_state_dict, source_of, to_official, to_ours
from m2f_mm.checkpoints.sources import in_order
from m2f_mm.datasets.ade20k_categories import THING_IDS
from m2f_mm.heads import head_of
from tests.helpers.commands import run_python
from tests.helpers.official_names import (
    head_keys,
    maskformer_head_keys,
    resnet101_keys,
    resnet101c_keys,
    resnet_keys,
    spread,
    swin_keys,
)
from tests.helpers.tiny_models import draw

ROOT = Path(__file__).resolve().parents[2]


def thin(cfg):
    """A recipe's model with all its layers, but few channels."""
    model = cfg.model
    model.backbone.update(base_channels=4, stem_channels=4, init_cfg=None)
    head = head_of(model)
    head.update(in_channels=[16, 32, 64, 128], feat_channels=32, out_channels=32)
    if 'feedforward_channels' in head.pixel_decoder:
        head.pixel_decoder.feedforward_channels = 16
    head.transformer_decoder.update(embed_dims=32, feedforward_channels=16)
    return cfg


def recipe(name):
    name = name if name.startswith('maskformer') else f'mask2former_r50_8xb2-{name}'
    return thin(Config.fromfile(ROOT / 'configs' / name.split('_')[0] / f'{name}.py'))


def build(cfg):
    pytest.importorskip(cfg.default_scope)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        return MODELS.build(cfg.model)


def official_keys(name):
    """The names that the official model of a recipe has."""
    if not name.startswith('maskformer'):
        return [*spread('backbone', resnet_keys()), *head_keys()]
    backbone = resnet101c_keys() if 'r101c' in name else resnet101_keys() if 'r101' in name else resnet_keys()
    return [*spread('backbone', backbone), *maskformer_head_keys(name.endswith('panoptic'))]


def official_weights(model, head, name=''):
    """The model's tensors under official names, each with numbers of its own."""
    shapes = {ours: tuple(value.shape) for ours, value in model.state_dict().items()}
    names = key_map(official_keys(name), head)
    return {key: draw(key, shapes[name]) for key, name in names.items()}


def as_pickle(state, path, protocol=2):
    """A file as detectron2 writes it."""
    content = dict(
        model={key: value.numpy() for key, value in state.items()}, __author__='someone', matching_heuristics=True
    )
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return str(path)


@pytest.mark.parametrize('protocol', [2, 4])
def test_detectron2_pickles_are_read(tmp_path, protocol):
    state = {'stem.conv1.weight': torch.randn(2, 3), 'res2.0.conv1.norm.bias': torch.arange(3)}
    result = read_state_dict(as_pickle(state, tmp_path / 'a.pkl', protocol))
    assert result.keys() == state.keys() and all(torch.equal(result[key], state[key]) for key in state)


def test_files_of_torch_and_safetensors_are_read(tmp_path):
    safetensors = pytest.importorskip('safetensors.torch')
    state = {'a.weight': torch.randn(2, 3)}
    torch.save(dict(model=state, iteration=3), tmp_path / 'a.pth')
    torch.save(state, tmp_path / 'b.bin')
    torch.save(dict(state_dict=state, meta=dict(epoch=1)), tmp_path / 'c.pkl')  # whatever its name
    safetensors.save_file(state, tmp_path / 'd.safetensors')
    for name in ('a.pth', 'b.bin', 'c.pkl', 'd.safetensors'):
        assert torch.equal(read_state_dict(tmp_path / name)['a.weight'], state['a.weight'])


class Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize('name', ['evil.pkl', 'evil.pth'])
def test_code_in_a_file_is_refused_and_not_run(tmp_path, name):
    content = dict(model={'a.weight': np.zeros(3), 'b': Evil(tmp_path / 'ran')})
    if name.endswith('pth'):
        torch.save(content, tmp_path / name)
    else:
        (tmp_path / name).write_bytes(pickle.dumps(content))
    with pytest.raises(ValueError, match=name):
        read_state_dict(tmp_path / name)
    assert not (tmp_path / 'ran').exists()


class Forged:
    """Asks NumPy for objects in the place of bytes, which would crash or worse."""

    def __reduce__(self):
        return np.ndarray, ((1,), 'O', np.full(8, 0x41, 'u1')), None, None, iter([(0, 'x')])


@pytest.mark.parametrize(
    'forged', [Forged(), np.array([{}, 'text'], object), np.zeros(2, 'V8'), np.zeros(2, [('f', 'f4')])]
)
def test_arrays_of_anything_but_numbers_are_refused(tmp_path, forged):
    (tmp_path / 'a.pkl').write_bytes(pickle.dumps(dict(model={'a.weight': forged})))
    with pytest.raises(ValueError, match='a.pkl is refused'):
        read_state_dict(tmp_path / 'a.pkl')


def test_every_kind_of_number_keeps_type_shape_and_order(tmp_path):
    arrays = dict(
        scalar=np.array(7),
        half=np.ones((2, 1), np.float16),
        flags=np.array([True, False]),
        empty=np.zeros((0, 3)),
        columns=np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        big=np.arange(3, dtype='>i4'),
        one=np.int64(5),
    )
    (tmp_path / 'a.pkl').write_bytes(pickle.dumps(dict(model=arrays), protocol=2))
    result = read_state_dict(tmp_path / 'a.pkl')
    for name, array in arrays.items():
        assert result[name].shape == np.shape(array) and np.array_equal(result[name].numpy(), array), name
    assert result['half'].dtype == torch.float16 and result['flags'].dtype == torch.bool


BROKEN = [
    b'',
    b'\x8e' + b'\xff' * 8,
    b'no pickle at all',
    pickle.dumps(dict(model=dict(a=np.zeros(3))))[:40],
    pickle.dumps([1, 2]),
    pickle.dumps(dict(model=dict(a='text'))),
]


@pytest.mark.parametrize('content', BROKEN)
@pytest.mark.parametrize('name', ['a.pkl', 'a.pth', 'a.safetensors'])
def test_files_without_weights_are_named(tmp_path, content, name):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=name.replace('.', r'\.')):
        read_state_dict(tmp_path / name)
    with pytest.raises(FileNotFoundError, match='nowhere.pkl do not exist'):
        read_state_dict(tmp_path / 'nowhere.pkl')


@pytest.mark.parametrize(
    'keys, word',
    [
        (
            ['criterion.empty_weight', 'sem_seg_head.predictor.query_feat.weight', 'backbone.res2.0.conv1.bias'],
            'official',
        ),
        (['model.pixel_level_module.encoder.x', 'class_predictor.bias'], 'Hugging'),
        (['backbone.conv1.weight', 'panoptic_head.query_feat.weight'], 'MMDetection'),
        (['stem.conv1.weight', 'stem.fc.weight'], 'backbone'),
        (['patch_embed.proj.bias', 'head.weight'], 'backbone'),
    ],
)
def test_names_say_the_source(keys, word):
    assert word in source_of(keys)


def test_unknown_names_are_refused():
    assert source_of(['a.b', 'c.d']) is None
    with pytest.raises(KeyError, match='belong to no source'):
        to_ours({'a.b': torch.zeros(1)})
    with pytest.raises(KeyError, match='keys are not those of'):
        to_ours({'sem_seg_head.predictor.query_feat.weight': torch.zeros(1), 'sem_seg_head.predictor.other.weight': 1})


@pytest.mark.parametrize(
    'name, head, way',
    [
        ('lsj-50e_coco-panoptic', 'panoptic_head', 'pth'),
        ('lsj-50e_coco-panoptic', 'panoptic_head', 'load_state_dict'),
        ('160k_ade20k-panoptic', 'panoptic_head', 'pkl'),
        ('160k_ade20k-512x512', 'decode_head', 'pth'),
        ('160k_ade20k-512x512', 'decode_head', 'load_state_dict'),
        ('maskformer_r50_64xb1-ms-300e_coco-panoptic', 'panoptic_head', 'pkl'),
        ('maskformer_r101_8xb2-720k_ade20k-panoptic', 'panoptic_head', 'load_state_dict'),
        ('maskformer_r101c_8xb2-160k_ade20k-512x512', 'decode_head', 'pkl'),
    ],
)
def test_load_from_takes_official_weights(name, head, way, tmp_path):
    """Every tensor arrives; the classes of ADE20K panoptic are in another order there."""
    model = build(recipe(name))
    state = official_weights(model, head, name)
    if way == 'pkl':
        load_checkpoint(model, as_pickle(state, tmp_path / 'model.pkl'), strict=True)
    elif way == 'pth':
        torch.save(dict(model=state, iteration=7), tmp_path / 'model.pth')
        load_checkpoint(model, str(tmp_path / 'model.pth'), strict=True)
    else:
        model.load_state_dict(state)
    loaded = model.state_dict()
    moved = [f'{head}.cls_embed.weight', f'{head}.cls_embed.bias'] if 'ade20k-panoptic' in name else []
    for key, ours in key_map(state, head).items():
        if ours not in moved:
            assert torch.equal(loaded[ours], state[key]), ours
    for ours in moved:
        theirs = state[f'sem_seg_head.predictor.class_embed.{ours.rpartition(".")[2]}']
        assert torch.equal(loaded[ours][:100], theirs[list(THING_IDS)])
        assert torch.equal(loaded[ours][100], theirs[0]) and torch.equal(loaded[ours][-1], theirs[-1])
    again = build(recipe(name))
    again.load_state_dict(loaded)  # our own names are in our order
    assert all(torch.equal(value, loaded[key]) for key, value in again.state_dict().items())


def test_copies_of_a_model_take_official_weights():
    """As that of an exponential moving average."""
    model = build(recipe('lsj-50e_coco-panoptic'))
    state = official_weights(model, 'panoptic_head')
    copied = pickle.loads(pickle.dumps(copy.deepcopy(model)))
    copied.load_state_dict(state)
    assert not torch.equal(copied.backbone.conv1.weight, model.backbone.conv1.weight)
    model.load_state_dict(state)
    assert all(torch.equal(value, copied.state_dict()[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize('head', ['panoptic_head', 'decode_head'])
@pytest.mark.parametrize(
    'backbone, names, number',
    [
        (resnet_keys, head_keys(), None),
        (swin_keys, head_keys(), None),
        (resnet_keys, maskformer_head_keys(True), 482),
        (resnet_keys, maskformer_head_keys(False), 410),
        (resnet101_keys, maskformer_head_keys(True), 737),
        (resnet101_keys, maskformer_head_keys(False), 665),
        (resnet101c_keys, maskformer_head_keys(False), 675),
        (swin_keys, maskformer_head_keys(False), 334 - 12),
    ],
)
@pytest.mark.parametrize('class_ids', [None, (2, 0, 3, 1)])
def test_way_there_and_back(head, backbone, names, number, class_ids):
    """Official to ours to official, name by name and number by number; the patch merging and the classes are moved.
    ``number`` is how many keys the official file has, a buffer of the criterion among them, and not counting Swin's
    indices of relative positions."""
    keys = [*spread('backbone', backbone()), *names]
    assert number in (None, len(keys) + 1)
    there = {key: draw(key, (5, 8)) for key in keys}
    ours = to_ours(there, head, class_ids)
    assert source_of(ours) != source_of(there)
    assert torch.equal(ours[f'{head}.cls_embed.weight'], there['sem_seg_head.predictor.class_embed.weight']) == (
        class_ids is None
    )
    back = to_official(ours, head, class_ids)
    assert back.keys() == there.keys()
    assert back._metadata['sem_seg_head'] == back._metadata['sem_seg_head.predictor'] == dict(version=2)
    assert all(torch.equal(back[key], there[key]) for key in keys)
    again = to_ours(back, head, class_ids)
    assert again.keys() == ours.keys() and all(torch.equal(again[key], ours[key]) for key in ours)


@pytest.mark.parametrize(
    'names',
    [head_keys(), maskformer_head_keys(True), maskformer_head_keys(False)],
    ids=['Mask2Former', 'MaskFormer', 'MaskFormer, FPN'],
)
def test_names_from_before_the_pixel_decoder_was_a_module(names):
    older = {key.replace('sem_seg_head.pixel_decoder.', 'sem_seg_head.'): key for key in names}
    assert key_map(older) == {old: key_map(names)[key] for old, key in older.items()}


def test_what_has_no_official_name_is_named():
    with pytest.raises(KeyError, match='panoptic_head.other.weight'):
        to_official({'panoptic_head.query_feat.weight': torch.zeros(1), 'panoptic_head.other.weight': torch.zeros(1)})


def test_detectron2_backbone_in_init_cfg(tmp_path):
    cfg = recipe('lsj-50e_coco-panoptic')
    model = build(cfg)
    state = {
        key: draw(key, tuple(model.backbone.state_dict()[name].shape))
        for key, name in to_ours_names(resnet_keys()).items()
    }
    path = as_pickle({**state, 'stem.fc.weight': torch.zeros(2), 'stem.fc.bias': torch.zeros(2)}, tmp_path / 'R-50.pkl')
    cfg.model.backbone.init_cfg = dict(type='Pretrained', checkpoint=path)
    model = build(cfg)
    model.backbone.init_weights()
    for key, name in to_ours_names(resnet_keys()).items():
        assert torch.equal(model.backbone.state_dict()[name], state[key]), name


def to_ours_names(keys):
    """Official to our names of a backbone, through the converter: each tensor holds its own number."""
    numbered = {key: torch.full((4,), number) for number, key in enumerate(keys)}
    return {keys[int(number[0])]: name for name, number in to_ours(numbered).items()}


def convert(*arguments):
    return run_python(ROOT / 'tools/convert_checkpoint.py', *arguments)


@pytest.fixture
def config(tmp_path):
    """A file with a thin ADE20K panoptic model."""
    path = tmp_path / 'config.py'
    recipe('160k_ade20k-panoptic').dump(str(path))
    return path


def test_conversion_says_what_it_did(tmp_path, config):
    model = build(Config.fromfile(config))
    source = as_pickle(official_weights(model, 'panoptic_head'), tmp_path / 'model.pkl')
    done = convert(source, tmp_path / 'out.pth', '--config', config)
    assert done.returncode == 0, done.stderr
    assert 'official (detectron2)' in done.stdout and 'are missing' not in done.stdout
    content = torch.load(tmp_path / 'out.pth', weights_only=True)
    assert content['meta']['source_sha256'] == hashlib.sha256(Path(source).read_bytes()).hexdigest()
    model.load_state_dict(read_state_dict(source))
    for name, value in content['state_dict'].items():
        assert torch.equal(value, model.state_dict()[name]), name
    done = convert(tmp_path / 'out.pth', tmp_path / 'back.pth', '--config', config, '--to', 'official')
    assert done.returncode == 0, done.stderr
    content = torch.load(tmp_path / 'back.pth', weights_only=True)
    assert content['model']._metadata['sem_seg_head'] == dict(version=2)
    back, there = read_state_dict(tmp_path / 'back.pth'), read_state_dict(source)
    assert back.keys() == there.keys() and all(torch.equal(back[key], there[key]) for key in there)


def test_conversion_to_hugging_face(tmp_path, config):
    """By the command line, with the classes in the published order; the way back gives the same model."""
    safetensors = pytest.importorskip('safetensors.torch')
    model = build(Config.fromfile(config))
    source = as_pickle(official_weights(model, 'panoptic_head'), tmp_path / 'model.pkl')
    for target in ('model.safetensors', 'pytorch_model.bin'):
        done = convert(source, tmp_path / target, '--config', config, '--to', 'huggingface')
        assert done.returncode == 0, done.stderr
    state = safetensors.load_file(tmp_path / 'model.safetensors')
    torch_state = torch.load(tmp_path / 'pytorch_model.bin', weights_only=True)
    assert state.keys() == torch_state.keys() and all(torch.equal(state[key], torch_state[key]) for key in state)
    classes = read_state_dict(source)['sem_seg_head.predictor.class_embed.weight']
    assert torch.equal(state['class_predictor.weight'], classes)
    again = build(Config.fromfile(config))
    model.load_state_dict(read_state_dict(source))
    load_checkpoint(again, str(tmp_path / 'model.safetensors'))
    for name, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_checkpoints_of_videos_are_converted(tmp_path):
    """Official ones both ways; of an image model everything but the classes."""
    cfg = thin(Config.fromfile(ROOT / 'configs/mask2former_video/mask2former_r50_8xb2-8e_youtubevis2019.py'))
    config, source = tmp_path / 'config.py', tmp_path / 'model.pkl'
    cfg.dump(str(config))
    model = build(cfg)
    as_pickle(official_weights(model, 'track_head'), source)
    done = convert(source, tmp_path / 'out.pth', '--config', config)
    assert done.returncode == 0 and 'are missing' not in done.stdout, done.stderr
    model.load_state_dict(read_state_dict(source))
    result = torch.load(tmp_path / 'out.pth', weights_only=True)['state_dict']
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in result.items())
    assert convert(tmp_path / 'out.pth', tmp_path / 'back.pth', '--config', config, '--to', 'official').returncode == 0
    back, there = read_state_dict(tmp_path / 'back.pth'), read_state_dict(source)
    assert back.keys() == there.keys() and all(torch.equal(back[key], there[key]) for key in there)
    torch.save(dict(state_dict=build(recipe('lsj-50e_coco')).state_dict()), tmp_path / 'image.pth')
    done = convert(tmp_path / 'image.pth', tmp_path / 'video.pth', '--config', config)
    assert done.returncode and '2 have another shape' in done.stdout and 'are missing' not in done.stdout
    done = convert(tmp_path / 'image.pth', tmp_path / 'video.pth', '--config', config, '--partial')
    result = torch.load(tmp_path / 'video.pth', weights_only=True)['state_dict']
    assert done.returncode == 0 and 'track_head.query_feat.weight' in result
    assert 'track_head.cls_embed.weight' not in result


@pytest.mark.parametrize('no_object', [False, True])
def test_rows_of_classes_change_places(no_object):
    """Those of Mask DINO's class layer, with or without no-object, and of the labels that it denoises."""
    rows = 10.0 * torch.arange(3 + no_object)
    state = {
        'decode_head.cls_embed.weight': rows[:, None].expand(-1, 2),
        'decode_head.cls_embed.bias': rows,
        'decode_head.label_embed.weight': rows[:3, None],
        'decode_head.query_feat.weight': rows[:3, None],
    }
    result = in_order(state, 'decode_head', (2, 0, 1))
    expected = [20, 0, 10] + [30] * no_object
    assert result['decode_head.cls_embed.weight'][:, 1].tolist() == expected
    assert result['decode_head.cls_embed.bias'].tolist() == expected
    assert result['decode_head.label_embed.weight'].flatten().tolist() == [20, 0, 10]
    assert result['decode_head.query_feat.weight'].flatten().tolist() == [0, 10, 20]
    back = in_order(result, 'decode_head', (1, 2, 0))
    assert all(torch.equal(back[name], state[name]) for name in state)


def test_order_of_classes_is_not_guessed(tmp_path, config):
    """A whole model needs its config, in either direction, unless the order is known to be the published one."""
    source = as_pickle(official_weights(build(Config.fromfile(config)), 'panoptic_head'), tmp_path / 'model.pkl')
    done = convert(source, tmp_path / 'out.pth')
    assert done.returncode == 1 and '--config CONFIG is needed' in done.stderr and not (tmp_path / 'out.pth').exists()
    assert convert(source, tmp_path / 'out.pth', '--keep-order').returncode == 0
    done = convert(tmp_path / 'out.pth', tmp_path / 'back.pth', '--to', 'official')
    assert done.returncode == 1 and not (tmp_path / 'back.pth').exists()
    assert convert(tmp_path / 'out.pth', tmp_path / 'back.pth', '--to', 'official', '--keep-order').returncode == 0
    back, there = read_state_dict(tmp_path / 'back.pth'), read_state_dict(source)
    assert back.keys() == there.keys() and all(torch.equal(back[key], there[key]) for key in there)


def test_swin_of_imagenet_is_converted(tmp_path):
    cfg = Config.fromfile(ROOT / 'configs/mask2former/mask2former_swin-t-p4-w7-224_8xb2-lsj-50e_coco-panoptic.py')
    names = to_ours_names(swin_keys())
    model = build(cfg)
    state = {
        key: draw(key, tuple(model.state_dict()[name].shape))
        for key, name in names.items()
        if not name.startswith('backbone.norm')
    }
    torch.save(dict(model={**state, 'head.weight': torch.ones(3), 'norm.bias': torch.ones(3)}), tmp_path / 'swin.pth')
    cfg.dump(str(tmp_path / 'config.py'))
    done = convert(tmp_path / 'swin.pth', tmp_path / 'out.pth', '--config', tmp_path / 'config.py')
    assert done.returncode == 0 and 'a backbone alone' in done.stdout, done.stderr
    cfg.model.backbone.init_cfg.checkpoint = str(tmp_path / 'out.pth')
    model = build(cfg)
    model.backbone.init_weights()
    assert torch.equal(model.backbone.patch_embed.projection.weight, state['patch_embed.proj.weight'])
    assert torch.equal(model.backbone.stages[3].blocks[1].ffn.layers[1].bias, state['layers.3.blocks.1.mlp.fc2.bias'])


def test_conversion_refuses_another_model(tmp_path, config):
    cfg = Config.fromfile(config)
    cfg.model.panoptic_head.num_queries = 7
    source = as_pickle(official_weights(build(cfg), 'panoptic_head'), tmp_path / 'model.pkl')
    done = convert(source, tmp_path / 'out.pth', '--config', config)
    assert done.returncode == 1 and 'Nothing was written' in done.stderr
    assert 'panoptic_head.query_feat.weight: (7, 32) in the file, (100, 32) in the model' in done.stdout
    assert not (tmp_path / 'out.pth').exists()
    done = convert(source, tmp_path / 'out.pth', '--config', config, '--partial')
    assert done.returncode == 0 and 'panoptic_head.query_feat.weight' not in read_state_dict(tmp_path / 'out.pth')
    (tmp_path / 'evil.pkl').write_bytes(pickle.dumps(dict(model=dict(a=Evil(tmp_path / 'ran')))))
    done = convert(tmp_path / 'evil.pkl', tmp_path / 'evil.pth')
    assert done.returncode == 1 and 'Nothing of it was run' in done.stderr and 'Traceback' not in done.stderr
    assert not (tmp_path / 'ran').exists() and not (tmp_path / 'evil.pth').exists()
