"""train.py, test.py and their launchers, on a model of four numbers."""

import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import m2f_mm  # noqa: F401  tells torch which types a checkpoint may hold
from m2f_mm.apis.work_dir_lock import NAME, work_dir_lock
from m2f_mm.checkpoints import read_state_dict
from tests.helpers.commands import output_of, run_python

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / 'tools'
CONFIG = """
custom_imports = dict(imports=['tests.helpers.toy_parts'])
model = dict(type='ToyModel', decode_head=dict(num_classes=2))
train_dataloader = dict(
    batch_size=2, num_workers=0, dataset=dict(type='ToyData'), sampler=dict(type='DefaultSampler', shuffle=False))
val_dataloader = test_dataloader = train_dataloader
val_evaluator = test_evaluator = dict(type='ToyMetric')
train_cfg = dict(by_epoch=True, max_epochs=1)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1))
"""
TTA = """
tta_model = dict(type='ToyTTA')
tta_pipeline = ['augment']
"""


@pytest.fixture
def tools(monkeypatch):
    """The modules train.py and test.py; imported by path, since 'test' is also a package of Python's own."""
    import importlib.util

    monkeypatch.syspath_prepend(str(ROOT))
    modules = []
    for name in ('train', 'test'):
        spec = importlib.util.spec_from_file_location(f'm2f_mm_tool_{name}', TOOLS / f'{name}.py')
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        modules.append(module)
    return modules


@pytest.fixture
def config(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'toy.py').write_text(CONFIG)
    (tmp_path / 'model.pth').touch()
    return tmp_path / 'toy.py'


def configure(tool, *args: str):
    return tool.configure(tool.parse_args([str(arg) for arg in args]))


def run(*command, folder: Path) -> str:
    """Output of a launcher, whose processes are interpreters of their own."""
    environment = {
        **os.environ,
        'PYTHONPATH': str(ROOT),
        'PYTHON': sys.executable,
        'OMP_NUM_THREADS': '1',
        'CUDA_VISIBLE_DEVICES': '',
    }
    done = subprocess.run([str(part) for part in command], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-1500:]
    return done.stdout + done.stderr


def test_work_dir_and_options(tools, config):
    train, _ = tools
    assert configure(train, config).work_dir == 'work_dirs/toy'
    cfg = configure(train, config, '--work-dir', 'here', '--cfg-options', 'train_cfg.max_epochs=3', 'x=[1,2]')
    assert cfg.work_dir == 'here' and cfg.train_cfg.max_epochs == 3 and cfg.x == [1, 2]


def test_resume(tools, config):
    train, _ = tools
    assert not configure(train, config).get('resume')
    cfg = configure(train, config, '--resume')
    assert cfg.resume is True and cfg.load_from is None
    cfg = configure(train, config, '--resume', '--cfg-options', 'load_from=model.pth')  # no checkpoint is there yet
    assert not cfg.resume and cfg.load_from == 'model.pth'
    cfg = configure(train, config, '--resume', 'model.pth')
    assert cfg.resume is True and cfg.load_from == 'model.pth'
    with pytest.raises(FileNotFoundError, match="--resume: there is no file 'nothing.pth'"):
        configure(train, config, '--resume', 'nothing.pth')


@pytest.mark.parametrize(
    'flags, dtype, scale',
    [
        (['--amp'], None, 'dynamic'),
        (['--amp', '--amp-dtype', 'float16'], 'float16', 'dynamic'),
        (['--amp-dtype', 'bfloat16'], 'bfloat16', 1.0),
    ],
)
def test_amp(tools, config, monkeypatch, flags, dtype, scale):
    train, _ = tools
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    wrapper = configure(train, config, *flags).optim_wrapper
    assert (wrapper.type, wrapper.get('dtype'), wrapper.loss_scale) == ('AmpOptimWrapper', dtype, scale)
    with pytest.raises(ValueError, match="--amp: optim_wrapper.type is 'DeepSpeedOptimWrapper'"):
        configure(train, config, *flags, '--cfg-options', 'optim_wrapper.type=DeepSpeedOptimWrapper')


