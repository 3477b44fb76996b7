"""Processes of data loaders that end with the training, also where that is killed."""

import os
import threading
import time
from collections.abc import Callable

from torch.utils.data import DataLoader

INTERVAL = 0.5  # seconds between two checks of the parent process


class EndsWithParent:
    """A ``worker_init_fn``: the worker ends when its parent does. torch's own watch ends its loop only, and then waits
    forever for its batches to be taken.

    Args:
        init: what is to be done beside, as a ``worker_init_fn``.
    """

    def __init__(self, init: Callable[[int], None] | None = None):
        self.init = init

    def __call__(self, worker_id: int) -> None:
        """Start to watch the parent in a worker."""
        threading.Thread(target=end_with, args=(os.getppid(),), daemon=True).start()
        if self.init is not None:
            self.init(worker_id)


def end_with(parent: int) -> None:
    """End this process when it has another parent."""
    while os.getppid() == parent:
        time.sleep(INTERVAL)
    os._exit(1)


def ending_with_parent(build: Callable[..., DataLoader]) -> Callable[..., DataLoader]:
    """A runner's ``build_dataloader`` whose loaders have workers that end with it."""

    def build_dataloader(*args, **options) -> DataLoader:
        loader = build(*args, **options)
        if loader.num_workers and not isinstance(loader.worker_init_fn, EndsWithParent):
            loader.worker_init_fn = EndsWithParent(loader.worker_init_fn)
        return loader

    return build_dataloader
