"""The pixel decoders of MaskFormer: the plain FPN (section 3.3), and with transformer encoder layers on the coarsest
map (section 4.1 and appendix A, panoptic models).

Shapes: B images, E channels.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule, ModuleList, caffe2_xavier_init
from torch import Tensor, nn

from m2f_mm.deprecation import renamed_arguments
from m2f_mm.registry import MODELS

from ..layers import TransformerEncoder, loads_weights, sine_position, xavier_matrices
from .inputs import finest_maps


class TopDownPathway(BaseModule):
    """What both pixel decoders have: a top-down pathway with nearest upsampling.

    A subclass registers ``mask_feature`` and what makes the pathway's first map of the coarsest feature, in the order
    that MMDetection's ``PixelDecoder`` and ``TransformerEncoderPixelDecoder`` have.

    Args:
        memory_channels: of each kind of memory.
        Others: as for ``FPNPixelDecoder``.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        feat_channels: int,
        num_outs: int,
        memory: str,
        memory_channels: dict[str, int],
        norm_cfg: dict | None,
        init_cfg: dict | None,
    ):
        super().__init__(init_cfg)
        if memory not in memory_channels:
            raise ValueError(
                f'{type(self).__name__}: memory must be one of {", ".join(memory_channels)}, got {memory!r}'
            )
        self.in_channels = list(in_channels)
        self.num_outs = num_outs
        self.memory = memory
        self.embed_dims = memory_channels[memory]
        options = dict(norm_cfg=norm_cfg, bias=norm_cfg is None)
        self.lateral_convs = ModuleList(
            ConvModule(channels, feat_channels, 1, act_cfg=None, **options) for channels in in_channels[:-1]
        )
        self.output_convs = ModuleList(
            ConvModule(feat_channels, feat_channels, 3, padding=1, **options) for _ in in_channels[:-1]
        )

    def forward(self, feats: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """
        Args:
            feats: backbone features (B, C, h, w), fine to coarse; see ``finest_maps``.

        Returns:
            Mask features (B, out_channels, h, w) at the size of the finest input, and the memories (B, c, h, w),
            coarse to fine: ``num_outs`` of a pyramid, otherwise one.
        """
        feats = finest_maps(type(self).__name__, tuple(feats), self.in_channels)
        coarsest, start = self._enter(feats[-1])
        outs = [start]
        for feat, lateral, output in reversed(list(zip(feats, self.lateral_convs, self.output_convs))):
            outs.append(output(lateral(feat) + F.interpolate(outs[-1], feat.shape[-2:], mode='nearest')))
        mask_features = self.mask_feature(outs[-1])
        memories = dict(pyramid=outs[: self.num_outs], coarsest=[coarsest], mask_features=[mask_features])
        return mask_features, memories[self.memory]

    def _enter(self, feat: Tensor) -> tuple[Tensor, Tensor]:
        """The coarsest feature as memory, and the first map of the pathway."""
        raise NotImplementedError

    def init_weights(self) -> None:
        """caffe2's Xavier for every convolution, as the official code."""
        super().init_weights()
        if loads_weights(self):
            return
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                caffe2_xavier_init(module)


@MODELS.register_module()
class FPNPixelDecoder(TopDownPathway):
    """Top-down pathway with nearest upsampling.

    Parameter names are those of MMDetection's ``PixelDecoder``.

    Args:
        in_channels: channels of the backbone's features, fine to coarse.
        feat_channels: channels E of the pathway.
        out_channels: channels of the mask features.
        num_outs: memories returned, coarse to fine, of the pyramid.
        memory: what the transformer decoder attends to: 'pyramid', the running maps (Mask2Former's decoder);
            'coarsest', what enters the pathway at its coarse end, here the backbone's map itself (MaskFormer's);
            'mask_features'.
        norm_cfg: norm of the convolutions; None gives them a bias instead.
    """

    def __init__(
        self,
        in_channels: Sequence[int] = (256, 512, 1024, 2048),
        feat_channels: int = 256,
        out_channels: int = 256,
        num_outs: int = 3,
        memory: str = 'pyramid',
        norm_cfg: dict | None = dict(type='GN', num_groups=32),
        init_cfg: dict | None = None,
    ):
        channels = dict(pyramid=feat_channels, coarsest=in_channels[-1], mask_features=out_channels)
        super().__init__(in_channels, feat_channels, num_outs, memory, channels, norm_cfg, init_cfg)
        self.last_feat_conv = ConvModule(
            in_channels[-1], feat_channels, 3, padding=1, norm_cfg=norm_cfg, bias=norm_cfg is None
        )
        self.mask_feature = nn.Conv2d(feat_channels, out_channels, 3, padding=1)

    def _enter(self, feat: Tensor) -> tuple[Tensor, Tensor]:
        return feat, self.last_feat_conv(feat)


@MODELS.register_module()
class TransformerEncoderPixelDecoder(TopDownPathway):
    """The FPN behind a plain transformer encoder over the coarsest map.

    Parameter names are those of MMDetection's module of this name. Padding is attended to as if it were image, as in
    the official code.

    Args:
        num_layers: encoder layers; 6 in the published panoptic models with a ResNet.
        num_heads, feedforward_channels, dropout, pre_norm: of each.
        memory: as for the FPN; 'coarsest' is what the encoder makes of the backbone's map.
        activation_checkpointing: 'full' recomputes everything inside of the encoder's layers in the backward pass.
        Others: as for the FPN.
    """

    @renamed_arguments(checkpointing='activation_checkpointing')
    def __init__(
        self,
        in_channels: Sequence[int] = (256, 512, 1024, 2048),
        feat_channels: int = 256,
        out_channels: int = 256,
        num_outs: int = 3,
        memory: str = 'coarsest',
        num_layers: int = 6,
        num_heads: int = 8,
        feedforward_channels: int = 2048,
        dropout: float = 0.1,
        pre_norm: bool = False,
        norm_cfg: dict | None = dict(type='GN', num_groups=32),
        activation_checkpointing: str = 'none',
        init_cfg: dict | None = None,
    ):
        channels = dict(pyramid=feat_channels, coarsest=feat_channels, mask_features=out_channels)
        super().__init__(in_channels, feat_channels, num_outs, memory, channels, norm_cfg, init_cfg)
        self.mask_feature = nn.Conv2d(feat_channels, out_channels, 3, padding=1)
        self.encoder_in_proj = nn.Conv2d(in_channels[-1], feat_channels, 1)
        self.encoder = TransformerEncoder(
            num_layers, feat_channels, num_heads, feedforward_channels, dropout, pre_norm, activation_checkpointing
        )
        self.encoder_out_proj = ConvModule(
            feat_channels, feat_channels, 3, padding=1, norm_cfg=norm_cfg, bias=norm_cfg is None
        )

    def _enter(self, feat: Tensor) -> tuple[Tensor, Tensor]:
        projected = self.encoder_in_proj(feat)  # (B, E, h, w)
        channels, height, width = projected.shape[1:]
        position = sine_position(height, width, channels // 2, device=feat.device)
        tokens = self.encoder(projected.flatten(2).transpose(1, 2), position)
        encoded = tokens.transpose(1, 2).unflatten(2, (height, width))
        return encoded, self.encoder_out_proj(encoded)

    def init_weights(self) -> None:
        """As the FPN, and Xavier uniform for every matrix of the encoder."""
        super().init_weights()
        if loads_weights(self):
            return
        xavier_matrices(self.encoder)
