"""MMSegmentation: MaskFormer's per-pixel baselines, which classify pixels instead of masks (MaskFormer, section 4.2).

Shapes: B images, C classes, h x w the mask features, H x W the labels.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule, kaiming_init
from mmseg.structures import SegDataSample
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from m2f_mm.models import MaskTransformer
from m2f_mm.models.layers import loads_weights
from m2f_mm.postprocess import finite_sum, raise_non_finite
from m2f_mm.registry import MODELS
from m2f_mm.structures import MaskPredictions

from .checked_model import explained
from .head_defaults import MASKFORMER
from .head_options import PerPixelPlusSegHeadOptions, PerPixelSegHeadOptions, lists_options, read_options
from .mmseg import SegmentorClasses, input_size, segmentor_classes
from .parts import build_pixel_decoder, build_transformer_decoder

STRIDE = 4  # of the mask features
NUM_LEVELS = 1  # memories that the transformer decoder attends to


class PerPixelAdapter(BaseModule):
    """Losses and predictions of a head that classifies pixels."""

    align_corners = False  # as the segmentor resizes
    class_names: tuple[str, ...] | None
    ignore_index: int
    out_channels: int  # channels of the map, for the segmentor

    def take_classes(self, classes: SegmentorClasses) -> None:
        """Those of the options."""
        self.class_names, self.ignore_index, self.out_channels = classes

    def class_maps(self, x: Sequence[Tensor]) -> list[Tensor]:
        """Features fine to coarse to a map of class logits (B, C, h, w), or several that are supervised alike, the last
        one being the output."""
        raise NotImplementedError

    def loss(
        self, x: Sequence[Tensor], batch_data_samples: Sequence[SegDataSample], train_cfg: dict | None = None
    ) -> dict[str, Tensor]:
        """Cross-entropy over the pixels that have a label: ``loss_ce``, and ``d{i}.loss_ce`` of auxiliary maps."""
        maps = self.class_maps(x)
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
        logits = self.class_maps(x)[-1]
        with explained(self):
            if not finite_sum(logits).isfinite():
                raise_non_finite({'class logits': logits})
        return enlarged(logits, input_size(x[0], batch_img_metas[0]))


def enlarged(logits: Tensor, size: Sequence[int]) -> Tensor:
    """Class logits at four times their size, of which ``size`` is kept, at least in float32."""
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    logits = F.interpolate(logits, scale_factor=STRIDE, mode='bilinear', align_corners=False)
    return logits[..., : size[0], : size[1]]


@MODELS.register_module()
@lists_options(PerPixelSegHeadOptions)
class PerPixelSegHead(PerPixelAdapter):
    """The baseline: a pixel decoder, by default the FPN, and a 1x1 convolution. Fills the ``decode_head`` slot."""

    def __init__(self, **options: Any):
        given = read_options(PerPixelSegHeadOptions, options)
        super().__init__(given.init_cfg)
        self.take_classes(segmentor_classes(given, len(given.in_channels)))
        self.pixel_decoder = build_pixel_decoder(MASKFORMER, given, NUM_LEVELS, given.out_channels)
        self.num_classes = self.out_channels
        self.conv_seg = nn.Conv2d(given.out_channels, self.num_classes, 1)

    def forward(self, x: Sequence[Tensor]) -> list[Tensor]:
        """The same as ``class_maps``: one map."""
        return self.class_maps(x)

    def class_maps(self, x: Sequence[Tensor]) -> list[Tensor]:
        """Features fine to coarse to one map (B, C, h, w)."""
        return [self.conv_seg(self.pixel_decoder(x)[0])]

    def init_weights(self) -> None:
        """He's normal for the classifier, as the official code."""
        super().init_weights()
        if loads_weights(self):
            return
        kaiming_init(self.conv_seg)


@MODELS.register_module()
@lists_options(PerPixelPlusSegHeadOptions)
class PerPixelPlusSegHead(PerPixelAdapter, MaskTransformer):
    """The stronger baseline: MaskFormer's network, where query i is class i and its mask that class's map. Fills the
    ``decode_head`` slot."""

    def __init__(self, **options: Any):
        given = read_options(PerPixelPlusSegHeadOptions, options)
        classes = segmentor_classes(given, len(given.in_channels))
        num_classes = classes.out_channels
        super().__init__(
            build_pixel_decoder(MASKFORMER, given, NUM_LEVELS, given.out_channels),
            build_transformer_decoder(
                MASKFORMER, given.transformer_decoder, NUM_LEVELS, given.activation_checkpointing
            ),
            num_classes,
            num_queries=num_classes,
            num_levels=NUM_LEVELS,
            mask_channels=given.out_channels,
            project_memory=given.enforce_decoder_input_project,
            init_cfg=given.init_cfg,
            class_head=False,  # query i is class i
        )
        self.take_classes(classes)

    def class_maps(self, x: Sequence[Tensor]) -> list[Tensor]:
        """Features fine to coarse to a map (B, C, h, w) for every layer in training, otherwise for the last one."""
        return self.outputs(self(x))

    @staticmethod
    def outputs(predictions: MaskPredictions) -> list[Tensor]:
        """The masks of the queries as maps of the classes, of every layer."""
        return [
            torch.cat([masks.transpose(0, 1) for masks in predictions.mask_logits(layer)])
            for layer in range(predictions.num_layers)
        ]
