"""MMSegmentation: a decode head for the stock segmentor, a segmentor that makes only the label map, and TTA.

Shapes: B images, C classes, H x W the size of the input or, after post-processing, of the file.
"""

from collections.abc import Callable, Sequence

import torch
from mmengine.model import BaseTTAModel
from mmengine.structures import PixelData
from mmseg.models.segmentors import EncoderDecoder as StockEncoderDecoder
from mmseg.structures import SegDataSample
from torch import Tensor

from m2f_mm.checkpoints import translate
from m2f_mm.datasets.label_maps import IGNORE_16_BITS, default_ignore_index
from m2f_mm.deprecation import rename_option
from m2f_mm.models import MaskDINO, MaskTransformer
from m2f_mm.postprocess import Sizes, class_scores, semantic_scores, semantic_segmentation
from m2f_mm.registry import MODELS
from m2f_mm.structures import Expendable, MaskPredictions, SegTargets

from .checked_model import CheckedModel, check_predictions, explained, freeze_stages
from .heads import ConfiguredHead, stock_outputs
from .options import MASK_DINO, MASKFORMER, SEGMENTOR_OPTIONS, class_counts, read_test_cfg, unknown_option


def check_stock_options(align_corners: bool, in_index: Sequence[int] | None, num_features: int) -> None:
    """Two options of MMSegmentation's heads that have one value here."""
    if align_corners:
        raise ValueError('decode_head: align_corners=True is not supported, only False')
    if in_index is not None and list(in_index) != list(range(num_features)):
        raise ValueError(f'decode_head: in_index={in_index!r} is not supported, only {list(range(num_features))}')


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


class SegmentorHead(ConfiguredHead):
    """What every head has that fills the ``decode_head`` slot of MMSegmentation's ``EncoderDecoder``.

    Args:
        num_classes: C; better left to ``metainfo``.
        metainfo: the data set's metainfo, or the type of a registered data set.
        ignore_index: label of pixels without annotation; by default 255, or 65535 where 255 is a class.
        align_corners: the stock option; only False.
        in_index: the stock option; only all features in their order.
        temperature: of classes with sigmoids, at which they compete; None for no competition.
        **options: those of ``ConfiguredHead``: backbone channels, pixel decoder, transformer decoder, losses, points.
    """

    def __init__(
        self,
        num_classes: int | None = None,
        metainfo: dict | str | None = None,
        ignore_index: int | None = None,
        align_corners: bool = False,
        in_index: Sequence[int] | None = None,
        temperature: float | None = 0.06,
        **options,
    ):
        check_stock_options(align_corners, in_index, len(options.get('in_channels', range(4))))
        rename_option('decode_head', options, 'checkpointing', 'activation_checkpointing')
        counts = class_counts('decode_head', metainfo, num_classes=num_classes)
        if not options.get('predict_masks', True):
            raise ValueError('decode_head: predict_masks=False is for detectors; a label map is made of masks')
        super().__init__('decode_head', counts, **options)
        self.class_names = counts.names
        self.align_corners = align_corners
        self.ignore_index = ignored_label(self.num_classes, ignore_index)
        self.classes = class_scores(self.cls_embed.out_features, self.num_classes, temperature)
        self.out_channels = self.num_classes  # what the segmentor reads: channels of the scores

    def loss(
        self, x: Sequence[Tensor], batch_data_samples: Sequence[SegDataSample], train_cfg: dict | None = None
    ) -> dict[str, Tensor]:
        """Losses by name, see ``SetCriterion``."""
        targets = [semantic_targets(sample, self.ignore_index, x[0].device) for sample in batch_data_samples]
        return self.losses(x, targets)

    def predict(self, x: Sequence[Tensor], batch_img_metas: Sequence[dict], test_cfg: dict | None = None) -> Tensor:
        """Class scores (B, C, H, W) at the size of the network's input, a crop of the image in slide inference."""
        read_test_cfg(test_cfg, SEGMENTOR_OPTIONS)
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
class Mask2FormerSegHead(SegmentorHead, MaskTransformer):
    """Fills the ``decode_head`` slot of MMSegmentation's ``EncoderDecoder``; needs no MMDetection.

    The options are those of ``SegmentorHead`` and ``ConfiguredHead``.
    """


@MODELS.register_module()
class MaskFormerSegHead(Mask2FormerSegHead):
    """Fills the ``decode_head`` slot with MaskFormer; the options are those of ``Mask2FormerSegHead``.

    Unlike the stock head, and like the official one, it attends to padding as if it were image.
    """

    method = MASKFORMER


