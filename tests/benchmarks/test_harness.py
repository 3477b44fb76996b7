"""The measuring tools: memory exact to the byte, and no measurement of what is not equal."""

import pytest
import torch

from benchmarks.harness import Row, compare, kept_memory, left_out, peak_memory


def block(size):
    return torch.empty(size, dtype=torch.uint8)


def test_peak_is_exact():
    def run():
        first = block(1000)
        second = block(5000)
        del second
        return first, block(3000)

    assert [peak_memory(run) for _ in range(3)] == [6000] * 3
    assert kept_memory(run) == 4000


def test_what_existed_before_is_not_counted():
    held = [block(10**6)]

    def free_and_take():
        held.clear()
        held.append(block(100))  # freed by the next run, and no credit to it

    assert [peak_memory(free_and_take) for _ in range(3)] == [100] * 3


def test_peak_of_a_backward_pass():
    x = torch.rand(64, 64, requires_grad=True)

    def step():
        return torch.autograd.grad((x * x).sum(), x)

    kilobytes = 64 * 64 * 4
    # the product; then the gradient of the square, its two terms and their sum
    assert kilobytes * 2 <= peak_memory(step) <= kilobytes * 4 + 64
    assert peak_memory(step) == peak_memory(step)


def same(ours, theirs):
    assert ours == theirs, f'{ours} is not {theirs}'
    return 'the number'


def test_unequal_results_are_not_measured():
    calls = []
    rows = compare(
        'case',
        'part',
        'peer',
        lambda: calls.append('ours') or 1,
        lambda: calls.append('theirs') or 2,
        same,
        targets=dict(memory=0.5),
    )
    assert calls == ['ours', 'theirs']
    assert [row.metric for row in rows] == ['memory', 'time']
    for row in rows:
        assert row.outputs_equal is False and row.ours is row.theirs is row.ratio is row.reached is None
        assert '1 is not 2' in row.note
    assert rows[0].target == 0.5 and rows[1].target is None


def test_sides_take_turns():
    calls = []
    rows = compare(
        'case',
        'part',
        'peer',
        lambda: calls.append('ours') and 1,
        lambda: calls.append('theirs') and 1,
        same,
        metrics=('time',),
        repeats=4,
        before=lambda: calls.append('before'),
    )
    assert calls[:3] == ['before', 'ours', 'theirs']
    assert calls[3:] == ['before', 'ours', 'before', 'theirs'] * 4
    (row,) = rows
    assert row.outputs_equal and row.tolerance == 'the number'
    assert row.spread[0] <= row.spread[1] and row.ratio == row.ours / row.theirs


def test_memory_of_both_sides():
    (row,) = compare(
        'case',
        'part',
        'peer',
        lambda: len(block(100)),
        lambda: len(torch.cat([block(50)] * 2)),
        same,
        metrics=('memory',),
        targets=dict(memory=0.7),
        limits=dict(memory=99),
    )
    assert (row.ours, row.theirs) == (100, 150)
    assert row.reached is False, 'the ratio is met, the limit is not'


@pytest.mark.parametrize(
    'values, reached',
    [
        (dict(ours=1, theirs=2, target=0.5), True),
        (dict(ours=1.1, theirs=2, target=0.5), False),
        (dict(ours=8, limit=8), True),
        (dict(ours=9, theirs=200, limit=8), False),
        (dict(ours=1, theirs=2), None),
        (dict(target=0.5), None),
    ],
)
def test_reached(values, reached):
    assert Row('case', 'part', 'syncs', 'peer', **values).reached is reached


def test_left_out():
    row = left_out('case', 'part', 'time', 'peer', 'not installed', target=0.5).to_dict()
    assert row['note'] == 'left out: not installed' and row['ours'] is row['ratio'] is row['reached'] is None
    assert row['unit'] == 's' and row['target'] == 0.5
