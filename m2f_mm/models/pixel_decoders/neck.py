"""Any registered neck as a pixel decoder."""

from collections.abc import Sequence

from mmengine.model import BaseModule, caffe2_xavier_init
from torch import Tensor, nn

from m2f_mm.registry import MODELS

from ..layers import loads_weights
from .inputs import finest_maps


@MODELS.register_module()
class NeckPixelDecoder(BaseModule):
    """Wraps a neck of MMDetection or MMSegmentation: finest output to mask features, coarsest ones to memories.

    The neck must return maps fine to coarse, all with ``feat_channels``, the finest at stride 4, as
    ``dict(type='mmdet.FPN', ...)`` does.

    Args:
        neck: config of a registered neck, or a module. ``in_channels`` and ``out_channels`` are filled in.
        in_channels: channels of the backbone's features, fine to coarse.
        feat_channels: channels of the neck's maps.
        out_channels: channels of the mask features.
        num_outs: memories returned; they are the coarsest of the neck's maps, of which there is one for each feature
            or, where more memories are asked for, one more than those. With fewer of them, as in MaskFormer, maps in
            between stay unused; where a neck has weights for these, DDP needs ``find_unused_parameters=True``.
    """

    def __init__(
        self,
        neck: dict | nn.Module,
        in_channels: Sequence[int] = (256, 512, 1024, 2048),
        feat_channels: int = 256,
        out_channels: int = 256,
        num_outs: int = 3,
        init_cfg: dict | None = None,
    ):
        super().__init__(init_cfg)
        self.num_outs = num_outs
        self.num_maps = max(len(in_channels), num_outs + 1)
        self.embed_dims = feat_channels
        if isinstance(neck, nn.Module):
            self.neck = neck
        else:
            self.neck = MODELS.build(
                {'in_channels': list(in_channels), 'out_channels': feat_channels, 'num_outs': self.num_maps, **neck}
            )
        known = getattr(self.neck, 'in_channels', in_channels)  # a module that is given knows them itself
        self.in_channels = list(known if isinstance(known, (list, tuple)) else in_channels)
        self.mask_feature = nn.Conv2d(feat_channels, out_channels, 3, padding=1)

    def forward(self, feats: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Features fine to coarse to mask features and ``num_outs`` memories, coarse to fine."""
        name = type(self.neck).__name__
        outs = self.neck(tuple(finest_maps(name, tuple(feats), self.in_channels)))
        if len(outs) < self.num_maps:
            raise ValueError(
                f'{name} returned {len(outs)} maps; {self.num_outs} memories and the mask features need '
                f'{self.num_maps}: raise its num_outs'
            )
        for level, out in enumerate(outs[: self.num_maps]):
            if out.shape[1] != self.embed_dims:
                raise ValueError(
                    f'{name} returned {out.shape[1]} channels in map {level} (the finest is 0), but '
                    f'feat_channels is {self.embed_dims}: make its out_channels agree'
                )
        return self.mask_feature(outs[0]), list(reversed(outs[self.num_maps - self.num_outs : self.num_maps]))

    def init_weights(self) -> None:
        """The neck's own initialisation; caffe2's Xavier for the convolution that makes the mask features."""
        super().init_weights()
        if not loads_weights(self):
            caffe2_xavier_init(self.mask_feature)
