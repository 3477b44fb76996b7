"""The options of every head: name, default, meaning. One dataclass a head is its signature, its help and a table of
``docs/options.md``.

Defaults inside of the nested options (``pixel_decoder``, ``loss_mask``, ``train_cfg``, ...) are the method's, see
``head_defaults``; their names are in ``stock_options``.
"""

import inspect
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, TypeVar

from .inference_options import DETECTOR_OPTIONS, TEMPERATURE, VIDEO_OPTIONS
from .option_tables import ANY, Old, Only, Table, translate
from .stock_options import positional_encoding

Head = TypeVar('Head', bound=type)


def option(default: Any, meaning: str) -> Any:
    """A field with its meaning."""
    return field(default=default, metadata=dict(meaning=meaning))


@dataclass(kw_only=True)
class Options:
    """What all dataclasses of options have.

    ``slot`` is the head's place in a model. ``stock`` is a table of what a class adds to the further options of its
    bases: those of stock configs that have a single possible value or no effect, and old names.
    """

    slot: ClassVar[str]
    stock: ClassVar[Table] = {}

    @classmethod
    def stock_table(cls) -> Table:
        """``stock`` of all bases and the class."""
        return {path: entry for kind in cls.__mro__[::-1] for path, entry in vars(kind).get('stock', {}).items()}

    @classmethod
    def table(cls) -> Table:
        """For ``translate``."""
        return {**cls.stock_table(), **{each.name: each.name for each in fields(cls)}}


@dataclass(kw_only=True)
class ClassOptions(Options):
    """The classes of a head in MMSegmentation."""

    num_classes: int | None = option(None, 'number of classes; better left to `metainfo`')
    metainfo: dict | str | None = option(
        None, "the data set's metainfo, or the type of a registered data set, from which the classes follow"
    )
    ignore_index: int | None = option(
        None, 'label of pixels without annotation; by default 255, or 65535 where 255 is a class'
    )
    in_index: Sequence[int] | None = option(None, 'the stock option; all features in their order')

    slot: ClassVar[str] = 'decode_head'


@dataclass(kw_only=True)
class DetectorOptions(Options):
    """The classes and tests of a head in MMDetection."""

    num_things_classes: int | None = option(
        None, 'number of thing classes, which come first; better left to `metainfo`'
    )
    num_stuff_classes: int | None = option(None, 'number of stuff classes; better left to `metainfo`')
    metainfo: dict | str | None = option(
        None, "the data set's metainfo, or the type of a registered data set, from which the classes follow"
    )
    test_cfg: dict | None = option(None, "read by the fusion head, see there; the model's `test_cfg` is the same")

    slot: ClassVar[str] = 'panoptic_head'
    test_options: ClassVar[Table] = DETECTOR_OPTIONS


@dataclass(kw_only=True)
class PixelDecoderOptions(Options):
    """Backbone and pixel decoder."""

    in_channels: Sequence[int] = option((256, 512, 1024, 2048), "channels of the backbone's features, fine to coarse")
    feat_channels: int = option(256, 'channels of the pixel decoder')
    out_channels: int = option(256, 'channels of the mask features')
    pixel_decoder: dict | None = option(
        None, 'options of a pixel decoder, the stock ones or ours; `type` takes another, or any registered neck'
    )
    activation_checkpointing: str = option(
        'norms',
        "'none', 'norms', 'ffn' or 'full': what pixel decoder and transformer decoder recompute in the backward pass "
        'instead of keeping it; for the backbone there is `with_cp=True`',
    )
    init_cfg: dict | None = option(None, "MMEngine's initialisation of the whole head")

    stock: ClassVar[Table] = {'checkpointing': Old('activation_checkpointing')}


@dataclass(kw_only=True)
class TransformerDecoderOptions(Options):
    """The transformer decoder."""

    transformer_decoder: dict | None = option(
        None, "options of the method's transformer decoder, the stock ones or ours; `type` takes another registered one"
    )
    enforce_decoder_input_project: bool = option(
        False,
        "project the memories even where the channels agree; MMDetection's MaskFormer does not where the pixel decoder "
        'has an encoder, the official code does',
    )


@dataclass(kw_only=True)
class NetworkOptions(TransformerDecoderOptions, PixelDecoderOptions):
    """Network and losses of Mask2Former, in every stack."""

    num_queries: int = option(100, 'queries')
    num_transformer_feat_level: int = option(3, 'memories that the transformer decoder attends to')
    deep_supervision: bool = option(True, 'losses for the predictions before the last one, too')
    loss_cls: dict | None = option(
        None, 'cross-entropy of the classes and no-object; `class_weight` follows from `no_object_weight` (0.1)'
    )
    loss_mask: dict | None = option(None, 'loss of mask pixels: a `CrossEntropyLoss` or a `FocalLoss`')
    loss_dice: dict | None = option(None, 'dice loss of masks')
    train_cfg: dict | None = option(None, 'points at which masks are compared, and the weights of the assigner')
    criterion: dict | None = option(None, 'further options of the losses, see the table')

    network_arguments: ClassVar[tuple[str, ...]] = ()  # names of options that the network takes as they are
    stock: ClassVar[Table] = {
        'strides': ANY,
        **positional_encoding('SinePositionalEncoding'),
        'loss_bbox': Only(None),  # options of heads with boxes
        'loss_iou': Only(None),
        'predict_masks': Only(True),
    }