@MODELS.register_module()
class MaskDINOSegHead(SegmentorHead, MaskDINO):
    """Fills the ``decode_head`` slot with Mask DINO.

    The options are those of ``SegmentorHead``, ``ConfiguredHead`` and the network ``MaskDINO``. The published models
    have a ``CrossEntropyLoss`` for ``loss_cls`` and ``two_stage=False``.
    """

    method = MASK_DINO


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
        size = tuple(meta.get(key, ()))[:2]
        if size and all(-(-length // 4) == seen for length, seen in zip(size, finest.shape[-2:])):
            return size
    return tuple(4 * length for length in finest.shape[-2:])


class Apart:
    """For a segmentor of MMSegmentation: what it lacks for our heads.

    Images of different sizes in a batch are predicted one by one, each as if it were alone: padding is attended to, so
    a common size would change the results. MMSegmentation's preprocessor refuses them.
    """

    def test_step(self, data: dict) -> list[SegDataSample]:
        """Predictions of a batch from the data loader or an inferencer."""
        return self._in_parts(data, super().test_step)

    def val_step(self, data: dict) -> list[SegDataSample]:
        """Predictions of a batch from the data loader."""
        return self._in_parts(data, super().val_step)

    @staticmethod
    def _in_parts(data: dict, step: Callable[[dict], list[SegDataSample]]) -> list[SegDataSample]:
        inputs = data['inputs']
        if len({tuple(image.shape) for image in inputs}) == 1:
            return step(data)
        return [
            sample
            for index in range(len(inputs))
            for sample in step({key: value[index : index + 1] for key, value in data.items()})
        ]

    def _forward(self, inputs: Tensor, data_samples: Sequence[SegDataSample] | None = None) -> tuple:
        """Class and mask logits of every layer, as MMDetection's heads give them; of other heads what they give."""
        results = super()._forward(inputs, data_samples)
        return stock_outputs(results) if isinstance(results, MaskPredictions) else results


class EncoderDecoder(Apart, StockEncoderDecoder):
    """MMSegmentation's segmentor for ``m2f_mm.dropin``, see ``Apart`` and ``freeze_stages``."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        freeze_stages(self.backbone)


@MODELS.register_module()
class MaskSegmentor(Apart, CheckedModel, StockEncoderDecoder):
    """``EncoderDecoder`` that never builds the (C, H, W) map where only the label map is wanted.

    Official weights, and Hugging Face's of Mask2Former, load under their own names. Images of different sizes in a
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

    def __init__(
        self, *args, keep_logits: bool = False, train_cfg: dict | None = None, test_cfg: dict | None = None, **kwargs
    ):
        for key, value in (train_cfg or {}).items():
            raise unknown_option('train_cfg of the segmentor', key, value, ['decode_head.train_cfg'])
        options = read_test_cfg(test_cfg, SEGMENTOR_OPTIONS)
        if options.mode == 'slide':
            for key in ('crop_size', 'stride'):
                if options[key] is None:
                    raise ValueError(f"test_cfg: mode='slide' needs {key}=(height, width)")
            if any(step > length for step, length in zip(options.stride, options.crop_size)):
                raise ValueError(
                    f'test_cfg: stride={options.stride} leaves gaps between crops of crop_size={options.crop_size}'
                )
        super().__init__(*args, train_cfg=train_cfg, test_cfg=options, **kwargs)
        self.keep_logits = keep_logits

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], *args) -> None:
        translate(state_dict, self, 'decode_head')
        super()._load_from_state_dict(state_dict, *args)

    def predict(self, inputs: Tensor, data_samples: list[SegDataSample] | None = None) -> list[SegDataSample]:
        """``pred_sem_seg`` at the size of the file, and ``seg_logits`` where they are kept."""
        if not isinstance(self.decode_head, SegmentorHead):  # a per-pixel baseline has the whole map anyway
            results = super().predict(inputs, data_samples)
            for sample in () if self.keep_logits or data_samples is None else results:
                del sample.seg_logits
            return results
        if self.keep_logits or data_samples is None or self.test_cfg.get('mode', 'whole') != 'whole':
            return super().predict(inputs, data_samples)
        if inputs.device.type == 'cpu':  # oneDNN copies maps in rows into this layout for every 1x1 convolution
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        predictions = self.decode_head(Expendable(self.extract_feat(inputs)))
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
    padded = tuple(inputs.shape[-2:])
    left, right, top, bottom = sample.get('img_padding_size', sample.get('padding_size', (0, 0, 0, 0)))
    if left or top:
        raise ValueError(
            f'{sample.get("img_path", "an image")} is padded by {left} on the left and {top} at the top; '
            'only padding to the right and bottom is supported'
        )
    return Sizes(padded, (padded[0] - bottom, padded[1] - right), tuple(sample.ori_shape[:2]))


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
        kept = getattr(self.module, 'keep_logits', None)
        if kept is None:
            return super().test_step(data)
        self.module.keep_logits = True  # here, for the module may be exchanged after this model was built
        try:
            return super().test_step(data)
        finally:
            self.module.keep_logits = kept

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
