"""States of the random generators of a worker, in a form that a checkpoint may hold."""

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch


def random_states() -> dict[str, Any]:
    """Of Python's, NumPy's and torch's generators, and that of the current GPU if it is in use."""
    name, key, *rest = np.random.get_state()
    states = dict(
        python=random.getstate(),
        numpy=(name, torch.from_numpy(key.astype(np.int64)), *rest),
        torch=torch.get_rng_state(),
    )
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        states['cuda'] = torch.cuda.get_rng_state()
    return states


def set_random_states(states: dict[str, Any]) -> None:
    """Go on where ``random_states`` was called."""
    version, internal, gauss = states['python']
    random.setstate((version, tuple(internal), gauss))
    name, key, *rest = states['numpy']
    np.random.set_state((name, key.cpu().numpy().astype(np.uint32), *rest))
    torch.set_rng_state(states['torch'].cpu())
    if 'cuda' in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states['cuda'].cpu())


class RestoringIterator:
    """The batches of a resumed training loop: when those that were trained on are passed over, ``restore`` is called
    once, before the next is made.

    Args:
        batches: the loop's iterator.
        skipped: how many batches the loop itself takes and throws away first.
        restore: sets the generators.
    """

    def __init__(self, batches: Iterator, skipped: int, restore: Callable[[], None]):
        self.batches = batches
        self.skipped = skipped
        self.restore = restore

    def __getattr__(self, name: str) -> Any:
        return getattr(self.batches, name)

    def __iter__(self) -> Iterator:
        return self

    def __next__(self) -> Any:
        if self.skipped == 0:
            start = getattr(self.batches, '_ensure_iterator', None)
            if start is not None:  # newer MMEngine starts its loader with the first batch, which draws a number
                start()
            self.restore()
        self.skipped -= 1
        return next(self.batches)