def test_amp_without_gpu_is_refused(tools, config, monkeypatch):
    train, _ = tools
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(ValueError, match='--amp needs a GPU'):
        configure(train, config, '--amp')


def test_auto_scale_lr(tools, config):
    train, _ = tools
    with pytest.raises(ValueError, match='no auto_scale_lr.base_batch_size'):
        configure(train, config, '--auto-scale-lr')
    cfg = configure(train, config, '--auto-scale-lr', '--cfg-options', 'auto_scale_lr.base_batch_size=16')
    assert cfg.auto_scale_lr == dict(base_batch_size=16, enable=True)


@pytest.mark.parametrize(
    'args, message',
    [
        (['nothing.py', 'model.pth'], "config: there is no file 'nothing.py'"),
        (['toy.py', 'nothing.pth'], "checkpoint: there is no file 'nothing.pth'"),
        (['toy.py', 'model.pth', '--tta'], 'toy.py has no tta_model and no tta_pipeline'),
        (['toy.py', 'model.pth', '--out', 'a.json'], "--out is 'a.json'"),
        (['toy.py', 'model.pth', '--show-dir', 'x'], '--show-dir need default_hooks.visualization'),
        (['toy.py', 'model.pth', '--cfg-options', 'test_dataloader=None'], 'toy.py has no test_dataloader'),
    ],
)
def test_mistakes_are_named(tools, config, args, message):
    _, test = tools
    with pytest.raises((FileNotFoundError, ValueError), match=message):
        configure(test, *args)


def test_tta_wraps_the_model(tools, config):
    _, test = tools
    config.write_text(CONFIG + TTA)
    cfg = configure(test, config, 'model.pth', '--tta')
    assert cfg.model.type == 'ToyTTA' and cfg.model.module.type == 'ToyModel'
    assert cfg.test_dataloader.dataset.pipeline == ['augment']


def test_tta_reaches_all_joined_data_sets(tools, config):
    _, test = tools
    joined = "test_dataloader['dataset'] = dict(type='ConcatDataset', datasets=[dict(type='ToyData')] * 2)\n"
    config.write_text(CONFIG + joined + TTA)
    dataset = configure(test, config, 'model.pth', '--tta').test_dataloader.dataset
    assert [part.pipeline for part in dataset.datasets] == [['augment']] * 2 and 'pipeline' not in dataset


def test_out_of_a_detector_and_of_a_segmentor(tools, config):
    _, test = tools
    cfg = configure(test, config, 'model.pth', '--out', 'a.pkl')
    assert [part.type for part in cfg.test_evaluator] == ['ToyMetric', 'm2f_mm.DumpDetResults']
    cfg = configure(test, config, 'model.pth', '--out', 'maps', '--cfg-options', 'default_scope=mmseg')
    assert cfg.test_evaluator.output_dir == 'maps' and cfg.test_evaluator.keep_results


def test_show_dir_reaches_the_hook_that_draws(tools, config):
    _, test = tools
    config.write_text(CONFIG + "default_hooks = dict(visualization=dict(type='V'))\nvisualizer = dict(type='W')\n")
    cfg = configure(test, config, 'model.pth', '--show-dir', 'x')
    assert cfg.default_hooks.visualization == dict(type='V', draw=True, test_out_dir='x')
    cfg = configure(test, config, 'model.pth', '--show-dir', 'x', '--cfg-options', 'default_scope=mmseg')
    assert cfg.visualizer.save_dir == 'x' and 'test_out_dir' not in cfg.default_hooks.visualization


@pytest.mark.parametrize('scope, option', [('mmdet', 'test_out_dir'), ('mmseg', 'img_save_dir')])
def test_images_come_into_the_folder_itself(tools, config, tmp_path, scope, option):
    _, test = tools
    config.write_text(CONFIG + "default_hooks = dict(visualization=dict(type='V'))\nvisualizer = dict(type='W')\n")
    cfg = configure(test, config, 'model.pth', '--show-dir', 'x')
    cfg.default_scope = scope
    test.draw_into(cfg, 'x')
    place = cfg.default_hooks.visualization if scope == 'mmdet' else cfg.visualizer.vis_backends[0]
    assert place[option] == str(tmp_path / 'x')


