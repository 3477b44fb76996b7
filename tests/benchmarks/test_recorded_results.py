"""From rows to the JSON file and the page; the cases that are found; equal inputs for all."""

import importlib
import inspect
import json

import numpy as np
import pytest
import torch

from benchmarks import run, table
from benchmarks.harness import Row, environment, left_out

HALF = Row('head', 'a step', 'memory', 'mmdet', 2 * 2**20, 4 * 2**20, True, '3 losses within 1e-06', target=0.4)
TIME = Row('head', 'a step', 'time', 'mmdet', 1.0, 4.0, True, '3 losses within 1e-06', target=0.35, spread=(0.2, 0.3))
WAITS = Row('syncs', 'prediction', 'syncs', 'mmdet', 9, 300, True, limit=8, note='9 x item')
MISSING = left_out('head', 'another', 'time', 'transformers', 'not installed')


@pytest.fixture
def results():
    rows = [row.to_dict() for row in (HALF, TIME, WAITS, MISSING)]
    return json.loads(json.dumps(dict(environment=environment(), rows=rows)))


def test_page(results):
    page = table.page({'On a CPU': results}, '# Title\n\nWritten by hand.')
    assert page.index('Written by hand.') < page.index('## On a CPU') < page.index('### head') < page.index('### syncs')
    assert '| a step | memory | 2.0 MiB | mmdet | 4.0 MiB | 0.50 | 0.40 | **no** |' in page
    assert '| a step | time | 1 s | mmdet | 4 s | 0.25 (0.20 to 0.30) | 0.35 | yes |' in page
    assert '| prediction | syncs | 9 | mmdet | 300 | 0.03 | 8 | **no** |' in page
    assert '| another | time | not measured | transformers |  |  |  |  |' in page
    assert '1 of 3 targets are reached' in page
    assert '- head, a step, memory: 0.500 instead of 0.40' in page
    assert '- syncs, prediction, syncs: 9 instead of 8' in page
    assert 'Compared, mmdet: 3 losses within 1e-06.' in page and 'another, time: left out: not installed' in page
    assert inspect.cleandoc(importlib.import_module('benchmarks.cases.head').__doc__).splitlines()[0] in page


def test_rows_of_other_cases_are_kept(results, tmp_path):
    file = tmp_path / 'cpu.json'
    run.write(file, json.dumps(results))
    merged = run.merge(file, dict(head=dict(environment=dict(new=True), rows=[TIME.to_dict()])))
    assert [(row['case'], row['metric']) for row in merged['rows']] == [('head', 'time'), ('syncs', 'syncs')]
    assert merged['environments'] == dict(head=dict(new=True)) and 'new' not in merged['environment']
    assert list(tmp_path.iterdir()) == [file], 'a temporary file is left'


def test_rows_have_the_agreed_names():
    names = {'case', 'part', 'metric', 'peer', 'ours', 'theirs', 'ratio', 'outputs_equal'}
    assert names <= HALF.to_dict().keys()


def test_an_error_in_a_case_is_a_row(monkeypatch):
    module = importlib.import_module('benchmarks.cases.layers')
    monkeypatch.setattr(module, 'rows', lambda scale: (_ for _ in ()).throw(RuntimeError('no')))
    (row,) = run.run_case('layers', run.parse(['--cases', 'layers']))['rows']
    assert row['note'] == 'RuntimeError: no' and row['ours'] is None


@pytest.mark.parametrize('case', run.cases())
def test_cases(case):
    module = importlib.import_module(f'benchmarks.cases.{case}')
    assert callable(module.rows) and 'equal' in module.__doc__.lower(), 'a case says what equal results are'


def test_a_case_runs():
    result = run.run_case('layers', run.parse(['--cases', 'layers', '--quick', '--metrics', 'memory']))
    assert result['environment']['packages']['torch'] == torch.__version__
    assert all(row['outputs_equal'] and row['ratio'] < 0.6 for row in result['rows']), result['rows']


def test_bench_gpu_says_what_is_missing(monkeypatch):
    from benchmarks import gpu

    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    assert 'needs a GPU' in gpu.requirements('cuda') and gpu.requirements('cpu') == ''


