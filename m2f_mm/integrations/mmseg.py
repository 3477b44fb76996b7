"""MMSegmentation: a decode head for the stock segmentor, a segmentor that makes only the label map, and TTA.

Shapes: B images, C classes, H x W the size of the input or, after post-processing, of the file.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from mmengine.config import ConfigDict
from mmengine.model import BaseTTAModel
from mmengine.structures import PixelData
from mmseg.models.segmentors import EncoderDecoder as StockEncoderDecoder
from mmseg.structures import SegDataSample
from torch import Tensor

from m2f_mm.datasets.head_classes import class_counts
from m2f_mm.datasets.label_maps import IGNORE_16_BITS, default_ignore_index
from m2f_mm.models import MaskDINO, MaskTransformer
from m2f_mm.postprocess import ClassScores, Sizes, class_scores, semantic_scores, semantic_segmentation
from m2f_mm.registry import MODELS
from m2f_mm.structures import MaskPredictions, SegTargets

from .checked_model import CheckedModel, check_predictions, explained, freeze_stages, register_checks
from .head_adapter import HeadAdapter, height_width, stock_outputs
from .head_defaults import MASK2FORMER, MASK_DINO, MASKFORMER, HeadDefaults
from .head_options import (
    ClassOptions,
    Mask2FormerSegHeadOptions,
    MaskDINOSegHeadOptions,
    MaskFormerSegHeadOptions,
    lists_options,
    read_options,
)
from .inference_options import SEGMENTOR_OPTIONS, check_temperature, read_test_cfg
from .option_tables import unknown_option
from .parts import Parts, build_parts


def ignored_label(num_classes: int, ignore_index: int | None) -> int:
    """The ``ignore_index`` of a head, ``default_ignore_index`` unless it is given.

    Raises:
        ValueError: it is a class or no value of a label map, or there is one class alone, which would be every pixel.
    """
    if num_classes < 2:
        raise ValueError(
            f'decode_head has {num_classes} class: a label map gives every pixel a class, so each would '
            "be it. Add one for the rest, metainfo=dict(classes=('background', ...)) in model and data, "
            'with pixels of 0 for background and 1 for the class'
        )
    if ignore_index is None:
        return default_ignore_index(num_classes)
    if not 0 <= ignore_index <= IGNORE_16_BITS:
        raise ValueError(
            f'decode_head: ignore_index={ignore_index} is no value of a label map, which has 0 to '
            f'{IGNORE_16_BITS}; choose one that no class has, such as 255'
        )
    if ignore_index < num_classes:
        raise ValueError(
            f'decode_head: ignore_index={ignore_index} is one of the {num_classes} classes, 0 to '
            f'{num_classes - 1}; choose a value that no class has; data sets, metric and padding follow'
        )
    return ignore_index


class SegmentorClasses(NamedTuple):
    """What a head in a segmentor tells of its classes.

    Args:
        class_names: where they are known.
        ignore_index: label of pixels without annotation.
        out_channels: number of classes.
    """

    class_names: tuple[str, ...] | None
    ignore_index: int
    out_channels: int


def segmentor_classes(options: ClassOptions, num_features: int) -> SegmentorClasses:
    """The classes of a head in a segmentor.

    Args:
        options: of the head.
        num_features: of the backbone.

    Raises:
        ValueError: they are unknown or impossible, or ``in_index`` is not all features in their order.
    """
    indices = list(range(num_features))
    if options.in_index is not None and list(options.in_index) != indices:
        raise ValueError(f'{options.slot}: in_index={options.in_index!r} is not supported, only {indices}')
    counts = class_counts(options.slot, options.metainfo, num_classes=options.num_classes)
    num_classes = len(counts.is_thing)
    return SegmentorClasses(counts.names, ignored_label(num_classes, options.ignore_index), num_classes)


def segmentor_parts(defaults: HeadDefaults, options: Mask2FormerSegHeadOptions) -> Parts:
    """What a head in a segmentor is made of, see ``build_parts``.

    Args:
        defaults: of the method.
        options: of the head.
    """
    classes = segmentor_classes(options, len(options.in_channels))
    num_classes = classes.out_channels
    parts = build_parts(defaults, options, num_classes)
    no_object = parts.network['no_object']
    check_temperature(options.slot, options.temperature, no_object)
    scores = class_scores(num_classes + no_object, num_classes, options.temperature)
    parts.attributes.update(classes._asdict(), classes=scores)
    return parts


class SegmentorAdapter(HeadAdapter):
    """Losses and predictions of a head in the ``decode_head`` slot of MMSegmentation's ``EncoderDecoder``."""

    align_corners = False  # as the segmentor resizes
    ignore_index: int
    out_channels: int  # channels of the scores, for the segmentor
    classes: ClassScores
    checked_test_cfg: dict | None = None

    @staticmethod
    def outputs(predictions: MaskPredictions) -> tuple[list[Tensor], ...]:
        """Tensors in the form of MMDetection's heads, see ``stock_outputs``."""
        return stock_outputs(predictions)

    def loss(
        self, x: Sequence[Tensor], batch_data_samples: Sequence[SegDataSample], train_cfg: dict | None = None
    ) -> dict[str, Tensor]:
        """Losses by name, see ``SetCriterion``."""
        targets = [semantic_targets(sample, self.ignore_index, x[0].device) for sample in batch_data_samples]
        return self.losses(x, targets)

    def predict(self, x: Sequence[Tensor], batch_img_metas: Sequence[dict], test_cfg: dict | None = None) -> Tensor:
        """Class scores (B, C, H, W) at the size of the network's input, a crop of the image in slide inference."""
        if test_cfg is not self.checked_test_cfg:  # the stock segmentor's, which hands it over with every crop
            read_test_cfg(test_cfg, SEGMENTOR_OPTIONS)
            self.checked_test_cfg = test_cfg
        size = input_size(x[0], batch_img_metas[0])
        predictions = self(x)
        scores = torch.stack(
            [
                semantic_scores(
                    predictions.class_logits[-1][b].float(),
                    predictions.mask_embeds[-1][b],
                    predictions.mask_features[b],
                    Sizes(size, size, size),
                    classes=self.classes,
                )
                for b in range(len(predictions.mask_features))
            ]
        )
        with explained(self):
            check_predictions(predictions)
        return scores


