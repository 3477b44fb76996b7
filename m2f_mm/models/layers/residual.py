"""Norm and residual around the parts of a transformer layer."""

from collections.abc import Callable

from mmengine.model import BaseModule, ModuleList
from torch import Tensor, nn


class ResidualLayer(BaseModule):
    """A transformer layer: parts one after the other, each with a norm of its own and a residual.

    Args:
        pre_norm: normalise before each part instead of after its residual.
    """

    norms: ModuleList  # part i has norm i

    def __init__(self, pre_norm: bool = False):
        super().__init__()
        self.pre_norm = pre_norm

    def residual(self, part: int, x: Tensor, compute: Callable[[Tensor], Tensor]) -> Tensor:
        """x plus what a part computes of it."""
        norm = self.norms[part]
        return x + compute(norm(x)) if self.pre_norm else norm(x + compute(x))


def layer_norms(embed_dims: int, number: int) -> ModuleList:
    """Layer norms of one transformer layer."""
    return ModuleList(nn.LayerNorm(embed_dims) for _ in range(number))
