"""Workers of a data loader end when the training is killed."""

import multiprocessing
import time
from pathlib import Path

import pytest
import torch
from mmengine.runner import Runner
from torch.utils.data import Dataset

from m2f_mm.apis.command_line import build_runner
from m2f_mm.engine.workers import EndsWithParent, ending_with_parent


class Large(Dataset):
    """Samples that fill any pipe, so that a worker hangs where they are not read."""

    def __len__(self):
        return 100

    def __getitem__(self, index):
        return dict(inputs=torch.zeros(1000, 1000).numpy())


def train(pipe, persistent):
    torch.set_num_threads(1)
    loader = ending_with_parent(Runner.build_dataloader)(
        dict(
            batch_size=1,
            num_workers=2,
            persistent_workers=persistent,
            dataset=Large(),
            sampler=dict(type='InfiniteSampler'),
        ),
        seed=3,
    )
    batches = iter(loader)
    next(batches)
    pipe.send([worker.pid for worker in batches._workers])
    time.sleep(60)


def running(pid):
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.skipif(not Path('/proc/self/stat').exists(), reason='looks for processes in /proc')
@pytest.mark.parametrize('persistent', [False, True])
def test_workers_end_when_the_training_is_killed(persistent):
    context = multiprocessing.get_context('fork')
    here, there = context.Pipe()
    training = context.Process(target=train, args=(there, persistent))
    training.start()
    workers = here.recv()
    assert all(map(running, workers))
    training.kill()
    training.join()
    until = time.monotonic() + 30
    while any(map(running, workers)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(map(running, workers))


def test_the_init_function_of_the_loader_is_called():
    called = []
    init = EndsWithParent(called.append)
    init(3)
    assert called == [3]


def test_our_tools_build_such_loaders(monkeypatch):
    class Built:
        build_dataloader = staticmethod(Runner.build_dataloader)

    monkeypatch.setattr(Runner, 'from_cfg', lambda cfg: Built())
    runner = build_runner({}, type('Arguments', (), dict(local_rank=0, launcher='none')))
    loader = runner.build_dataloader(
        dict(batch_size=1, num_workers=1, dataset=Large(), sampler=dict(type='InfiniteSampler')), seed=3
    )
    assert isinstance(loader.worker_init_fn, EndsWithParent)
