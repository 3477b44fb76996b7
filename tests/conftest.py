"""Settings of every test."""
import torch

# The networks here are thin: a second thread costs more than it brings, and tests may share the machine.
torch.set_num_threads(1)
