"""Settings of every test."""

import gc

import mmengine.utils  # noqa: F401  Its progress bar keeps the stdout of its import, which in a test would be closed later.
import pytest
import torch

# The networks here are thin: a second thread costs more than it brings, and tests may share the machine.
torch.set_num_threads(1)


def pytest_configure(config):
    """Generate m2f_mm/configs, which a checkout has only after an installation."""
    from m2f_mm.apis.configs import write_pure_configs

    write_pure_configs()


@pytest.fixture(scope='module', autouse=True)
def frozen_modules():
    """Leave what the imported modules hold out of garbage collection: MMEngine collects whenever a data set is built,
    which takes 0.3 s with the stacks' million objects."""
    gc.collect()
    gc.freeze()
