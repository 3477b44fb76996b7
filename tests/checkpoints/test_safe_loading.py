"""No file of weights runs code while our tools run, whatever it is called and wherever it lies; files of other
libraries are read as ever while they do not."""

import functools
import http.server
import io
import os
import pickle
import sys
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseModule
from mmengine.runner import checkpoint as mmengine_checkpoint
from mmengine.runner import load_checkpoint
from mmengine.runner.checkpoint import CheckpointLoader, _load_checkpoint

from m2f_mm.checkpoints import downloads, loading, read_state_dict, safe_loading

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / 'tools'))
MARKER = 'ran'
SUFFIXES = ('.pth', '.pt', '.ckpt', '.pkl', '.PKL', '.Pkl', '.pickle', '.bin', '.BIN', '.safetensors', '.tar', '')


class Evil:
    """Makes a file when it is unpickled."""

    def __init__(self, call, *args):
        self.call = call, args

    def __reduce__(self):
        return self.call


def evils(marker):
    """Objects that would run something, by name."""
    command = f'touch {marker}'
    return dict(
        system=Evil(os.system, command),
        path=Evil(Path.touch, Path(marker)),
        text=Evil(eval, f'__import__("os").system("{command}")'),
        attribute=Evil(getattr, HistoryBuffer, '__init__'),
    )


def content(evil):
    return dict(meta=dict(epoch=1, iter=2, note=evil), state_dict={'linear.weight': torch.ones(1, 1)}, optimizer={})


def write(path, kind, evil):
    """A file with ``evil`` in it, as torch saves, as torch once saved, or as a plain pickle of some protocol."""
    if kind == 'zip':
        torch.save(content(evil), path)
    elif kind == 'legacy':
        torch.save(content(evil), path, _use_new_zipfile_serialization=False)
    else:
        path.write_bytes(pickle.dumps(dict(model=dict(a=np.ones(2), b=evil)), protocol=kind))
    return str(path)


class Linear(BaseModule):
    def __init__(self, init_cfg=None):
        super().__init__(init_cfg)
        self.linear = torch.nn.Linear(1, 1)


