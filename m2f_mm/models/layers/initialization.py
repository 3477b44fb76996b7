"""Whether a module takes its weights from a file."""
from mmengine.model import BaseModule


def loads_weights(module: BaseModule) -> bool:
    """The ``init_cfg`` of a module names a checkpoint, which no initialisation of its own may overwrite."""
    configs = module.init_cfg if isinstance(module.init_cfg, (list, tuple)) else [module.init_cfg]
    return any(config and config['type'] == 'Pretrained' for config in configs)
