"""The command ``m2f``: what it writes, and what it says to mistakes."""

import json
import os
import socket
import sys

import numpy as np
import pytest
from PIL import Image

pytest.importorskip('mmdet')

from m2f_mm.apis import cli
from tests.helpers.commands import run_python
from tests.helpers.small_models import SEGMENTOR, write_checkpoint


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp('model') / 'model.pth')


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    for name in ('a/1.png', 'a/2.jpg', 'b/1.png'):
        path = tmp_path / 'photos' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (40, 56, 3), np.uint8)).save(path)
    return tmp_path


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob('*') if path.is_file())


def run(*arguments):
    return cli.main([str(argument) for argument in arguments])


def test_predict_and_resume(model, photos, capsys):
    """Every kind of file, names kept; a second run has nothing to do, after a broken one the rest."""
    kinds = 'drawn,json,coco,panoptic,semantic,yolo,labelme,label_studio'
    command = ('predict', model, 'photos', '--out', 'out', '--save', kinds)
    assert run(*command) == 0
    out = photos / 'out'
    assert {f'drawn/{name}' for name in ('a/1.png', 'a/2.jpg', 'b/1.png')} <= set(files(out))
    for folder, suffix in (('json', '.json'), ('labelme', '.json'), ('yolo', '.txt'), ('semantic', '.png')):
        assert files(out / folder) == [f'{name}{suffix}' for name in ('a/1', 'a/2', 'b/1')]
    coco = json.loads((out / 'coco.json').read_text())
    assert [each['file_name'] for each in coco['images']] == ['a/1.png', 'a/2.jpg', 'b/1.png']
    assert {each['image_id'] for each in coco['annotations']} <= {1, 2, 3} and len(coco['categories']) == 7
    panoptic = json.loads((out / 'panoptic.json').read_text())
    assert [each['file_name'] for each in panoptic['annotations']] == ['a/1.png', 'a/2.png', 'b/1.png']
    before = {name: (out / name).stat().st_mtime_ns for name in files(out)}
    assert '3 images' in capsys.readouterr().out
    assert run(*command) == 2 and '--resume' in capsys.readouterr().err
    (out / 'yolo' / 'a' / '2.txt').unlink()
    assert run(*command, '--resume') == 0 and '1 images' in capsys.readouterr().out
    assert sorted(before) == files(out) and before['drawn/a/1.png'] == (out / 'drawn/a/1.png').stat().st_mtime_ns
    assert json.loads((out / 'coco.json').read_text()) == coco
    assert run('predict', model, 'photos', '--out', 'out', '--save', kinds, '--resume', '--task', 'instance') == 2
    assert 'of another run' in capsys.readouterr().err


def test_images_of_one_stem_stay_apart(model, photos):
    Image.fromarray(np.zeros((40, 56, 3), np.uint8)).save(photos / 'photos' / 'a' / '1.jpg')
    assert run('predict', model, 'photos/a', '--out', 'out', '--save', 'json') == 0
    assert files(photos / 'out' / 'json') == ['1.json', '1.png.json', '2.json']


def test_bad_images_do_not_end_a_run(model, photos, capsys):
    (photos / 'photos' / 'a' / '2.jpg').write_bytes(b'x')
    with pytest.warns(UserWarning, match='a/2.jpg'):
        assert run('predict', model, 'photos', '--out', 'out', '--save', 'json') == 0
    assert 'left out: a/2.jpg' in capsys.readouterr().err and len(files(photos / 'out' / 'json')) == 2
    assert run('predict', model, 'photos', '--out', 'strict', '--save', 'json', '--strict') == 2


MISTAKES = [
    (['predict', 'MODEL', 'nowhere'], "there is no file, folder or address 'nowhere'"),
    (['predict', 'MODEL', 'empty'], 'hold no images'),
    (['predict', 'MODEL', 'text.txt', '--strict'], 'text.txt is not a readable image'),
    (['predict', 'mask2former_r50_coco-panoptc', 'photos'], 'Did you mean'),
    (['predict', 'nothing.pth', 'photos'], "there is no checkpoint 'nothing.pth'"),
    (['predict', 'broken.pth', 'photos'], 'broken.pth'),
    (['predict', 'empty', 'photos'], 'holds no config'),
    (['predict', 'MODEL', 'photos', '--weights', 'SEGMENTOR'], 'do not belong together'),
    (['predict', 'MODEL', 'photos', '--task', 'panoptc'], "did you mean 'panoptic'"),
    (['predict', 'MODEL', 'photos', '--set', 'scor_thr=1'], 'did you mean score_thr'),
    (['predict', 'MODEL', 'photos', '--set', 'score_thr'], 'write KEY=VALUE'),
    (['predict', 'MODEL', 'photos', '--save', 'labelm'], 'did you mean labelme'),
    (['predict', 'MODEL', 'photos', '--device', 'cuda:9'], "device='cuda:9'"),
    (['predict', 'MODEL', 'photos', '--out', 'text.txt'], 'is a file'),
    (['predict', 'MODEL', 'photos', '--out', 'photos'], 'is read as data'),
    (['predict', 'MODEL', 'photos', '--out', 'photos/out'], 'is read as data'),
    (['predict', 'MODEL', 'photos', '--out', 'other'], 'holds other files'),
    (['predict', 'MODEL', 'photos', '--tile', '2'], 'tile=2'),
    (['predict'], 'the following arguments are required'),
    (['predct'], 'did you mean predict?'),
    (['models', 'nosuchmodel'], 'no shipped model'),
    (['evaluate', 'MODEL'], 'SHAPES_ROOT'),
    (['serve'], 'm2f serve work_dirs/mine'),
    (['serve', 'MODEL', '--port', '99999'], 'give a number in 0..65535'),
    (['serve', 'MODEL', '--host', '198.51.100.7'], 'is no address of this machine'),
    (['serve', 'MODEL', '--max-mb', '0'], 'give a size above 0'),
    (['train', 'nosuchconfig'], 'ships no config'),
]


