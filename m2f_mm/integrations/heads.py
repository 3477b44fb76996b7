"""What the heads for MMDetection and MMSegmentation have in common: a network and a criterion from their options."""
from collections.abc import Sequence

from m2f_mm.models import MaskTransformer

from .options import (
    MASK2FORMER,
    ClassCounts,
    Method,
    build_criterion,
    build_pixel_decoder,
    build_transformer_decoder,
    refuse_encoding,
)


class ConfiguredHead(MaskTransformer):
    """A ``MaskTransformer`` from the options of a config, the stock ones and shorter ones.

    Args:
        where: what an error message calls the owner of the options.
        counts: the classes.
        in_channels: channels of the backbone's features, fine to coarse.
        feat_channels: channels of the pixel decoder.
        out_channels: channels of the mask features.
        num_queries: Q.
        num_transformer_feat_level: memories that the transformer decoder attends to; 3 for Mask2Former, 1 for
            MaskFormer.
        pixel_decoder: a pixel decoder or any registered neck; MSDeformAttn by default for Mask2Former, the FPN for
            MaskFormer.
        transformer_decoder: options of ``Mask2FormerTransformerDecoder`` or ``MaskFormerTransformerDecoder``, or the
            stock nested ones; ``type`` takes another registered one.
        enforce_decoder_input_project: project the memories even where the channels agree; MMDetection's MaskFormer
            does not where the pixel decoder has an encoder, the official code does.
        deep_supervision: losses for the predictions before the last one, too.
        checkpointing: 'none', 'norms', 'ffn' or 'full': what pixel decoder and transformer decoder make again in the
            backward pass instead of keeping it. ``backbone=dict(with_cp=True)`` does it for the backbone.
        positional_encoding: the stock option; what it says follows from the channels.
        loss_cls, loss_mask, loss_dice: the stock options; ``loss_weight`` is 2, 5, 5 by default for Mask2Former and
            1, 20, 1 for MaskFormer, whose ``loss_mask`` is a ``FocalLoss``.
        train_cfg: points and assigner, as in the stock configs; ``num_points=None`` compares masks at every pixel, as
            MaskFormer does by default.
        strides: the stock option, without use.
    """
    method: Method = MASK2FORMER

    def __init__(self,
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
                 checkpointing: str = 'norms',
                 positional_encoding: dict | None = None,
                 loss_cls: dict | None = None,
                 loss_mask: dict | None = None,
                 loss_dice: dict | None = None,
                 train_cfg: dict | None = None,
                 strides: Sequence[int] = (4, 8, 16, 32),
                 init_cfg: dict | None = None):
        refuse_encoding(f'{where}.positional_encoding', positional_encoding)
        num_levels = num_transformer_feat_level or self.method.num_levels
        super().__init__(
            build_pixel_decoder(pixel_decoder, self.method, in_channels, feat_channels, out_channels, num_levels,
                                checkpointing),
            build_transformer_decoder(transformer_decoder, self.method, checkpointing), len(counts.is_thing),
            num_queries, num_levels, out_channels, enforce_decoder_input_project, deep_supervision=deep_supervision,
            init_cfg=init_cfg)
        self.criterion = build_criterion(self.num_classes, self.method, loss_cls, loss_mask, loss_dice, train_cfg)
