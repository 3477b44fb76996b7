"""Resuming with torch's safe loading on, on every MMEngine."""

import logging
import pickle

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch.utils.data import Dataset

import m2f_mm  # noqa: F401  registers the types
from m2f_mm.checkpoints import read_state_dict
from m2f_mm.compatibility import allow_checkpoint_types, history_buffer_method

pytestmark = pytest.mark.smoke
checks_by_default = hasattr(torch.serialization, 'get_unsafe_globals_in_checkpoint')


class Toy(BaseModel):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(1, 1)

    def forward(self, inputs, mode='tensor'):
        return dict(loss=self.linear(torch.stack(inputs)).square().mean())


class Ones(Dataset):
    metainfo = dict(classes=('thing',), palette=[np.array([1, 2, 3])])

    def __init__(self):
        self.reads = 0

    def __len__(self):
        return 4

    def __getitem__(self, index):
        self.reads += 1
        return dict(inputs=torch.ones(1))


def build(work_dir, epochs: int, **options) -> Runner:
    loader = dict(batch_size=2, num_workers=0, dataset=Ones(), sampler=dict(type='DefaultSampler', shuffle=True))
    return Runner(
        Toy(),
        work_dir=str(work_dir),
        train_dataloader=loader,
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.1)),
        param_scheduler=dict(type='MultiStepLR', milestones=[1], end=9),
        experiment_name=f'{work_dir.name}_{epochs}',
        log_level='WARNING',
        **options,
    )


def test_a_run_resumes_with_its_optimizer_schedule_and_logs(tmp_path, monkeypatch, caplog):
    first = build(tmp_path, 1)
    first.message_hub.update_info('best_score', np.float64(0.5))  # as CheckpointHook keeps it
    first.train()
    loads = []
    load = torch.load
    monkeypatch.setattr(torch, 'load', lambda *args, **options: loads.append(options) or load(*args, **options))
    second = build(tmp_path, 2, resume=True)
    with caplog.at_level(logging.WARNING):
        second.train()
    assert loads and all(options.get('weights_only') is not False for options in loads), 'the check was switched off'
    assert 'Falling back' not in caplog.text
    assert second.message_hub.get_info('best_score') == 0.5
    assert len(second.message_hub.get_scalar('train/loss').data[0]) == 4  # two of the first epoch, two of the second
    optimizer = second.optim_wrapper.optimizer
    assert optimizer.param_groups[0]['lr'] == pytest.approx(0.01)
    assert {int(state['step']) for state in optimizer.state.values()} == {4}
    assert second.train_dataloader.dataset.reads == 4, 'the first epoch was repeated'


@pytest.mark.skipif(not checks_by_default, reason='this torch does not check by default')
@pytest.mark.parametrize(
    'value',
    [
        np.float32(1),
        np.float64(1),
        np.int64(1),
        np.bool_(True),
        np.arange(3),
        np.array([1, 2], dtype=np.uint8),
        HistoryBuffer([1.0], [1]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_kind_of_log_entry_loads(value, tmp_path):
    allow_checkpoint_types()
    torch.save(dict(value=value), tmp_path / 'file.pth')
    loaded = torch.load(tmp_path / 'file.pth', weights_only=True)['value']
    if isinstance(value, HistoryBuffer):
        assert loaded.mean() == value.mean()
    else:
        np.testing.assert_array_equal(loaded, value)


@pytest.mark.skipif(not checks_by_default, reason='this torch does not check by default')
def test_code_in_a_checkpoint_is_still_refused(tmp_path):

    class Evil:
        def __reduce__(self):
            return print, ('this ran',)

    torch.save(dict(value=Evil()), tmp_path / 'file.pth')
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / 'file.pth', weights_only=True)


def test_getattr_reaches_statistics_only():
    assert history_buffer_method(HistoryBuffer, 'mean') is HistoryBuffer.mean
    for owner, name in ((HistoryBuffer, '__init__'), (np, 'load'), (HistoryBuffer([1], [1]), 'mean')):
        with pytest.raises(ValueError, match='Do not trust this file'):
            history_buffer_method(owner, name)


@pytest.mark.skipif(not checks_by_default, reason='torch loads anything by default')
def test_weights_are_read_after_somebody_took_the_types_away(tmp_path):
    """MMEngine's own loading allows the types for a while, after which torch knows them no more."""
    torch.save(dict(state_dict=dict(a=torch.ones(2)), message_hub=HistoryBuffer([1.0], [1])), tmp_path / 'run.pth')
    with torch.serialization.safe_globals([HistoryBuffer, np.ndarray]):
        pass
    assert torch.equal(read_state_dict(tmp_path / 'run.pth')['a'], torch.ones(2))


def test_a_name_has_one_meaning():
    """MMEngine's own list of allowed types has no second entry of a name: which of two counted would be chance."""
    from mmengine.runner import checkpoint

    from m2f_mm.compatibility import NUMPY_PARTS

    if not hasattr(checkpoint, 'get_torch_safe_globals'):
        pytest.skip('this MMEngine allows no types itself')
    names = {f'{each.__module__}.{each.__qualname__}' for each in checkpoint.get_torch_safe_globals()}
    assert not names & {'.'.join(name) for name in NUMPY_PARTS} and 'builtins.getattr' not in names