def test_the_start_fits_on_a_screen(tools, config, tmp_path, capsys):
    train, test = tools
    train.main(['toy.py', '--work-dir', 'w', '--cfg-options', 'train_cfg.val_interval=5'])
    start = capsys.readouterr().out.split('Saving checkpoint')[0].splitlines()
    assert len(start) <= 40 and max(map(len, start)) <= 150
    text = '\n'.join(start)
    for said in (
        'ToyModel',
        'ToyData, 4 items, 2 classes (a, b)',
        '1 epochs (2 iterations)',
        '2 images',
        'CPU',
        '/w',
        'train_cfg.max_epochs is 1, but train_cfg.val_interval is 5',
    ):
        assert said in text, said
    log = next((tmp_path / 'w').glob('*/*.log')).read_text()
    for said in ('System environment', 'Config:', 'Hooks will be executed', 'ToyData, 4 items', 'val_interval is 5'):
        assert said in log, said
    test.main(['toy.py', 'w/epoch_1.pth', '--work-dir', 't'])
    start = capsys.readouterr().out
    assert len(start.splitlines()) <= 40 and 'ToyData, 4 items' in start and 'toy/count: 4' in start


@pytest.mark.parametrize('tool, arguments', [(1, ['other.pth']), (0, ['--cfg-options', 'load_from=other.pth'])])
def test_weights_of_another_model_are_refused(tools, config, tool, arguments):
    torch.save(dict(state_dict={'encoder.weight': torch.ones(3)}), 'other.pth')
    with pytest.raises(SystemExit, match=r'other.pth.* 4 .*backbone.weight.* 1 \(encoder.weight\)'):
        tools[tool].main(['toy.py', *arguments])


def test_one_training_in_a_folder(tools, config, tmp_path, monkeypatch):
    code = (
        'import sys, time\nfrom m2f_mm.apis.work_dir_lock import work_dir_lock\n'
        'with work_dir_lock("w"):\n    print("held", flush=True)\n    time.sleep(60)'
    )
    other = subprocess.Popen(
        [sys.executable, '-c', code], stdout=subprocess.PIPE, env={**os.environ, 'PYTHONPATH': str(ROOT)}
    )
    try:
        assert other.stdout.readline() == b'held\n'
        with pytest.raises(SystemExit, match=f'another training writes there .host .*, process {other.pid}, started'):
            tools[0].main(['toy.py', '--work-dir', 'w'])
        assert not list((tmp_path / 'w').glob('*.pth'))
        monkeypatch.setenv('RANK', '1')
        with work_dir_lock('w', 'pytorch'):  # another process of the job that holds it
            pass
    finally:
        other.kill()
        other.wait()
    with work_dir_lock('w'):  # of a killed training nothing stays
        assert json.loads((tmp_path / 'w' / NAME).read_text())['pid'] == os.getpid()
    assert (tmp_path / 'w' / NAME).read_text() == ''


