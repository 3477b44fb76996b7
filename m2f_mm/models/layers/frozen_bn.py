"""Batch normalisation with fixed statistics, as one scale and one shift."""

import torch
from torch import Tensor, nn

from m2f_mm.registry import MODELS

from .tracing import is_prediction


@MODELS.register_module()
class FrozenBN(nn.Module):
    """A batch norm that never learns: ``x * scale + shift``, both from buffers.

    ``BatchNorm2d`` in eval mode computes the same but keeps every input for a backward pass that has nothing to
    learn; here autograd keeps the scale only, which is a fifth of the training activations of an R50 model.
    The four tensors have BatchNorm's names, and its checkpoints load. They are buffers, so the optimizer, weight
    decay and parameter counts do not see them (detectron2's ``FrozenBatchNorm2d``).

    Args:
        num_features: channels.
        eps: added to the variance.
        inplace: overwrite the input where no gradient is needed; for norms behind a convolution, as all of a ResNet's.
    """

    _abbr_ = 'bn'  # OpenMMLab names the layer after this: bn1, bn2, ...
    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, num_features: int, eps: float = 1e-5, inplace: bool = False):
        super().__init__()
        self.inplace = inplace
        self.num_features = num_features
        self.eps = eps
        self.register_buffer('weight', torch.ones(num_features))
        self.register_buffer('bias', torch.zeros(num_features))
        self.register_buffer('running_mean', torch.zeros(num_features))
        self.register_buffer('running_var', torch.ones(num_features))

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, C, H, W), normalised; in place in prediction, if so constructed."""
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        shift = self.bias - self.running_mean * scale
        scale, shift = scale.to(x.dtype)[:, None, None], shift.to(x.dtype)[:, None, None]
        if self.inplace and is_prediction():
            return x.mul_(scale).add_(shift)
        return torch.addcmul(shift, x, scale)

    def _load_from_state_dict(
        self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
    ):
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )
        counter = prefix + 'num_batches_tracked'  # BatchNorm's, without a meaning here
        if counter in unexpected_keys:
            unexpected_keys.remove(counter)

    def extra_repr(self) -> str:
        """What ``print`` says of the layer."""
        return f'{self.num_features}, eps={self.eps}, inplace={self.inplace}'
