"""Files of other libraries load as MMEngine loads them, also once the registries of this package have been searched."""

import functools
import http.server
import os
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch

# Loads what the arguments name with MMEngine's loader, before and after a search of our registry, and writes both.
LOAD = """
import sys
import torch
from mmengine.runner.checkpoint import CheckpointLoader

def load(name):
    try:
        return CheckpointLoader.load_checkpoint(name, map_location='cpu', logger='silent')
    except Exception as error:
        return type(error).__name__

*names, target = sys.argv[1:]
before = [load(name) for name in names]
assert 'm2f_mm' not in sys.modules
from m2f_mm.registry import MODELS
MODELS.get('m2f_mm.FrozenBN')
torch.save([before, [load(name) for name in names]], target)
"""
STATE = {'layer.weight': torch.arange(6.0).view(2, 3), 'layer.bias': torch.ones(2, dtype=torch.float16)}
SWIN = {'patch_embed.proj.weight': torch.ones(2), 'layers.0.blocks.1.attn.qkv.weight': torch.zeros(3)}  # timm's, too
VIT = {'patch_embed.proj.weight': torch.ones(2), 'blocks.0.attn.qkv.weight': torch.zeros(3)}


def assert_equal(one, other):
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert list(one) == list(other)
        for key in one:
            assert_equal(one[key], other[key])
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for pair in zip(one, other):
            assert_equal(*pair)
    elif isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype and torch.equal(one, other)
    else:
        assert one == other


def write_torch_files(folder):
    """Files that MMEngine can read, of several contents, formats and suffixes."""
    whole = dict(
        meta=dict(epoch=3, names=('a', 'b')),
        optimizer=dict(state={0: dict(step=torch.tensor(7))}, param_groups=[dict(lr=0.1, params=[0])]),
        state_dict=STATE,
        message_hub=dict(x=1),
    )
    contents = dict(
        whole=whole,
        trainer=dict(model=SWIN, optimizer={}, iteration=3),
        flat=STATE,
        swin=SWIN,
        vit=VIT,
        list=[1, STATE],
    )
    for suffix in ('.bin', '.pkl', '.pickle', '.PKL', '.pth', ''):
        for name, content in contents.items():
            torch.save(content, folder / f'{name}{suffix}')
            yield str(folder / f'{name}{suffix}')
        torch.save(whole, folder / f'legacy{suffix}', _use_new_zipfile_serialization=False)
        yield str(folder / f'legacy{suffix}')


def write_plain_pickles(folder):
    """Files that MMEngine cannot read: weights of another library, and no weights."""
    weights = dict(model={name: value.numpy() for name, value in VIT.items()}, iteration=3)
    for name, content in (('weights', weights), ('proposals', [np.ones(3)])):
        (folder / f'{name}_plain.pkl').write_bytes(pickle.dumps(content, protocol=2))
        yield str(folder / f'{name}_plain.pkl')


def write_safetensors(folder):
    safetensors = pytest.importorskip('safetensors.torch')
    for name, state in (('flat', STATE), ('swin', SWIN), ('vit', VIT)):
        safetensors.save_file(state, folder / f'{name}.safetensors', dict(format='pt'))
        yield str(folder / f'{name}.safetensors')


@pytest.fixture(scope='module')
def loaded(tmp_path_factory):
    """For every group of names, triples of the name and what MMEngine gives before and after; and the requests that
    the server got."""
    folder = tmp_path_factory.mktemp('files')
    requests = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            requests.append(self.requestline)

    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    groups = dict(
        torch=list(write_torch_files(folder)),
        plain=list(write_plain_pickles(folder)),
        safetensors=list(write_safetensors(folder)),
        elsewhere=['s3://bucket/a.pkl', 'petrel:s3://bucket/a.safetensors', str(folder / 'nowhere.pkl')],
        web=[f'http://127.0.0.1:{server.server_port}/whole{suffix}' for suffix in ('.bin', '.pkl')],
    )
    names = [name for group in groups.values() for name in group]
    try:
        done = subprocess.run(
            [sys.executable, '-c', LOAD, *names, str(folder / 'loaded')],
            capture_output=True,
            text=True,
            env=dict(
                os.environ, PYTHONPATH=os.pathsep.join(sys.path), TORCH_HOME=str(folder / 'torch'), no_proxy='127.0.0.1'
            ),
        )
    finally:
        server.shutdown()
        server.server_close()
    assert done.returncode == 0, done.stderr
    triples = iter(zip(names, *torch.load(folder / 'loaded', weights_only=False)))
    return {group: [next(triples) for _ in members] for group, members in groups.items()} | dict(requests=requests)


def test_files_of_torch(loaded):
    for name, before, after in loaded['torch']:
        assert isinstance(before, dict | list), name
        assert_equal(after, before)
        if 'whole' in name:
            assert after['optimizer']['param_groups'] == [dict(lr=0.1, params=[0])] and after['meta']['epoch'] == 3


def test_safetensors_keep_names_and_form(loaded):
    for (_, before, after), state in zip(loaded['safetensors'], (STATE, SWIN, VIT)):
        assert_equal(dict(sorted(after.items())), dict(sorted(state.items())))
        if isinstance(before, dict):  # current torch reads them itself
            assert_equal(dict(sorted(after.items())), dict(sorted(before.items())))


def test_plain_pickles_are_read_where_mmengine_cannot(loaded):
    """Names that only look like a known backbone's stay, and so does what the file holds beside weights."""
    (_, before, weights), (_, _, proposals) = loaded['plain']
    assert isinstance(before, str)
    assert weights['iteration'] == 3 and weights['state_dict'].keys() == VIT.keys()
    assert proposals == 'ValueError'


def test_other_schemes_and_missing_files_are_left_to_their_loaders(loaded):
    assert all(before == after for _, before, after in loaded['elsewhere'])
    assert loaded['elsewhere'][-1][2] == 'FileNotFoundError'


def test_what_torch_has_in_its_cache_is_not_fetched_again(loaded):
    for _, before, after in loaded['web']:
        assert_equal(after, before)
        assert after['meta']['epoch'] == 3
    assert [request.split()[1] for request in loaded['requests']] == ['/whole.bin', '/whole.pkl']
