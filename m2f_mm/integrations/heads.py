"""What the heads for MMDetection and MMSegmentation have in common: a network and a criterion from their options."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from m2f_mm.structures import MaskPredictions, SegTargets

from .options import (
    MASK2FORMER,
    ClassCounts,
    HeadDefaults,
    build_criterion,
    build_pixel_decoder,
    build_transformer_decoder,
    reject_unsupported_encoding,
)


class ConfiguredHead:
    """Makes a ``MaskNetwork``, which a head inherits from after this, of the options of a config, the stock ones and
    shorter ones.

    Args:
        where: what an error message calls the owner of the options.
        counts: the classes.
        in_channels: channels of the backbone's features, fine to coarse.
        feat_channels: channels of the pixel decoder.
        out_channels: channels of the mask features.
        num_queries: Q.
        num_transformer_feat_level: memories that the transformer decoder attends to; 3 for Mask2Former, 1 for
            MaskFormer, 4 for Mask DINO.
        pixel_decoder: a pixel decoder or any registered neck; MSDeformAttn by default for Mask2Former and Mask DINO,
            the FPN for MaskFormer.
        transformer_decoder: options of the method's own, such as ``Mask2FormerTransformerDecoder``, or the stock nested
            ones; ``type`` takes another registered one.
        enforce_decoder_input_project: project the memories even where the channels agree; MMDetection's MaskFormer
            does not where the pixel decoder has an encoder, the official code does.
        deep_supervision: losses for the predictions before the last one, too.
        activation_checkpointing: 'none', 'norms', 'ffn' or 'full': what pixel decoder and transformer decoder make
            again in the backward pass instead of keeping it. ``backbone=dict(with_cp=True)`` does it for the backbone.
        positional_encoding: the stock option; what it says follows from the channels.
        loss_cls, loss_mask, loss_dice: the stock options; ``loss_weight`` is 2, 5, 5 by default for Mask2Former,
            1, 20, 1 for MaskFormer, whose ``loss_mask`` is a ``FocalLoss``, and 4, 5, 5 for Mask DINO, whose
            ``loss_cls`` is one.
        train_cfg: points and assigner, as in the stock configs; ``num_points=None`` compares masks at every pixel, as
            MaskFormer does by default.
        strides: the stock option, without use.
        loss_bbox, loss_iou: where there are boxes, an ``L1Loss`` and a ``GIoULoss``, 5 and 2 by default.
        criterion: further options of ``SetCriterion``.
        predict_masks: False where there are boxes, for a detector without the parts that make masks; ``loss_mask`` and
            ``loss_dice`` are of no use then.
        **network: further options of the network.
    """

    method: HeadDefaults = MASK2FORMER
    encoding = 'SinePositionalEncoding'

    def __init__(
        self,
        where: str,
        counts: ClassCounts,
        in_channels: Sequence[int] = (256, 512, 1024, 2048),
        feat_channels: int = 256,
        out_channels: int = 256,
        num_queries: int = 100,
        num_transformer_feat_level: int | None = None,
        pixel_decoder: dict | None = None,
        transformer_decoder: dict | None = None,
        enforce_decoder_input_project: bool = False,
        deep_supervision: bool = True,
        activation_checkpointing: str = 'norms',
        positional_encoding: dict | None = None,
        loss_cls: dict | None = None,
        loss_mask: dict | None = None,
        loss_dice: dict | None = None,
        train_cfg: dict | None = None,
        strides: Sequence[int] = (4, 8, 16, 32),
        init_cfg: dict | None = None,
        loss_bbox: dict | None = None,
        loss_iou: dict | None = None,
        criterion: dict[str, Any] | None = None,
        predict_masks: bool = True,
        **network: Any,
    ):
        if not predict_masks:
            if not self.predicts_boxes:
                raise ValueError(
                    f'{where}: predict_masks=False is for heads that predict boxes, which '
                    f'{type(self).__name__} does not'
                )
            out_channels = None
        reject_unsupported_encoding(f'{where}.positional_encoding', positional_encoding, self.encoding)
        num_levels = num_transformer_feat_level or self.method.num_levels
        criterion = build_criterion(
            len(counts.is_thing),
            self.method,
            loss_cls,
            loss_mask,
            loss_dice,
            train_cfg,
            loss_bbox,
            loss_iou,
            **(criterion or {}),
        )
        super().__init__(
            build_pixel_decoder(
                pixel_decoder,
                self.method,
                in_channels,
                feat_channels,
                out_channels,
                num_levels,
                activation_checkpointing,
            ),
            build_transformer_decoder(transformer_decoder, self.method, num_levels, activation_checkpointing),
            len(counts.is_thing),
            num_queries,
            num_levels,
            mask_channels=out_channels,
            project_memory=enforce_decoder_input_project,
            deep_supervision=deep_supervision,
            no_object=criterion.class_weight is not None,
            init_cfg=init_cfg,
            **network,
        )
        self.criterion = criterion

    def losses(self, feats: Sequence[Tensor], targets: Sequence[SegTargets], **options: Any) -> dict[str, Tensor]:
        """Losses by name, see ``SetCriterion``; ``options`` of the network's forward pass."""
        if self.predicts_boxes:
            targets = [target.with_boxes() for target in targets]
        return self.criterion(self(feats, targets=targets, **options), targets)


def stock_outputs(predictions: MaskPredictions) -> tuple[list[Tensor], ...]:
    """What the stock heads' ``forward`` gives: of every layer class logits (B, Q, C + 1) and mask logits (B, Q, h, w),
    those of a clip (B, Q, T, h, w); and boxes (B, Q, 4) where there are any."""
    parts = [predictions.class_logits]
    if predictions.mask_features is not None:
        masks = [torch.stack(predictions.mask_logits(layer)) for layer in range(predictions.num_layers)]
        parts.append([mask[:, :, 0] for mask in masks] if predictions.mask_features.shape[1] == 1 else masks)
    if predictions.boxes is not None:
        parts.append(predictions.boxes)
    return tuple(parts)
