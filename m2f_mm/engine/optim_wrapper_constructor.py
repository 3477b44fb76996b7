"""The official grouping of parameters, read from the kind of module that owns each one.

Source: Mask2Former ``train_net.py: build_optimizer``. MMEngine's ``paramwise_cfg`` can only say it by listing every
norm and embedding of a given model by name.
"""

from typing import Any

from mmengine.optim import DefaultOptimWrapperConstructor
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from m2f_mm.registry import OPTIM_WRAPPER_CONSTRUCTORS

# torch has no common base for these; _NormBase covers batch (also synchronised) and instance norm.
NORMS = (_NormBase, nn.GroupNorm, nn.LayerNorm)
TABLES = ('relative_position_bias_table', 'absolute_pos_embed')
LEVEL_ENCODING = 'pixel_decoder.level_encoding'  # decays: a bare parameter in the official code


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class Mask2FormerOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """Backbone at a tenth of the learning rate; no weight decay for norms, embeddings and position tables.

    Everything else decays, biases included. Parameters are put into one group per (learning rate, weight decay), at
    most four, which keeps a fused optimizer's step short. Frozen parameters are left out, a shared one counts where
    it is met first.

    ``paramwise_cfg`` may hold:
        backbone_lr_mult: factor on every parameter below a module called ``backbone`` (default 0.1)
        embed_decay_mult: factor on the weight decay of ``nn.Embedding`` (default 0)
        norm_decay_mult: factor on the weight decay of norm layers (default 0)

    Raises ValueError on any other key, since a misspelt one would silently train with another recipe.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None):
        options = dict(backbone_lr_mult=0.1, embed_decay_mult=0.0, norm_decay_mult=0.0)
        unknown = sorted(set(paramwise_cfg or {}) - set(options))
        if unknown:
            raise ValueError(
                f'paramwise_cfg of {type(self).__name__} has unknown keys {unknown}; it knows '
                f"{sorted(options)}. For others use MMEngine's DefaultOptimWrapperConstructor"
            )
        super().__init__(optim_wrapper_cfg, {**options, **(paramwise_cfg or {})})
        if self.base_lr is None or self.base_wd is None:
            raise ValueError(
                f'{type(self).__name__} needs lr and weight_decay in optim_wrapper.optimizer, got '
                f'lr={self.base_lr}, weight_decay={self.base_wd}'
            )

    def add_params(self, params: list[dict], module: nn.Module, **kwargs: Any) -> None:
        """Append one group per (lr, weight_decay) to ``params``; MMEngine calls this with the whole model."""
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        grouped = set()
        for path, owner in module.named_modules():
            for name, parameter in owner.named_parameters(recurse=False):
                if not parameter.requires_grad or parameter in grouped:
                    continue
                grouped.add(parameter)
                lr = self.base_lr * self.lr_mult(path)
                weight_decay = self.base_wd * self.decay_mult(path, owner, name)
                groups.setdefault((lr, weight_decay), []).append(parameter)
        for (lr, weight_decay), members in groups.items():
            params.append(dict(params=members, lr=lr, weight_decay=weight_decay))

    def lr_mult(self, path: str) -> float:
        """Factor on the learning rate of the module at ``path``."""
        return self.paramwise_cfg['backbone_lr_mult'] if 'backbone' in path else 1.0

    def decay_mult(self, path: str, owner: nn.Module, name: str) -> float:
        """Factor on the weight decay of parameter ``name`` of module ``owner`` at ``path``."""
        if any(table in name for table in TABLES):
            return 0.0
        if isinstance(owner, NORMS):
            return self.paramwise_cfg['norm_decay_mult']
        if isinstance(owner, nn.Embedding) and not path.endswith(LEVEL_ENCODING):
            return self.paramwise_cfg['embed_decay_mult']
        return 1.0