@MODELS.register_module()
@lists_options(Mask2FormerSegHeadOptions)
class Mask2FormerSegHead(SegmentorAdapter, MaskTransformer):
    """Fills the ``decode_head`` slot of MMSegmentation's ``EncoderDecoder``; needs no MMDetection."""

    def __init__(self, **options: Any):
        parts = segmentor_parts(MASK2FORMER, read_options(Mask2FormerSegHeadOptions, options))
        super().__init__(**parts.network)
        parts.attach(self)


@MODELS.register_module()
@lists_options(MaskFormerSegHeadOptions)
class MaskFormerSegHead(SegmentorAdapter, MaskTransformer):
    """Fills the ``decode_head`` slot with MaskFormer.

    Unlike the stock head, and like the official one, it attends to padding as if it were image.
    """

    def __init__(self, **options: Any):
        parts = segmentor_parts(MASKFORMER, read_options(MaskFormerSegHeadOptions, options))
        super().__init__(**parts.network)
        parts.attach(self)


@MODELS.register_module()
@lists_options(MaskDINOSegHeadOptions)
class MaskDINOSegHead(SegmentorAdapter, MaskDINO):
    """Fills the ``decode_head`` slot with Mask DINO.

    The published models have a ``CrossEntropyLoss`` for ``loss_cls`` and ``two_stage=False``.
    """

    def __init__(self, **options: Any):
        parts = segmentor_parts(MASK_DINO, read_options(MaskDINOSegHeadOptions, options))
        super().__init__(**parts.network)
        parts.attach(self)