@dataclass(kw_only=True)
class BoxOptions(NetworkOptions):
    """Network and losses of Mask DINO."""

    num_transformer_feat_level: int = option(4, 'memories that the transformer decoder attends to')
    loss_cls: dict | None = option(
        None,
        'a `FocalLoss` of the classes, or a `CrossEntropyLoss` of these and no-object (published label-map models)',
    )
    loss_bbox: dict | None = option(None, '`L1Loss` of the boxes')
    loss_iou: dict | None = option(None, '`GIoULoss` of the boxes')
    two_stage: bool = option(
        True,
        'queries start as the tokens of the encoder with the highest class logits, which are supervised, too; '
        'otherwise contents and boxes are learned (published label-map models)',
    )
    learned_content: bool = option(
        False, 'with `two_stage`, only the boxes come from the tokens (official `LEARN_TGT`)'
    )
    boxes_from_masks: str = option(
        'mask2box',
        "with `two_stage`, where boxes start: 'no', at the tokens' own; 'bitmask' or 'mask2box', around their masks",
    )
    denoising_queries: int = option(100, 'budget of noised objects in training; 0 for none')
    noise_scale: float = option(0.4, 'of the noised objects')
    initial_prediction: bool = option(True, 'supervise the queries before the first layer (official `INITIAL_PRED`)')

    network_arguments: ClassVar[tuple[str, ...]] = (
        'two_stage',
        'learned_content',
        'boxes_from_masks',
        'denoising_queries',
        'noise_scale',
        'initial_prediction',
    )


@dataclass(kw_only=True)
class Mask2FormerHeadOptions(NetworkOptions, DetectorOptions):
    """Options of ``Mask2FormerHead``."""


@dataclass(kw_only=True)
class MaskFormerHeadOptions(Mask2FormerHeadOptions):
    """Options of ``MaskFormerHead``."""

    num_transformer_feat_level: int = option(1, 'memories that the transformer decoder attends to')


@dataclass(kw_only=True)
class MaskDINOHeadOptions(BoxOptions, DetectorOptions):
    """Options of ``MaskDINOHead``."""

    predict_masks: bool = option(
        True,
        'False for a detector without the parts that make masks; `loss_mask` and `loss_dice` stay at their defaults',
    )


@dataclass(kw_only=True)
class Mask2FormerTrackHeadOptions(Mask2FormerHeadOptions):
    """Options of ``Mask2FormerTrackHead``."""

    num_classes: int | None = option(None, 'the stock option: number of thing classes; better left to `metainfo`')
    num_frames: int | None = option(None, 'the stock option: frames of a clip, as the data gives them; may be left out')
    last_frame_labels: bool = option(
        True,
        "a query whose object the clip's last frame does not show learns no-object, and still the object's mask, as in "
        'the official code; False: it learns the class, as in MMDetection',
    )
    test_cfg: dict | None = option(None, "see the table of videos; the model's `test_cfg` is the same")

    slot: ClassVar[str] = 'track_head'
    test_options: ClassVar[Table] = VIDEO_OPTIONS
    stock: ClassVar[Table] = positional_encoding('SinePositionalEncoding3D')


@dataclass(kw_only=True)
class Mask2FormerSegHeadOptions(NetworkOptions, ClassOptions):
    """Options of ``Mask2FormerSegHead``."""

    temperature: float | None = option(
        TEMPERATURE, 'of classes with sigmoids, at which they compete in the label map; None for no competition'
    )

    stock: ClassVar[Table] = {'align_corners': Only(False)}


@dataclass(kw_only=True)
class MaskFormerSegHeadOptions(Mask2FormerSegHeadOptions):
    """Options of ``MaskFormerSegHead``."""

    num_transformer_feat_level: int = option(1, 'memories that the transformer decoder attends to')


@dataclass(kw_only=True)
class MaskDINOSegHeadOptions(BoxOptions, Mask2FormerSegHeadOptions):
    """Options of ``MaskDINOSegHead``."""


@dataclass(kw_only=True)
class PerPixelSegHeadOptions(PixelDecoderOptions, ClassOptions):
    """Options of ``PerPixelSegHead``."""

    stock: ClassVar[Table] = {'align_corners': Only(False)}


@dataclass(kw_only=True)
class PerPixelPlusSegHeadOptions(TransformerDecoderOptions, PerPixelSegHeadOptions):
    """Options of ``PerPixelPlusSegHead``."""


Given = TypeVar('Given', bound=Options)


def read_options(kind: type[Given], options: Mapping[str, Any]) -> Given:
    """The options of a head.

    Args:
        kind: the head's dataclass.
        options: as the config has them.

    Raises:
        ValueError: see ``translate``.
    """
    return kind(**translate(kind.slot, options, kind.table()))


def lists_options(kind: type[Options]) -> Callable[[Head], Head]:
    """A decorator of a head: ``inspect.signature`` and ``help`` show its options with defaults and meanings. The
    signature is that of its constructor, so that a subclass with another one has its own."""

    def decorate(head: Head) -> Head:
        lines = '\n'.join(
            textwrap.fill(f'{each.name}: {each.metadata["meaning"]}.', 100, subsequent_indent='    ')
            for each in fields(kind)
        )
        head.__doc__ = f'{inspect.cleandoc(head.__doc__ or "")}\n\nArgs:\n{textwrap.indent(lines, "    ")}\n'
        head.__dict__['__init__'].__signature__ = inspect.signature(kind.__init__)  # not on the class: see above
        return head

    return decorate