@pytest.fixture
def web(tmp_path, monkeypatch):
    """A server of a folder, and its address; torch's cache is another folder."""
    folder = tmp_path / 'web'
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        cut = False  # break off in the middle

        def log_message(self, *_):
            pass

        def copyfile(self, source, outputfile):
            body = source.read()
            outputfile.write(body[: len(body) // 2] if Quiet.cut else body)

    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    yield folder, f'http://127.0.0.1:{server.server_port}', Quiet
    server.shutdown()


@pytest.mark.smoke
@pytest.mark.parametrize('suffix', SUFFIXES)
def test_nothing_runs_from_a_file_of_any_suffix_and_format(suffix, tmp_path):
    for kind in ('zip', 'legacy', 0, 2, 4):
        for name, evil in evils(tmp_path / MARKER).items():
            path = write(tmp_path / f'{name}{kind}{suffix}', kind, evil)
            for address in (path, f'file://{path}'):
                refused = f'{name}{kind}{suffix} .*othing of it was run'
                with safe_loading(), pytest.raises(ValueError, match=refused) as told:
                    _load_checkpoint(address, map_location='cpu')
                assert 'weights_only' not in str(told.value), 'torch advises to switch the check off'
            with pytest.raises(ValueError, match='othing of it was run'):
                read_state_dict(path)
    assert not (tmp_path / MARKER).exists()


WAYS = dict(
    load_from=lambda name: load_checkpoint(Linear(), name, map_location='cpu'),
    init_cfg=lambda name: Linear(dict(type='Pretrained', checkpoint=name)).init_weights(),
    prefix=lambda name: Linear(dict(type='Pretrained', checkpoint=name, prefix='linear.')).init_weights(),
    loader=lambda name: CheckpointLoader.load_checkpoint(name),
)


@pytest.mark.parametrize('way', WAYS)
@pytest.mark.parametrize('suffix', ['.pth', '.PKL', '.bin'])
def test_nothing_runs_by_any_way_to_a_file(way, suffix, web, tmp_path):
    folder, address, _ = web
    for kind in ('zip', 2):
        write(folder / f'{kind}{suffix}', kind, Evil(os.system, f'touch {tmp_path / MARKER}'))
        for name in (str(folder / f'{kind}{suffix}'), f'{address}/{kind}{suffix}'):
            with safe_loading(), pytest.raises(ValueError, match='othing of it was run'):
                WAYS[way](name)
    assert not (tmp_path / MARKER).exists()
    assert list((tmp_path / 'hub' / 'checkpoints').iterdir()) == []


@pytest.mark.parametrize(
    'load',
    [
        lambda name, address: torch.load(name, weights_only=False),
        lambda name, address: torch.hub.load_state_dict_from_url(address, map_location='cpu'),
        lambda name, address: CheckpointLoader.load_checkpoint('torchvision://resnet50'),
        lambda name, address: CheckpointLoader.load_checkpoint('mmcls://resnet50'),
    ],
)
def test_nothing_runs_from_what_others_load_meanwhile(load, web, tmp_path, monkeypatch):
    folder, address, _ = web
    path = write(folder / 'a.pth', 'zip', Evil(os.system, f'touch {tmp_path / MARKER}'))
    for models in ('get_torchvision_models', 'get_mmcls_models'):
        monkeypatch.setattr(mmengine_checkpoint, models, lambda: dict(resnet50=f'{address}/a.pth'))
    with safe_loading(), pytest.raises((ValueError, pickle.UnpicklingError)):
        load(path, f'{address}/a.pth')
    assert not (tmp_path / MARKER).exists()


def test_loading_is_as_before_when_the_tool_is_done(tmp_path):
    schemes, functions = dict(CheckpointLoader._schemes), dict(vars(mmengine_checkpoint))
    environment = os.environ.get(loading.FORCED)
    with pytest.raises(ZeroDivisionError), safe_loading():
        raise ZeroDivisionError
    assert CheckpointLoader._schemes == schemes and dict(vars(mmengine_checkpoint)) == functions
    assert list(CheckpointLoader._schemes) == list(schemes), 'MMEngine looks in this order'
    assert os.environ.get(loading.FORCED) == environment


@pytest.mark.parametrize('suffix', ['.bin', '.pkl', '.PKL', '.pth'])
@pytest.mark.parametrize('safely', [False, True])
def test_files_of_torch_keep_all_that_they_hold(suffix, safely, tmp_path):
    """Names that look like a backbone's stay, too: a file of another library is its own matter."""
    saved = dict(
        meta=dict(epoch=1, names=('a', 'b')),
        optimizer=dict(state={}, param_groups=[dict(lr=0.1)]),
        state_dict={'patch_embed.proj.weight': torch.ones(2), 'layers.0.blocks.1.x': torch.zeros(1)},
    )
    torch.save(saved, tmp_path / f'a{suffix}')
    if safely:
        with safe_loading():
            loaded = _load_checkpoint(str(tmp_path / f'a{suffix}'), map_location='cpu')
    else:
        loaded = _load_checkpoint(str(tmp_path / f'a{suffix}'), map_location='cpu')
    assert loaded.keys() == saved.keys() and loaded['meta'] == saved['meta']
    assert loaded['optimizer'] == saved['optimizer'] and loaded['state_dict'].keys() == saved['state_dict'].keys()


def test_what_a_pickle_holds_beside_weights_stays(tmp_path):
    (tmp_path / 'a.pkl').write_bytes(pickle.dumps(dict(model={'x.weight': np.ones(2)}, __author__='someone')))
    loaded = _load_checkpoint(str(tmp_path / 'a.pkl'))
    assert loaded['__author__'] == 'someone' and torch.equal(loaded['state_dict']['x.weight'], torch.ones(2).double())


def test_config_text_in_a_checkpoint_is_not_run_by_a_resume(tmp_path):
    """MMEngine's Runner.resume runs meta.config as Python."""
    text = f'open({str(tmp_path / MARKER)!r}, "w")'
    torch.save(dict(content(1), meta=dict(config=text, iter=1)), tmp_path / 'a.pth')
    with safe_loading():
        assert _load_checkpoint(str(tmp_path / 'a.pth'))['meta'] == dict(iter=1)


class TakenMemory:
    """An array of objects made of bytes: their addresses are the file's choice."""

    def __reduce__(self):
        return np.ndarray, ((1,), 'O', np.full(8, 0x41, 'u1'))


@pytest.mark.parametrize(
    'forged',
    [TakenMemory(), np.array([{}], object), np.zeros(2, [('f', 'f4')]), np.dtype('f8').newbyteorder(), np.dtype('O')],
)
@pytest.mark.parametrize('kind', ['zip', 'legacy'])
def test_arrays_in_files_of_torch_are_of_numbers_or_texts(forged, kind, tmp_path):
    path = write(tmp_path / 'a.pth', kind, forged)
    if isinstance(forged, np.dtype) and forged.kind == 'f':
        assert isinstance(read_state_dict(path), dict)  # stands alone for no array
        return
    with pytest.raises(ValueError, match='a.pth'):
        read_state_dict(path)


def rewritten(path, change, compression=zipfile.ZIP_STORED):
    """The archive at ``path`` again, with the bytes of its pickle changed."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, 'w', compression) as archive:
        for name, part in parts.items():
            archive.writestr(name, change(part) if name.endswith('data.pkl') else part)
    return path


def lying_array():
    array = pickle.dumps(dict(model=dict(a=np.ones(3))), protocol=2)
    assert array.count(b'K\x03\x85') == 1
    return array.replace(b'K\x03\x85', b'J\xff\xff\xff\x7f\x85')  # the shape


def bombs(folder):
    """Files that would take far more memory than they have bytes, or that lie about it."""
    torch.save(dict(state_dict=dict(a=torch.zeros(500_000))), folder / 'compressed.pth')
    rewritten(folder / 'compressed.pth', bytes, zipfile.ZIP_DEFLATED)
    torch.save(dict(state_dict=dict(a=torch.zeros(1).expand(10**6, 10**6))), folder / 'expanded.pth')
    torch.save(dict(state_dict=dict(a=torch.zeros(4))), folder / 'storage.pth')
    rewritten(folder / 'storage.pth', lambda part: part.replace(b'K\x04', b'J\x00\x00\x00\x7f'))
    (folder / 'shape.pkl').write_bytes(lying_array())
    header = b'{"a":{"dtype":"F32","shape":[1000000,1000000],"data_offsets":[0,4000000000000]}}'
    (folder / 'offsets.safetensors').write_bytes(len(header).to_bytes(8, 'little') + header + b'0' * 64)
    (folder / 'length.safetensors').write_bytes((1 << 40).to_bytes(8, 'little') + header)
    (folder / 'nested.safetensors').write_bytes((10**5).to_bytes(8, 'little') + b'{"a":' + b'[' * (10**5 - 5))
    stream = io.BytesIO()
    torch.save(dict(a=torch.zeros(1000)), stream)
    (folder / 'torn.pth').write_bytes(stream.getvalue()[:2000])
    (folder / 'empty.pth').write_bytes(b'')
    (folder / 'long.pkl').write_bytes(b'\x80\x04\x8e' + (1 << 45).to_bytes(8, 'little') + b'x')
    (folder / 'page.pth').write_bytes(b'<html>not found</html>')
    return sorted(path.name for path in folder.iterdir())


def test_bombs_and_lies_are_refused_by_the_name_of_the_file(tmp_path):
    names = bombs(tmp_path)
    assert len(names) == 11
    for name in names:
        with pytest.raises(ValueError, match=name):
            read_state_dict(tmp_path / name)
        with safe_loading(), pytest.raises(ValueError, match=name):
            _load_checkpoint(str(tmp_path / name))


def save(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(dict(state_dict={'linear.weight': torch.full((1, 1), float(value))}), path)


def weight(name):
    with safe_loading():
        return float(_load_checkpoint(name, map_location='cpu')['state_dict']['linear.weight'])


@pytest.mark.parametrize('suffix', ['.pth', '.bin', '.safetensors'])
def test_two_addresses_with_one_file_name_are_two_files(suffix, web):
    folder, address, _ = web
    for name, value in (('a', 1), ('b', 2)):
        save(folder / name / f'model{suffix}', value)
    for _ in range(2):
        assert weight(f'{address}/a/model{suffix}') == 1 and weight(f'{address}/b/model{suffix}') == 2
    for name in 'ab':  # from the cache from now on
        (folder / name / f'model{suffix}').unlink()
    assert weight(f'{address}/a/model{suffix}') == 1 and weight(f'{address}/b/model{suffix}') == 2


def test_the_own_folder_has_files_by_their_plain_names(tmp_path, monkeypatch):
    save(tmp_path / 'model.pth', 3)
    monkeypatch.setenv(downloads.FOLDER_VARIABLE, str(tmp_path))
    assert weight('https://somewhere/model.pth') == 3


@pytest.mark.parametrize('head', [True, False], ids=['length is known', 'length is not known'])
def test_a_download_that_broke_off_does_not_stay(head, web, tmp_path, monkeypatch):
    folder, address, server = web
    save(folder / 'model.pth', 1)
    if not head:
        monkeypatch.delattr(http.server.SimpleHTTPRequestHandler, 'do_HEAD')
    monkeypatch.setattr(server, 'cut', True)
    with pytest.raises((OSError, ValueError), match='broke off' if head else 'model.pth'):
        weight(f'{address}/model.pth')
    assert list((tmp_path / 'hub' / 'checkpoints').iterdir()) == []
    monkeypatch.setattr(server, 'cut', False)
    assert weight(f'{address}/model.pth') == 1


def test_a_file_that_was_changed_in_the_cache_is_fetched_again(web, tmp_path):
    folder, address, _ = web
    save(folder / 'model.pth', 1)
    assert weight(f'{address}/model.pth') == 1
    (cached,) = (path for path in (tmp_path / 'hub' / 'checkpoints').iterdir() if path.suffix == '.pth')
    save(cached, 9)
    assert weight(f'{address}/model.pth') == 1
    save(cached, 9)
    (folder / 'model.pth').unlink()
    with pytest.raises(OSError, match='404'):
        weight(f'{address}/model.pth')


def test_released_weights_are_compared_with_their_checksum_in_the_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    save(tmp_path / 'checkpoints' / 'resnet50-0676ba61.pth', 9)

    def offline(*_):
        raise OSError('no network')

    monkeypatch.setattr(torch.hub, 'download_url_to_file', offline)
    with pytest.raises(FileNotFoundError, match='no network'):
        loading.load_named('m2f_mm://resnet50')


@pytest.mark.parametrize('tool', ['train', 'test', 'video_demo'])
def test_tools_load_safely(tool):
    """Each main is wrapped: arguments that end the tool at once leave loading as it was."""
    module = __import__(tool)
    values = []
    original, module.parse_args = module.parse_args, lambda *_: values.append(os.environ.get(loading.FORCED)) or exit()
    try:
        with pytest.raises(SystemExit):
            module.main()
    finally:
        module.parse_args = original
    assert values == ['1'] and os.environ.get(loading.FORCED) != '1'