def test_a_training_of_another_computer_is_named(config, tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr('m2f_mm.apis.work_dir_lock.print_log', lambda text, *args: said.append(text))
    (tmp_path / NAME).write_text(json.dumps(dict(host='elsewhere', pid=7, start='yesterday')))
    with work_dir_lock(str(tmp_path)):
        pass
    assert len(said) == 1 and 'host elsewhere, process 7, started yesterday' in said[0]
    (tmp_path / NAME).write_text('torn {')
    with work_dir_lock(str(tmp_path)):
        pass


def test_disks_without_locks(config, tmp_path, monkeypatch):
    def no_locks(*args):
        raise OSError(errno.ENOLCK, 'no locks available')

    monkeypatch.setattr('fcntl.lockf', no_locks)
    with work_dir_lock(str(tmp_path)), pytest.raises(ValueError, match=f'process {os.getpid()}'):
        with work_dir_lock(str(tmp_path)):
            pass
    with work_dir_lock(str(tmp_path)):
        record = json.loads((tmp_path / NAME).read_text())
    (tmp_path / NAME).write_text(json.dumps({**record, 'process_start': '1'}))  # its number went to another process
    with work_dir_lock(str(tmp_path)):
        pass


def test_message_instead_of_traceback(config, tmp_path):
    done = run_python(TOOLS / 'train.py', 'toy.py', '--cfg-options', 'model.decode_head.num_classes=5', cwd=tmp_path)
    out = done.output
    assert done.returncode == 1
    assert 'train.py: error: The classes of model and data disagree' in out and 'Traceback' not in out
    assert 'model.decode_head.num_classes is 5, but train_dataloader.dataset (ToyData) lists 2 classes' in out


@pytest.mark.smoke
@pytest.mark.skipif(not torch.distributed.is_available(), reason='this torch has no distributed part')
def test_two_workers_on_the_cpu_train_and_test_like_one(config, tmp_path):
    """The joint batch of two workers is the batch of one, so the weights after an epoch are equal."""
    output_of(TOOLS / 'train.py', 'toy.py', '--work-dir', 'one', cwd=tmp_path)
    run(
        TOOLS / 'dist_train.sh',
        'toy.py',
        2,
        '--work-dir',
        'two',
        '--cfg-options',
        'train_dataloader.batch_size=1',
        folder=tmp_path,
    )
    one, two = (read_state_dict(tmp_path / name / 'epoch_1.pth') for name in ('one', 'two'))
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight)
    out = run(TOOLS / 'dist_test.sh', 'toy.py', 'two/epoch_1.pth', 2, folder=tmp_path)
    assert re.search(r'toy/count: 4\b', out)


@pytest.mark.parametrize('script', sorted(TOOLS.glob('*.sh')) + [ROOT / '.ci' / 'run'], ids=lambda path: path.name)
def test_scripts_parse_and_explain_themselves(script):
    assert subprocess.run(['bash', '-n', str(script)]).returncode == 0
    assert os.access(script, os.X_OK)
    if script.parent == TOOLS:
        flags = ['--help'] if script.name == 'install.sh' else []
        done = subprocess.run([str(script), *flags], capture_output=True, text=True)
        assert 'usage:' in (done.stdout + done.stderr).lower()


@pytest.mark.parametrize(
    'script, args, expected',
    [
        (
            'slurm_train.sh',
            ['part', 'a job', 'my config.py', 'my dir', '--amp'],
            [
                '-p',
                'part',
                '--job-name=a job',
                '--gres=gpu:4',
                '--ntasks=4',
                '--qos=x',
                'my config.py',
                '--work-dir',
                'my dir',
                '--amp',
            ],
        ),
        ('slurm_train.sh', ['part', 'job', 'c.py', '--amp'], ['c.py', '--launcher', 'slurm', '--amp']),
        ('slurm_test.sh', ['part', 'job', 'c.py', 'my model.pth', '--tta'], ['c.py', 'my model.pth', '--tta']),
    ],
)
def test_slurm_scripts_keep_arguments_whole(script, args, expected, tmp_path):
    (tmp_path / 'srun').write_text('#!/usr/bin/env bash\nprintf "%s\\n" "$@"\n')
    (tmp_path / 'srun').chmod(0o755)
    environment = {
        **os.environ,
        'PATH': f'{tmp_path}:{os.environ["PATH"]}',
        'GPUS': '4',
        'SRUN_ARGS': '--qos=x --mem=1',
    }
    done = subprocess.run([str(TOOLS / script), *args], env=environment, capture_output=True, text=True, check=True)
    printed = done.stdout.splitlines()
    assert [word for word in printed if word in expected] == expected
    if '--amp' in args and 'my dir' not in args:
        assert '--work-dir' not in printed