@pytest.mark.parametrize('arguments, message', MISTAKES, ids=[' '.join(each[0]) for each in MISTAKES])
def test_mistakes_are_one_sentence(arguments, message, model, photos, capsys, tmp_path_factory):
    """Exit status 2, no traceback, nothing half-written."""
    (photos / 'empty').mkdir()
    (photos / 'text.txt').write_text('x')
    (photos / 'other').mkdir()
    (photos / 'other' / 'x').touch()
    (photos / 'broken.pth').write_bytes(b'x')
    if 'SEGMENTOR' in arguments:
        write_checkpoint(photos / 'segmentor.pth', SEGMENTOR)
    names = dict(MODEL=model, SEGMENTOR='segmentor.pth')
    before = files(photos)
    try:
        status = run(*[names.get(argument, argument) for argument in arguments])
    except SystemExit as end:  # of argparse
        status = end.code
    error = capsys.readouterr().err
    assert status == 2 and message in error and 'Traceback' not in error
    left = [name for name in files(photos) if name not in before]
    assert left in ([], ['predictions/run.json'])


def test_debug_shows_where_an_error_came_from(model, photos):
    try:
        with pytest.raises(FileNotFoundError):
            run('--debug', 'predict', model, 'nowhere')
    finally:
        os.environ.pop(cli.DEBUG, None)


def test_a_port_in_use(model, capsys):
    with socket.create_server(('127.0.0.1', 0)) as other:
        port = other.getsockname()[1]
        assert run('serve', model, '--port', port) == 2
    error = capsys.readouterr().err
    assert f'port {port} of 127.0.0.1 cannot be used' in error and f'--port {port + 1}' in error
    assert error.count('\n') == 1


def test_serve_without_gradio(model, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'gradio', None)
    assert run('serve', model, '--port', 0) == 2
    assert 'pip install' in capsys.readouterr().err


def test_a_full_disk(model, photos, monkeypatch, capsys):
    from m2f_mm.apis import prediction_files

    def full(path, content):
        raise OSError(28, f'{path} cannot be written: No space left on device')

    monkeypatch.setattr(prediction_files, 'write_file', full)
    assert run('predict', model, 'photos', '--out', 'out', '--save', 'yolo') == 2
    assert 'No space left on device' in capsys.readouterr().err


def test_interrupted(model, photos, monkeypatch, capsys):
    """Ctrl-C: what is there is whole, and the run goes on later."""
    from m2f_mm.apis.prediction_files import PredictionFiles

    write, written = PredictionFiles.write, []

    def one(self, result):
        if written:
            raise KeyboardInterrupt
        written.append(write(self, result))

    monkeypatch.setattr(PredictionFiles, 'write', one)
    command = ('predict', model, 'photos', '--out', 'out', '--save', 'json')
    assert run(*command) == 130 and capsys.readouterr().err.strip() == 'm2f: interrupted'
    assert files(photos / 'out') == ['json/a/1.json', 'run.json']
    monkeypatch.undo()
    os.chdir(photos)
    assert run(*command, '--resume') == 0 and len(files(photos / 'out' / 'json')) == 3


def test_models(capsys):
    assert run('models', 'cityscapes', 'swin-l', '--names') == 0
    names = capsys.readouterr().out.split()
    assert names and all('cityscapes' in name and 'swin-l' in name for name in names)
    assert run('models', 'coco-panoptic', 'r50') == 0
    table = capsys.readouterr().out
    assert 'PQ 51.9' in table and 'CC BY-NC 4.0' in table


def test_bench(model, capsys):
    assert run('bench', model, '--size', '40x56', '--runs', '2') == 0
    told = capsys.readouterr().out
    assert all(part in told for part in ('prepare', 'network', 'result', 'total', 'median of 2'))
    assert run('bench', model, '--runs', '0') == 2 and run('bench', model, '--size', 'x') == 2


def test_completion(capsys):
    pytest.importorskip('shtab', reason='shtab is not installed')
    assert run('completion', 'bash') == 0 and 'predict' in capsys.readouterr().out


def test_tools_behind_verbs(tmp_path):
    """In processes of their own, as a user runs them."""
    done = run_python('-m', 'm2f_mm.apis.cli', 'doctor', '--json')
    assert json.loads(done.stdout)['facts'], done.output
    done = run_python('-m', 'm2f_mm.apis.cli', 'convert', tmp_path / 'none.pth', tmp_path / 'out.pth')
    assert done.returncode == 2 and 'none.pth' in done.stderr and 'Traceback' not in done.stderr
    done = run_python('-m', 'm2f_mm.apis.cli', 'train', 'nosuchconfig')
    assert done.returncode == 2 and 'm2f train: error' in done.stderr
