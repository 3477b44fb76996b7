"""The profile of an iteration: its parts are the whole, for both stacks, and mistakes are named."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch

from m2f_mm.datasets.converters.shapes import write_shapes
from m2f_mm.datasets.shapes import ShapesSpec

ROOT = Path(__file__).resolve().parents[2]
SHORT = """
_base_ = __import__('m2f_mm').config_path('demo/mask2former_r18_shapes-{task}.py')
train_dataloader = dict(batch_size=2, num_workers={workers})
"""


@pytest.fixture(scope='module')
def shapes(tmp_path_factory):
    folder = tmp_path_factory.mktemp('shapes')
    write_shapes(str(folder), ShapesSpec(height=64, width=64), 3, 4, 2)
    return folder


@pytest.fixture
def tool(monkeypatch, shapes, tmp_path):
    """The module; configs find the shapes."""
    monkeypatch.setenv('SHAPES_ROOT', f'{shapes}/')
    monkeypatch.chdir(tmp_path)
    spec = importlib.util.spec_from_file_location(
        'm2f_mm_tool_profile', ROOT / 'tools' / 'analysis_tools' / 'profile_iteration.py'
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize('task, package, workers', [('panoptic', 'mmdet', 1), ('semantic', 'mmseg', 0)])
def test_parts_are_the_iteration(tool, tmp_path, capsys, monkeypatch, task, package, workers):
    pytest.importorskip(package)
    Path('mine.py').write_text(SHORT.format(task=task, workers=workers))
    steps, watched = [], tool.Stopwatch.lap

    def lap(watch):
        steps.append(dict(watch.seconds))
        assert not watch.inside  # every part that was opened is closed
        return watched(watch)

    monkeypatch.setattr(tool.Stopwatch, 'lap', lap)
    tool.main(['mine.py', '--iters', '2', '--warmup', '1', '--out', 'found.json', '--trace', 'trace.json'])
    assert sorted(path.name for path in tmp_path.iterdir()) == ['found.json', 'mine.py', 'trace.json']
    profile = json.loads(Path('found.json').read_text())
    assert profile['iterations'] == steps[1:3]  # without the warm-up
    names = {
        'waiting for the loader',
        'data preprocessor',
        'targets',
        'backbone',
        'pixel decoder',
        'transformer decoder',
        'matching',
        'losses',
        'head, the rest',
        'backward',
        'clip gradients',
        'optimizer',
        'the rest',
    }
    for lap in profile['iterations']:
        assert set(lap) == names and all(seconds > 0 for seconds in lap.values())
    for kind in ('parts', 'transforms'):
        assert sum(part['share'] for part in profile[kind]) == pytest.approx(1)
    assert {part['part'] for part in profile['parts']} == names
    assert len(profile['samples']) == 2 * 3 and all(len(lap) >= 4 for lap in profile['samples'])
    assert profile['peak_memory'] > 0 and profile['syncs'] == sum(profile['syncs_where'].values()) > 0
    assert profile['loader']['workers'] == workers and profile['batch_size'] == 2
    assert {'backbone', 'backward'} <= {
        event['name'] for event in json.loads(Path('trace.json').read_text())['traceEvents']
    }
    assert ('has no worker' in capsys.readouterr().out) == (workers == 0)


def test_parts_do_not_count_what_is_in_them(tool, monkeypatch):
    times = iter([0, 1, 2, 4, 5, 12, 20, 40])  # outer, a and b open, b and a close, a opens and closes, outer closes
    monkeypatch.setattr(tool.time, 'perf_counter', lambda: next(times))
    watch = tool.Stopwatch(cuda=False)
    with watch.part('outer'):
        with watch.part('a'), watch.part('b'):
            pass
        with watch.part('a'):
            pass
    lap = watch.lap()
    assert lap == dict(outer=40 - 4 - 8, a=2 + 8, b=2) and sum(lap.values()) == 40
    assert watch.lap() == {}


def test_does_the_loader_keep_up(tool):
    iterations = [{tool.WAIT: 5.0, tool.REST: 2.0}]
    profile = tool.throughput(iterations, [dict(a=1.0), dict(a=3.0)], batch_size=2, workers=2)
    assert profile['seconds_per_step'] == profile['seconds_per_batch'] == 2 and profile['keeps_up']
    profile = tool.throughput(iterations, [dict(a=3.0)], batch_size=2, workers=2)
    assert not profile['keeps_up'] and profile['workers_needed'] == 3
    assert not tool.throughput(iterations, [dict(a=0.1)], batch_size=2, workers=0)['keeps_up']


def test_transforms_of_wrapped_data_sets(tool):
    class Data:
        def __init__(self, **attributes):
            self.__dict__.update(attributes)

    inner = [Data(pipeline=Data(transforms=[name])) for name in 'ab']
    outer = Data(dataset=Data(datasets=inner))
    assert list(tool.pipelines(outer)) == [['a'], ['b']]


def test_weights_are_not_read(tool):
    model = dict(
        backbone=dict(init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50')),
        neck=dict(init_cfg=dict(type='Xavier')),
    )
    tool.without_pretrained(model)
    assert model == dict(backbone=dict(init_cfg=None), neck=dict(init_cfg=dict(type='Xavier')))


@pytest.mark.parametrize(
    'args, message',
    [
        (['nothing.py'], "config: there is no file 'nothing.py'"),
        (['mine.py', '--cfg-options', 'train_dataloader=None'], 'mine.py has no train_dataloader, .* Give a training'),
        (['mine.py', '--cfg-options', 'optim_wrapper=None'], 'mine.py has no optim_wrapper'),
        (['mine.py', '--iters', '0'], '--iters must be at least 1 .* got 0 and 2'),
        (['mine.py', '--out', 'no/such/a.json'], "--out: there is no folder 'no/such'"),
    ],
)
def test_mistakes_are_named(tool, args, message):
    Path('mine.py').write_text(SHORT.format(task='panoptic', workers=0))
    with pytest.raises((FileNotFoundError, ValueError), match=message):
        tool.configure(tool.parse_args(args))


def test_message_instead_of_traceback(tool, monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['profile_iteration.py'])
    with pytest.raises(SystemExit, match="profile_iteration.py: error: config: there is no file 'nothing.py'"):
        tool.main(['nothing.py'])


def test_no_batch(tool):
    loader = torch.utils.data.DataLoader([1], batch_size=2, drop_last=True)
    with pytest.raises(ValueError, match='gives no batch: its data set has 1 images'):
        next(tool.endless(loader))
