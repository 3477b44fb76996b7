"""A training that is killed, moved or resumed goes on from a whole checkpoint, with the same numbers."""

import itertools
import os
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch.utils.data import Dataset

from m2f_mm.engine.resume import newest_checkpoint, prepare_resume, use_whole_checkpoints
from m2f_mm.engine.whole_files import WholeFiles

RUNS = itertools.count()
SCORES = iter(())


class Toy(BaseModel):
    """A loss with a random number of each generator in it."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(3, 1)
        self.register_buffer('never', torch.tensor([float('-inf')]))

    def forward(self, inputs, mode='tensor'):
        if mode == 'predict':
            torch.rand(1), np.random.rand(), random.random()  # as a model or metric may
            return [dict()] * len(inputs)
        noise = torch.rand(len(inputs), 3) + np.random.rand() + random.random()
        return dict(loss=self.linear(torch.stack(inputs) * noise).square().mean())


class Augmented(Dataset):
    metainfo = dict(classes=('thing',))

    def __len__(self):
        return 7

    def __getitem__(self, index):
        return dict(inputs=torch.full((3,), 10 * index + np.random.rand() + random.random()) + torch.rand(1))


class Score(BaseMetric):
    def process(self, *_):
        self.results.append(0)

    def compute_metrics(self, _):
        return dict(score=next(SCORES, 0.5))


class Losses(Hook):
    """Keeps every loss, and does something after an iteration."""

    def __init__(self, after=lambda runner: None, data=lambda batch: None):
        self.losses = []
        self.after = after
        self.data = data

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses.append(outputs['loss'].item())
        self.data([int(image[0]) // 10 for image in data_batch['inputs']])
        self.after(runner)


def train(work_dir, stop, workers=0, by_epoch=False, resume=False, validate=None, checkpoint=None, **watching):
    """Train and return the runner and its losses."""
    load_from = watching.pop('load_from', None)
    watch = Losses(**watching)
    loader = dict(
        batch_size=2,
        num_workers=workers,
        dataset=Augmented(),
        sampler=dict(type='DefaultSampler' if by_epoch else 'InfiniteSampler', shuffle=True),
    )
    val = (
        {}
        if validate is None
        else dict(
            val_dataloader=dict(batch_size=2, num_workers=0, dataset=Augmented(), sampler=dict(type='DefaultSampler')),
            val_cfg=dict(),
            val_evaluator=[Score()],
        )
    )
    unit = 'epochs' if by_epoch else 'iters'
    torch.manual_seed(1)
    runner = Runner(
        Toy(),
        work_dir=str(work_dir),
        train_dataloader=loader,
        train_cfg=dict(by_epoch=by_epoch, val_interval=validate or 10**6, **{f'max_{unit}': stop}),
        **val,
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.1)),
        randomness=dict(seed=3),
        resume=resume,
        default_hooks=dict(
            checkpoint={'type': 'm2f_mm.CheckpointHook', 'by_epoch': by_epoch, 'interval': 1, **(checkpoint or {})}
        ),
        custom_hooks=[watch],
        experiment_name=str(next(RUNS)),
        log_level='ERROR',
        load_from=load_from,
    )
    runner.train()
    return runner, watch.losses


def same_weights(first, second):
    return all(torch.equal(value, second.model.state_dict()[name]) for name, value in first.model.state_dict().items())


@pytest.mark.smoke
@pytest.mark.parametrize(
    'case', [dict(), dict(validate=3), dict(by_epoch=True), dict(by_epoch=True, validate=1)], ids=str
)
def test_a_resumed_run_equals_an_uninterrupted_one(case, tmp_path):
    whole, losses = train(tmp_path / 'whole', 6, **case)
    train(tmp_path / 'parts', 3, **case)
    random.seed(99), np.random.seed(99)  # another process
    resumed, rest = train(tmp_path / 'parts', 6, resume=True, **case)
    assert rest and losses[-len(rest) :] == rest and len(rest) == len(losses) // 2
    assert same_weights(whole, resumed)


def test_data_come_in_the_same_order_with_workers(tmp_path, monkeypatch):
    monkeypatch.setattr('torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL', 0.1)  # workers end sooner
    order = {}
    for name, parts in (('whole', (4,)), ('parts', (2, 4))):
        order[name] = []
        for stop in parts:
            watch = order[name].append
            train(tmp_path / name, stop, workers=1, resume=stop == 4 and name == 'parts', data=watch)
    assert len(order['whole']) == 4 and order['whole'] == order['parts']


def test_weights_to_start_from_bring_no_random_states(tmp_path):
    train(tmp_path / 'first', 2)
    _, alone = train(tmp_path / 'alone', 1)
    runner, _ = train(tmp_path / 'second', 1, load_from=str(tmp_path / 'first' / 'iter_2.pth'))
    assert runner.iter == 1
    assert np.isfinite(alone[0])


class Killed(BaseException):
    """The process ends here."""


def kill(monkeypatch, step):
    """Let the process end in the third checkpoint: before it is written, in the middle, before it gets its name, or
    before the pointer gets its own."""
    calls = dict(put=0, replace=0)
    put, replace = WholeFiles.put, os.replace

    def killed_put(self, content, path):
        calls['put'] += 1
        if step in ('write', 'half') and calls['put'] == 5:  # a pointer after every checkpoint
            partial = Path(path).with_name(f'.{Path(path).name}.partial')
            partial.write_bytes(content[: len(content) // 2] if step == 'half' else b'')
            raise Killed
        put(self, content, path)

    def killed_replace(source, target):
        calls['replace'] += 1
        if calls['replace'] == dict(replace=5, pointer=6).get(step):
            raise Killed
        replace(source, target)

    monkeypatch.setattr(WholeFiles, 'put', killed_put)
    monkeypatch.setattr('m2f_mm.engine.whole_files.os.replace', killed_replace)


@pytest.mark.parametrize('step', ['write', 'half', 'replace', 'pointer'])
@pytest.mark.parametrize('keep', [1, 2])
def test_a_kill_at_any_step_leaves_a_checkpoint_to_go_on_from(step, keep, tmp_path, monkeypatch):
    whole, losses = train(tmp_path / 'whole', 5)
    with monkeypatch.context() as patched, pytest.raises(Killed):
        kill(patched, step)
        train(tmp_path / 'parts', 5, checkpoint=dict(max_keep_ckpts=keep))
    reached = 3 if step == 'pointer' else 2
    resumed, rest = train(tmp_path / 'parts', 5, resume=True, checkpoint=dict(max_keep_ckpts=keep))
    assert rest == losses[reached:] and same_weights(whole, resumed)
    left = sorted(path.name for path in (tmp_path / 'parts').glob('*.pth'))
    assert left[-keep:] == [f'iter_{number}.pth' for number in range(6 - keep, 6)]
    assert not list((tmp_path / 'parts').glob('.iter*.partial'))


def test_an_old_checkpoint_goes_when_the_new_one_is_there(tmp_path, monkeypatch):
    """The hook never has fewer than max_keep_ckpts whole files."""
    counts = []
    remove = WholeFiles.remove
    monkeypatch.setattr(
        WholeFiles,
        'remove',
        lambda self, path: (counts.append(sum(1 for _ in Path(path).parent.glob('iter_*.pth'))), remove(self, path)),
    )
    train(tmp_path, 4, checkpoint=dict(max_keep_ckpts=1))
    assert counts == [2, 2, 2] and [path.name for path in tmp_path.glob('iter*.pth')] == ['iter_4.pth']


def damage(folder, how):
    pointer = folder / 'last_checkpoint'
    if how == 'pointer empty':
        pointer.write_text('')
    elif how == 'pointer missing':
        pointer.unlink()
    elif how == 'pointer to another place':
        pointer.write_text('/nowhere/iter_3.pth')
    elif how == 'pointer of zeros':
        pointer.write_bytes(b'\0' * 40)
    elif how == 'newest torn':
        (folder / 'iter_3.pth').write_bytes((folder / 'iter_3.pth').read_bytes()[:1000])
    elif how == 'newest empty':
        (folder / 'iter_3.pth').write_bytes(b'')
    elif how == 'newest of something else':
        torch.save(dict(state_dict={}), folder / 'iter_3.pth')
    elif how == 'torn with pointer empty':
        pointer.write_text('')
        (folder / 'iter_3.pth').write_bytes(b'PK\x03\x04')


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp('trained') / 'work'
    train(folder, 3)
    return folder


@pytest.mark.parametrize(
    'how, newest',
    [
        ('nothing', 3),
        ('pointer empty', 3),
        ('pointer missing', 3),
        ('pointer to another place', 3),
        ('pointer of zeros', 3),
        ('newest torn', 2),
        ('newest empty', 2),
        ('newest of something else', 2),
        ('torn with pointer empty', 2),
    ],
)
def test_the_newest_that_can_be_read_is_taken(how, newest, trained, tmp_path):
    folder = tmp_path / 'moved'
    shutil.copytree(trained, folder)  # the pointer is of the old place, which is still there
    damage(folder, how)
    checkpoint = newest_checkpoint(str(folder))
    assert (checkpoint.path, checkpoint.iteration, checkpoint.seed) == (str(folder / f'iter_{newest}.pth'), newest, 3)
    cfg = Config(dict(work_dir=str(folder), resume=True, load_from=None))
    prepare_resume(cfg)
    assert cfg.load_from == checkpoint.path and cfg.randomness.seed == 3


def test_where_none_can_be_used_it_is_said(trained, tmp_path):
    assert newest_checkpoint(str(tmp_path / 'nothing')) is None
    cfg = Config(dict(work_dir=str(tmp_path / 'nothing'), resume=True))
    prepare_resume(cfg)
    assert cfg.get('load_from') is None
    (tmp_path / 'iter_7.pth').write_bytes(b'')
    with pytest.raises(ValueError, match=r'no checkpoint in .* can be used.*iter_7\.pth.*by its path'):
        newest_checkpoint(str(tmp_path))
    (tmp_path / 'iter_7.pth').unlink()
    (tmp_path / 'last_checkpoint').write_text('/nowhere/iter_3.pth')
    with pytest.raises(ValueError, match=r'/nowhere/iter_3\.pth, which .*last_checkpoint names, is not there'):
        newest_checkpoint(str(tmp_path))
    (tmp_path / 'last_checkpoint').write_text(str(trained / 'iter_3.pth'))
    assert newest_checkpoint(str(tmp_path)).path == str(trained / 'iter_3.pth')
    cfg = Config(dict(work_dir=str(tmp_path), resume=True, load_from=str(trained / 'iter_2.pth')))
    prepare_resume(cfg)
    assert cfg.load_from.endswith('iter_2.pth') and cfg.randomness.seed == 3


@pytest.mark.parametrize(
    'checkpoint, name',
    [(dict(filename_tmpl='step{}.pth'), 'step2.pth'), (dict(out_dir='elsewhere'), 'iter_2.pth')],
    ids=str,
)
def test_names_and_folders_of_ones_own_are_found(checkpoint, name, tmp_path):
    if 'out_dir' in checkpoint:
        checkpoint = dict(out_dir=str(tmp_path / 'elsewhere'))
    train(tmp_path / 'work', 2, checkpoint=checkpoint)
    (tmp_path / 'work' / 'last_checkpoint').write_text('')
    runner, losses = train(tmp_path / 'work', 3, resume=True, checkpoint=checkpoint)
    assert len(losses) == 1 and Path(runner._load_from).name == name


def spoil(kind):
    """Make a weight or an average not finite after the third iteration."""

    def after(runner):
        if runner.iter == 2:
            with torch.no_grad():
                runner.model.linear.weight[0, 1] = kind

    return after


@pytest.mark.parametrize('kind', [float('nan'), float('inf')])
@pytest.mark.parametrize('ema', [False, True])
def test_weights_that_are_not_finite_are_not_saved(kind, ema, tmp_path):
    """The buffer that never was finite is none of them."""
    with pytest.raises(FloatingPointError, match=r'linear\.weight.*iter_2\.pth'):
        watch = dict(checkpoint=dict(max_keep_ckpts=1, save_best=None))
        if ema:
            train_with_average(tmp_path, 4, after=spoil(kind), **watch)
        else:
            train(tmp_path, 4, after=spoil(kind), **watch)
    assert [path.name for path in tmp_path.glob('*.pth')] == ['iter_2.pth']
    assert newest_checkpoint(str(tmp_path)).iteration == 2


def train_with_average(work_dir, stop, **options):
    """As ``train``, with the exponential average of the weights as what is saved."""
    original = Runner.register_custom_hooks

    def with_average(self, custom):
        original(self, [*custom, dict(type='EMAHook', momentum=0.5)])

    Runner.register_custom_hooks = with_average
    try:
        return train(work_dir, stop, **options)
    finally:
        Runner.register_custom_hooks = original


@pytest.mark.parametrize('published', [None, ['meta', 'state_dict']])
def test_best_last_and_published_checkpoints_are_as_mmengine_has_them(published, tmp_path):
    global SCORES
    names = {}
    for kind in ('CheckpointHook', 'm2f_mm.CheckpointHook'):
        SCORES = iter([0.2, 0.6, 0.4, 0.7])
        checkpoint = dict(type=kind, max_keep_ckpts=2, save_best='score', rule='greater', published_keys=published)
        train(tmp_path / kind, 4, validate=1, checkpoint=checkpoint)
        names[kind] = sorted(path.name.partition('-')[0] for path in (tmp_path / kind).glob('*.pth'))
    assert names['CheckpointHook'] == names['m2f_mm.CheckpointHook']
    for path in (tmp_path / 'm2f_mm.CheckpointHook').glob('*-*.pth'):
        assert torch.load(path, weights_only=True).keys() == {'meta', 'state_dict'}


def test_the_best_one_goes_when_a_better_is_there(tmp_path, monkeypatch):
    global SCORES
    SCORES = iter([0.2, 0.6, 0.4])
    present = []
    remove = WholeFiles.remove
    monkeypatch.setattr(
        WholeFiles,
        'remove',
        lambda self, path: (
            present.append(sorted(file.name for file in tmp_path.glob('best*.pth'))),
            remove(self, path),
        ),
    )
    train(tmp_path, 3, validate=1, checkpoint=dict(save_best='score', rule='greater'))
    assert present == [['best_score_iter_1.pth', 'best_score_iter_2.pth']]


def test_stock_configs_get_the_hook_from_our_tool():
    for hooks in (None, dict(checkpoint=dict(type='CheckpointHook', interval=3)), dict(checkpoint=None)):
        cfg = Config({} if hooks is None else dict(default_hooks=hooks))
        use_whole_checkpoints(cfg)
        hook = cfg.default_hooks.checkpoint
        assert hook is None if hooks == dict(checkpoint=None) else hook.type == 'm2f_mm.CheckpointHook'
