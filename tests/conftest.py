"""Settings of every test."""

import mmengine.utils  # noqa: F401  Its progress bar keeps the stdout of its import, which in a test would be closed later.
import torch

# The networks here are thin: a second thread costs more than it brings, and tests may share the machine.
torch.set_num_threads(1)
