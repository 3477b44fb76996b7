"""The counter of waits sees what a device would be waited for, and nothing that is on the host anyway."""

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.syncs import count_syncs

X = torch.rand(4, 4, requires_grad=True)
POSITIVE = torch.rand(4, 4) - 0.5
DEVICE = X.device
WAITS = dict(
    item=(1, lambda: X.sum().item()),
    truth=(1, lambda: bool(X.sum() > 0)),
    to_int=(1, lambda: int(X.argmax())),
    tolist=(1, lambda: X.tolist()),
    cpu=(1, lambda: X.cpu()),
    cpu_numpy=(1, lambda: X.detach().cpu().numpy()),  # one copy: what is on the host does not wait again
    cpu_by_name=(1, lambda: X.to('cpu').tolist()),
    nonzero=(1, lambda: X.nonzero()),
    where=(1, lambda: torch.where(X > 0.5)),
    unique=(1, lambda: torch.unique(X.detach())),
    mask=(1, lambda: X[POSITIVE > 0]),
    mask_backward=(2, lambda: X[POSITIVE > 0].sum().backward()),
    mask_values=(1, lambda: POSITIVE.clone().index_put_((POSITIVE < 1,), torch.zeros(16, device=DEVICE))),
    masked_select=(1, lambda: X.masked_select(POSITIVE > 0)),
    repeat_interleave=(1, lambda: X.repeat_interleave(torch.ones(4, dtype=torch.long, device=DEVICE), 0)),
    index_list=(1, lambda: X[[0, 1]]),
    host_index=(1, lambda: X[torch.tensor([0, 1])]),
    make=(1, lambda: torch.tensor([1, 2], device=DEVICE)),
    new_tensor=(1, lambda: X.new_tensor([1, 2])),
    from_numpy=(1, lambda: torch.from_numpy(np.zeros(3)).to(DEVICE)),
    host_to_device=(1, lambda: torch.tensor([1.0, 2.0]).flip(0).to(DEVICE, non_blocking=True)),
    there_and_back=(2, lambda: X.cpu().to(DEVICE) + X),
    loop=(2, lambda: [int(n) for n in X.argmax(1)[:2]]),
)
FREE = dict(
    arithmetic=lambda: (X.square().sum() + torch.zeros(4, device=DEVICE)).sum().backward(),
    same_device=lambda: X.to(DEVICE),
    dtype=lambda: X.to(torch.float64),
    fill=lambda: POSITIVE.clone().__setitem__(POSITIVE > 0, 0.0),
    masked_fill=lambda: POSITIVE.masked_fill(POSITIVE > 0, 0.0),
    output_size=lambda: X.repeat_interleave(torch.ones(4, dtype=torch.long, device=DEVICE), 0, output_size=4),
    index=lambda: X[X.argmax(0)],
    slices=lambda: X[1:, None, ..., 0],
    on_the_host=lambda: torch.tensor([1, 2])[0].item() + torch.arange(3).sum().item() + len(torch.ones(3).nonzero()),
    network=lambda: nn.functional.interpolate(X[None, None], (8, 8), mode='bilinear'),
)


@pytest.mark.parametrize('name', WAITS)
def test_counted(name):
    expected, run = WAITS[name]
    syncs = count_syncs(run)
    assert syncs.total == expected, str(syncs)


@pytest.mark.parametrize('name', FREE)
def test_not_counted(name):
    syncs = count_syncs(FREE[name])
    assert syncs.total == 0, str(syncs)


def test_says_where():
    syncs = count_syncs(lambda: X.sum().item())
    (place,) = syncs.where
    assert place.startswith('_local_scalar_dense') and 'test_sync_counter.py:' in place


def test_leaves_nothing_behind():
    original = torch.from_numpy
    with pytest.raises(RuntimeError, match='stop'):
        count_syncs(lambda: (_ for _ in ()).throw(RuntimeError('stop')))
    assert torch.from_numpy is original