def semantic_targets(sample: SegDataSample, ignore_index: int, device: torch.device) -> SegTargets:
    """One mask for every class that is present; none for the ignored label."""
    semantic = sample.gt_sem_seg.data.to(device)  # (1, H, W)
    labels = semantic.unique()
    labels = labels[labels != ignore_index].long()
    name = sample.get('seg_map_path') or sample.get('img_path', '')
    return SegTargets(labels, semantic == labels[:, None, None], name=str(name))


def input_size(finest: Tensor, meta: dict) -> tuple[int, int]:
    """Size of the input that gave the stride-4 features.

    Slide inference puts the size of the crop into ``img_shape`` and leaves ``pad_shape`` to the whole image; otherwise
    ``pad_shape`` is the input and ``img_shape`` its part without padding. The features tell which of them it was.
    """
    for key in ('pad_shape', 'img_shape'):
        if key in meta:
            height, width = meta[key][:2]
            if (-(-height // 4), -(-width // 4)) == finest.shape[-2:]:
                return height, width
    return 4 * finest.shape[-2], 4 * finest.shape[-1]


class EncoderDecoder(StockEncoderDecoder):
    """MMSegmentation's segmentor with what it lacks for our heads; ``m2f_mm.dropin`` puts it under the stock name.

    Images of different sizes in a batch are predicted one by one, each as if it were alone: padding is attended to, so
    a common size would change the results. MMSegmentation's preprocessor refuses them. See also ``freeze_stages``.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        freeze_stages(self.backbone)

    def test_step(self, data: dict) -> list[SegDataSample]:
        """Predictions of a batch from the data loader or an inferencer."""
        return self._by_size(data, super().test_step)

    def val_step(self, data: dict) -> list[SegDataSample]:
        """Predictions of a batch from the data loader."""
        return self._by_size(data, super().val_step)

    @staticmethod
    def _by_size(data: dict, step: Callable[[dict], list[SegDataSample]]) -> list[SegDataSample]:
        inputs = data['inputs']
        if len({tuple(image.shape) for image in inputs}) == 1:
            return step(data)
        return [
            sample
            for index in range(len(inputs))
            for sample in step({key: value[index : index + 1] for key, value in data.items()})
        ]

    def _forward(self, inputs: Tensor, data_samples: Sequence[SegDataSample] | None = None) -> tuple:
        """The tensors that a head predicts, such as class and mask logits of every layer."""
        results = super()._forward(inputs, data_samples)
        return self.decode_head.outputs(results) if isinstance(results, MaskPredictions) else results


@MODELS.register_module()
class MaskSegmentor(CheckedModel, EncoderDecoder):
    """``EncoderDecoder`` that never builds the (C, H, W) map where only the label map is needed.

    Official weights, and Hugging Face's, load under their own names. Images of different sizes in a
    batch are predicted one by one.

    Args:
        keep_logits: deliver ``seg_logits`` too, as the stock segmentor does; TTA switches it on. Slide inference
            always needs the map.
        train_cfg: the stock option, without content: points and assigner are options of the head.
        test_cfg: ``mode``: 'whole' or 'slide', which needs ``crop_size`` and ``stride``.
        Others: as the stock segmentor.

    Raises:
        ValueError: ``train_cfg`` or ``test_cfg`` has an option that nothing reads.
    """

    def __init__(self, *args, keep_logits: bool = False, train_cfg: dict | None = None, **kwargs):
        for key, value in (train_cfg or {}).items():
            raise unknown_option('train_cfg of the segmentor', key, value, ['decode_head.train_cfg'])
        super().__init__(*args, train_cfg=train_cfg, **kwargs)
        register_checks(self)
        self.keep_logits = keep_logits

    @property
    def test_cfg(self) -> ConfigDict:
        """All options, those that are not given with their defaults; assigned options are checked."""
        return self._test_cfg

    @test_cfg.setter
    def test_cfg(self, cfg: Mapping[str, Any] | None) -> None:
        options = read_test_cfg(cfg, SEGMENTOR_OPTIONS)
        if options.mode == 'slide':
            for key in ('crop_size', 'stride'):
                if options[key] is None:
                    raise ValueError(f"test_cfg: mode='slide' needs {key}=(height, width)")
            if any(step > length for step, length in zip(options.stride, options.crop_size)):
                raise ValueError(
                    f'test_cfg: stride={options.stride} leaves gaps between crops of crop_size={options.crop_size}'
                )
        self._test_cfg = options

    def predict(self, inputs: Tensor, data_samples: list[SegDataSample] | None = None) -> list[SegDataSample]:
        """``pred_sem_seg`` at the size of the file, and ``seg_logits`` where they are kept."""
        if not isinstance(self.decode_head, SegmentorAdapter):  # a per-pixel baseline has the whole map anyway
            results = super().predict(inputs, data_samples)
            for sample in () if self.keep_logits or data_samples is None else results:
                del sample.seg_logits
            return results
        if self.keep_logits or data_samples is None or self.test_cfg.mode != 'whole':
            return super().predict(inputs, data_samples)
        if inputs.device.type == 'cpu':  # oneDNN copies maps in rows into this layout for every 1x1 convolution
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        predictions = self.decode_head(list(self.extract_feat(inputs)), release_feats=True)
        for b, sample in enumerate(data_samples):
            sizes = segmentor_sizes(inputs, sample)
            labels = semantic_segmentation(
                predictions.class_logits[-1][b].float(),
                predictions.mask_embeds[-1][b],
                predictions.mask_features[b],
                sizes,
                classes=self.decode_head.classes,
            )
            sample.set_data(dict(pred_sem_seg=PixelData(data=flip_back(labels[None], sample))))
        check_predictions(predictions)
        return data_samples


def segmentor_sizes(inputs: Tensor, sample: SegDataSample) -> Sizes:
    """Sizes of padded input, image and file; padding is to the right and bottom."""
    padded = height_width(inputs.shape[-2:])
    left, right, top, bottom = sample.get('img_padding_size', sample.get('padding_size', (0, 0, 0, 0)))
    if left or top:
        raise ValueError(
            f'{sample.get("img_path", "an image")} is padded by {left} on the left and {top} at the top; '
            'only padding to the right and bottom is supported'
        )
    return Sizes(padded, (padded[0] - bottom, padded[1] - right), height_width(sample.ori_shape))


def flip_back(maps: Tensor, sample: SegDataSample) -> Tensor:
    """Undo a test-time flip of maps (..., H, W)."""
    if not sample.get('flip', False):
        return maps
    return maps.flip(-1 if sample.flip_direction == 'horizontal' else -2)


@MODELS.register_module()
class SegTTAModel(BaseTTAModel):
    """Test-time augmentation as the official code has it: the mean of the class scores, which are no logits.

    MMSegmentation's own takes a softmax of each map first, which flattens scores that lie in 0..1.
    """

    def test_step(self, data: dict | Sequence) -> list[SegDataSample]:
        """Predictions of a batch, each image in all of its augmented versions."""
        keep_logits = getattr(self.module, 'keep_logits', None)
        if keep_logits is None:
            return super().test_step(data)
        self.module.keep_logits = True  # here, for the module may be exchanged after this model was built
        try:
            return super().test_step(data)
        finally:
            self.module.keep_logits = keep_logits

    def merge_preds(self, data_samples_list: list[list[SegDataSample]]) -> list[SegDataSample]:
        """One sample per image from the samples of its augmented versions."""
        merged = []
        for samples in data_samples_list:
            scores = sum(sample.seg_logits.data for sample in samples) / len(samples)
            result = samples[0]
            result.set_data(
                dict(seg_logits=PixelData(data=scores), pred_sem_seg=PixelData(data=scores.argmax(0, keepdim=True)))
            )
            merged.append(result)
        return merged
