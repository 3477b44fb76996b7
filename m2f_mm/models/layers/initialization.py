"""Initialisation that several modules share."""

from mmengine.model import BaseModule
from torch import nn


def loads_weights(module: BaseModule) -> bool:
    """The ``init_cfg`` of a module names a checkpoint, which no initialisation of its own may overwrite."""
    configs = module.init_cfg if isinstance(module.init_cfg, (list, tuple)) else [module.init_cfg]
    return any(config and config['type'] == 'Pretrained' for config in configs)


def xavier_matrices(module: nn.Module) -> None:
    """Xavier uniform for every matrix; vectors stay as they are."""
    for parameter in module.parameters():
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)
