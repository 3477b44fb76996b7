"""What the heads of each method have where their options say nothing: the values of the paper."""

from typing import Any, NamedTuple


class HeadDefaults(NamedTuple):
    """The defaults of a method.

    Args:
        pixel_decoder, transformer_decoder: registered names.
        memory: which maps of an FPN the transformer decoder attends to.
        loss_weights: of ``loss_cls``, ``loss_mask``, ``loss_dice`` and, where boxes are predicted, ``loss_bbox`` and
            ``loss_iou``.
        mask_loss: type of ``loss_mask``.
        num_points: at which masks are compared; None for every pixel.
        class_losses: types that ``loss_cls`` may have, the default first.
        class_cost: 'probability' or 'focal'.
        pixel_options: of the pixel decoder.
    """

    pixel_decoder: str
    transformer_decoder: str
    memory: str
    loss_weights: dict[str, float]
    mask_loss: str
    num_points: int | None
    class_losses: tuple[str, ...] = ('CrossEntropyLoss',)
    class_cost: str = 'probability'
    pixel_options: dict[str, Any] = {}


MASK2FORMER = HeadDefaults(
    pixel_decoder='MSDeformAttnPixelDecoder',
    transformer_decoder='Mask2FormerTransformerDecoder',
    memory='pyramid',
    loss_weights=dict(loss_cls=2.0, loss_mask=5.0, loss_dice=5.0),
    mask_loss='CrossEntropyLoss',
    num_points=12544,
)
MASKFORMER = HeadDefaults(
    pixel_decoder='FPNPixelDecoder',
    transformer_decoder='MaskFormerTransformerDecoder',
    memory='coarsest',
    loss_weights=dict(loss_cls=1.0, loss_mask=20.0, loss_dice=1.0),
    mask_loss='FocalLoss',
    num_points=None,
)
MASK_DINO = HeadDefaults(
    pixel_decoder='MSDeformAttnPixelDecoder',
    transformer_decoder='MaskDINOTransformerDecoder',
    memory='pyramid',
    loss_weights=dict(loss_cls=4.0, loss_mask=5.0, loss_dice=5.0, loss_bbox=5.0, loss_iou=2.0),
    mask_loss='CrossEntropyLoss',
    num_points=12544,
    class_losses=('FocalLoss', 'CrossEntropyLoss'),
    class_cost='focal',
    pixel_options=dict(num_extra_levels=1, fine_first=True, always_fpn=True, feedforward_channels=2048),
)