@pytest.mark.parametrize('objects', [1, 5, 14, 60, 100])
def test_every_object_has_pixels(objects):
    from benchmarks.peers import segment_map

    assert np.array_equal(np.unique(segment_map(128, 160, objects, seed=objects)), np.arange(objects))


def test_points_are_replayed_in_order():
    from benchmarks.peers import FixedPoints

    points = FixedPoints()
    device = torch.device('cpu')
    drawn = {
        layer: [
            points.matching(layer, 2, 8, device),
            points.candidates(layer, 3, 24, device),
            points.uniform(layer, 3, 2, device),
        ]
        for layer in (0, 1)
    }
    assert points.candidates(1, 3, 24, device) is drawn[1][1], 'the second step gets the points of the first'
    with points.replayed([1, 0]):
        for layer in (1, 0):
            matching = torch.cat([torch.rand((1, 8, 2)), torch.rand(1, 8, 2)])
            assert torch.equal(matching, drawn[layer][0])
            assert torch.rand(3, 24, 2, device=device) is drawn[layer][1]
            assert torch.rand(3, 2, 2) is drawn[layer][2]
    with pytest.raises(AssertionError, match='fewer points'), points.replayed([0]):
        torch.rand(1, 8, 2)


def test_weights_through_a_converter_of_the_other_direction():
    from benchmarks.peers import assign

    def convert(state):
        return {'both': torch.cat((state['b'], state['a'])), 'same': state['c']}

    theirs = dict(a=torch.zeros(2, 2), b=torch.zeros(1, 2), c=torch.zeros(3))
    ours = dict(both=torch.rand(3, 2), same=torch.rand(3))
    assign(ours, theirs, convert)
    assert all(torch.equal(value, ours[name]) for name, value in convert(theirs).items())


def test_equal_losses_and_gradients():
    from benchmarks.training import equal_gradients, equal_losses

    losses = dict(loss=torch.tensor(2.0), other=torch.tensor([1.0]))
    assert '2 terms within 0e+00' in equal_losses(losses, dict(loss=torch.tensor(2.0), other=torch.tensor(1.0)))
    with pytest.raises(AssertionError, match='a loss differs'):  # the total agrees
        equal_losses(losses, dict(loss=torch.tensor(2.01), other=torch.tensor(0.99)))
    with pytest.raises(AssertionError, match='total loss'):
        equal_losses(losses, dict(loss=torch.tensor(2.001), other=torch.tensor(1.0)))
    with pytest.raises(AssertionError, match='different losses'):
        equal_losses(losses, dict(loss=torch.tensor(2.0)))
    with pytest.raises(AssertionError, match='total loss'):
        equal_losses(losses, dict(loss=torch.tensor(float('nan')), other=torch.tensor(1.0)), loose=True)
    gradients = dict(a=torch.ones(4), b=torch.ones(3))
    with pytest.raises(AssertionError, match='a gradient differs'):
        equal_gradients(gradients, dict(a=torch.ones(4), b=1.1 * torch.ones(3)))


def test_equal_results():
    from mmengine.structures import InstanceData

    from benchmarks.prediction import equal_instances, equal_labels, equal_panoptic

    panoptic = torch.tensor([[1005, 2005, 3007, 90]])
    assert '4 segments' in equal_panoptic(panoptic, torch.tensor([[1005, 3005, 4007, 90]])), 'numbers may have gaps'
    with pytest.raises(AssertionError, match='25.0% of the panoptic map'):
        equal_panoptic(panoptic, torch.tensor([[1005, 2005, 3008, 90]]))
    instances = InstanceData(
        scores=torch.tensor([0.5, 0.9]), labels=torch.tensor([3, 4]), masks=torch.eye(2, dtype=torch.bool)[:, None]
    )
    assert '2 instances' in equal_instances(instances, instances[[1, 0]]), 'there is no order'
    with pytest.raises(AssertionError, match='of the pixels of the instances'):
        equal_instances(
            instances, InstanceData(scores=instances.scores, labels=instances.labels, masks=~instances.masks)
        )
    with pytest.raises(AssertionError, match='proves nothing'):
        equal_labels(torch.zeros(2, 2), torch.zeros(2, 2))
