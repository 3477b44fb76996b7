"""MMSegmentation: MaskFormer's per-pixel baselines, which classify pixels instead of masks (MaskFormer, section 4.2).

Shapes: B images, C classes, h x w the mask features, H x W the labels.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmseg.structures import SegDataSample
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from m2f_mm.models import MaskTransformer
from m2f_mm.models.layers import loads_weights
from m2f_mm.postprocess import finite_sum, raise_non_finite
from m2f_mm.registry import MODELS

from .checked_model import explained
from .mmseg import check_stock_options, ignored_label, input_size
from .options import MASKFORMER, build_pixel_decoder, build_transformer_decoder, class_counts

STRIDE = 4  # of the mask features


class PerPixel:
    """Losses and predictions of a head whose ``forward`` gives one map of class logits (B, C, h, w), or several that
    are supervised alike, the last one being the output."""

    align_corners = False
    ignore_index: int

    def loss(
        self, x: Sequence[Tensor], batch_data_samples: Sequence[SegDataSample], train_cfg: dict | None = None
    ) -> dict[str, Tensor]:
        """Cross-entropy over the pixels that have a label: ``loss_ce``, and ``d{i}.loss_ce`` of auxiliary maps."""
        maps = self(x)
        labels = torch.cat([sample.gt_sem_seg.data.long() for sample in batch_data_samples]).to(maps[0].device)
        losses = [
            checkpoint(self._cross_entropy, logits, labels, use_reentrant=False, preserve_rng_state=False)
            for logits in maps
        ]  # maps of the labels' size are not kept
        prefixes = [f'd{layer}.' for layer in range(len(losses) - 1)] + ['']
        return {f'{prefix}loss_ce': value for prefix, value in zip(prefixes, losses)}

    def _cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        with torch.autocast(logits.device.type, enabled=False):
            total = F.cross_entropy(
                enlarged(logits, labels.shape[-2:]), labels, ignore_index=self.ignore_index, reduction='sum'
            )
            return total / (labels != self.ignore_index).sum().clamp(min=1)

    def predict(self, x: Sequence[Tensor], batch_img_metas: Sequence[dict], test_cfg: dict | None = None) -> Tensor:
        """Class logits (B, C, H, W) at the size of the network's input."""
        logits = self(x)[-1]
        with explained(self):
            if not finite_sum(logits).isfinite():
                raise_non_finite({'class logits': logits})
        return enlarged(logits, input_size(x[0], batch_img_metas[0]))


def enlarged(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Class logits at four times their size, of which ``size`` is kept, at least in float32."""
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    logits = F.interpolate(logits, scale_factor=STRIDE, mode='bilinear', align_corners=False)
    return logits[..., : size[0], : size[1]]


@MODELS.register_module()
class PerPixelSegHead(PerPixel, BaseModule):
    """The baseline: a pixel decoder and a 1x1 convolution. Fills the ``decode_head`` slot.

    Args:
        num_classes, metainfo, ignore_index, align_corners, in_index: as for ``Mask2FormerSegHead``.
        in_channels, feat_channels, out_channels, pixel_decoder, activation_checkpointing: as for ``ConfiguredHead``;
            the FPN by default.
    """

    def __init__(
        self,
        num_classes: int | None = None,
        metainfo: dict | str | None = None,
        ignore_index: int | None = None,
        align_corners: bool = False,
        in_index: Sequence[int] | None = None,
        in_channels: Sequence[int] = (256, 512, 1024, 2048),
        feat_channels: int = 256,
        out_channels: int = 256,
        pixel_decoder: dict | None = None,
        activation_checkpointing: str = 'norms',
        init_cfg: dict | None = None,
    ):
        check_stock_options(align_corners, in_index, len(in_channels))
        super().__init__(init_cfg)
        counts = class_counts('decode_head', metainfo, num_classes=num_classes)
        self.num_classes = self.out_channels = len(counts.is_thing)
        self.class_names = counts.names
        self.ignore_index = ignored_label(self.num_classes, ignore_index)
        self.pixel_decoder = build_pixel_decoder(
            pixel_decoder,
            MASKFORMER,
            in_channels,
            feat_channels,
            out_channels,
            MASKFORMER.num_levels,
            activation_checkpointing,
        )
        self.conv_seg = nn.Conv2d(out_channels, self.num_classes, 1)

    def forward(self, x: Sequence[Tensor]) -> list[Tensor]:
        """Features fine to coarse to one map (B, C, h, w)."""
        return [self.conv_seg(self.pixel_decoder(x)[0])]

    def init_weights(self) -> None:
        """He's normal for the classifier, as the official code."""
        super().init_weights()
        if loads_weights(self):
            return
        nn.init.kaiming_normal_(self.conv_seg.weight, mode='fan_out', nonlinearity='relu')
        nn.init.zeros_(self.conv_seg.bias)


@MODELS.register_module()
class PerPixelPlusSegHead(PerPixel, MaskTransformer):
    """The stronger baseline: MaskFormer's network, where query i is class i and its mask that class's map.

    Args:
        transformer_decoder, enforce_decoder_input_project: as for ``ConfiguredHead``.
        Others: as for ``PerPixelSegHead``.
    """

    def __init__(
        self,
        num_classes: int | None = None,
        metainfo: dict | str | None = None,
        ignore_index: int | None = None,
        align_corners: bool = False,
        in_index: Sequence[int] | None = None,
        in_channels: Sequence[int] = (256, 512, 1024, 2048),
        feat_channels: int = 256,
        out_channels: int = 256,
        pixel_decoder: dict | None = None,
        transformer_decoder: dict | None = None,
        enforce_decoder_input_project: bool = False,
        activation_checkpointing: str = 'norms',
        init_cfg: dict | None = None,
    ):
        check_stock_options(align_corners, in_index, len(in_channels))
        counts = class_counts('decode_head', metainfo, num_classes=num_classes)
        classes = len(counts.is_thing)
        super().__init__(
            build_pixel_decoder(
                pixel_decoder,
                MASKFORMER,
                in_channels,
                feat_channels,
                out_channels,
                MASKFORMER.num_levels,
                activation_checkpointing,
            ),
            build_transformer_decoder(transformer_decoder, MASKFORMER, MASKFORMER.num_levels, activation_checkpointing),
            classes,
            num_queries=classes,
            num_levels=MASKFORMER.num_levels,
            mask_channels=out_channels,
            project_memory=enforce_decoder_input_project,
            init_cfg=init_cfg,
        )
        self.cls_embed = nn.Identity()  # a query's class is known
        self.out_channels = classes
        self.class_names = counts.names
        self.ignore_index = ignored_label(classes, ignore_index)

    def forward(self, x: Sequence[Tensor]) -> list[Tensor]:
        """Features fine to coarse to a map (B, C, h, w) for every layer in training, otherwise for the last one."""
        predictions = super().forward(x)
        return [
            torch.cat([masks.transpose(0, 1) for masks in predictions.mask_logits(layer)])
            for layer in range(predictions.num_layers)
        ]
