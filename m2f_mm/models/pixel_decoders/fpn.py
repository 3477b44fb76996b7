"""The plain FPN pixel decoder of MaskFormer (section 3.3)."""
from collections.abc import Sequence

import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule, ModuleList, caffe2_xavier_init
from torch import Tensor, nn

from m2f_mm.registry import MODELS


@MODELS.register_module()
class FPNPixelDecoder(BaseModule):
    """Top-down pathway with nearest upsampling; every running map serves as memory.

    Parameter names are those of MMDetection's ``PixelDecoder``.

    Args:
        in_channels: channels of the backbone's features, fine to coarse.
        feat_channels: channels E of the pathway.
        out_channels: channels of the mask features.
        num_outs: memories returned, coarse to fine.
        norm_cfg: norm of the convolutions; None gives them a bias instead.
    """

    def __init__(self,
                 in_channels: Sequence[int] = (256, 512, 1024, 2048),
                 feat_channels: int = 256,
                 out_channels: int = 256,
                 num_outs: int = 3,
                 norm_cfg: dict | None = dict(type='GN', num_groups=32),
                 init_cfg: dict | None = None):
        super().__init__(init_cfg)
        self.num_outs = num_outs
        self.embed_dims = feat_channels
        options = dict(norm_cfg=norm_cfg, bias=norm_cfg is None)
        self.lateral_convs = ModuleList(
            ConvModule(channels, feat_channels, 1, act_cfg=None, **options) for channels in in_channels[:-1])
        self.output_convs = ModuleList(
            ConvModule(feat_channels, feat_channels, 3, padding=1, **options) for _ in in_channels[:-1])
        self.last_feat_conv = ConvModule(in_channels[-1], feat_channels, 3, padding=1, **options)
        self.mask_feature = nn.Conv2d(feat_channels, out_channels, 3, padding=1)

    def forward(self, feats: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """
        Args:
            feats: backbone features (B, C, h, w), fine to coarse.

        Returns:
            Mask features (B, out_channels, h, w) at the size of the finest input, and ``num_outs`` memories
            (B, E, h, w), coarse to fine.
        """
        outs = [self.last_feat_conv(feats[-1])]
        for feat, lateral, output in reversed(list(zip(feats, self.lateral_convs, self.output_convs))):
            outs.append(output(lateral(feat) + F.interpolate(outs[-1], feat.shape[-2:], mode='nearest')))
        return self.mask_feature(outs[-1]), outs[:self.num_outs]

    def init_weights(self) -> None:
        """caffe2's Xavier for every convolution, as the official code."""
        super().init_weights()
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                caffe2_xavier_init(module)
