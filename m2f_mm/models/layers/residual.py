"""Norm and residual around the parts of a transformer layer."""
from collections.abc import Callable

from mmengine.model import BaseModule, ModuleList
from torch import Tensor, nn


class ResidualLayer(BaseModule):
    """A transformer layer: parts one after the other, each with a norm of its own and a residual.

    Args:
        embed_dims: channels E.
        num_parts: norms; part i has norm i.
        pre_norm: normalise before each part instead of after its residual.
    """

    def __init__(self, embed_dims: int, num_parts: int, pre_norm: bool = False):
        super().__init__()
        self.norms = ModuleList(nn.LayerNorm(embed_dims) for _ in range(num_parts))
        self.pre_norm = pre_norm

    def residual(self, part: int, x: Tensor, compute: Callable[[Tensor], Tensor]) -> Tensor:
        """x plus what a part computes of it."""
        norm = self.norms[part]
        return x + compute(norm(x)) if self.pre_norm else norm(x + compute(x))
