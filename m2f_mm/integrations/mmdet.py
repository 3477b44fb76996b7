"""MMDetection: a head and a fusion head for the stock detectors, and a detector that adds what those refuse.

Shapes: B images, Q queries, C classes.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import torch
from mmdet.models.detectors import Mask2Former as StockMask2Former
from mmdet.structures import DetDataSample
from mmengine.config import ConfigDict
from mmengine.model import BaseModule
from mmengine.structures import PixelData
from torch import Tensor, nn

from m2f_mm.datasets.head_classes import ClassCounts, class_counts
from m2f_mm.models import MaskDINO, MaskTransformer
from m2f_mm.postprocess import (
    PanopticRules,
    Sizes,
    box_detection,
    class_scores,
    instance_segmentation,
    panoptic_segmentation,
    semantic_segmentation,
)
from m2f_mm.postprocess.tiles import logits_type, tiles
from m2f_mm.registry import MODELS
from m2f_mm.structures import MaskPredictions, SegTargets

from .checked_model import CheckedModel, check_predictions, explained, prepare
from .head_adapter import HeadAdapter, height_width, stock_outputs
from .head_defaults import MASK2FORMER, MASK_DINO, MASKFORMER, HeadDefaults
from .head_options import (
    Mask2FormerHeadOptions,
    MaskDINOHeadOptions,
    MaskFormerHeadOptions,
    lists_options,
    read_options,
)
from .inference_options import DETECTOR_OPTIONS, check_temperature, joined_cfg, read_test_cfg
from .mmdet_datasets import check_stock_types
from .mmdet_samples import encode_segments, instance_result, sample_sizes, semantic_result, to_targets
from .parts import Parts, build_parts
from .stock_tools import tell_stock_tools


def prepare_mmdet() -> None:
    """What MMDetection's tools and data sets need; called when a head or a fusion head is built, that is, before
    loaders are."""
    tell_stock_tools()
    check_stock_types()


class DetectorAdapter(HeadAdapter):
    """Losses and predictions of a head in a slot of a detector."""

    is_thing: list[bool]
    stock_forward: ClassVar[dict[str, Any]] = {}  # of the network's forward pass, for what a stock head gives

    def __call__(self, x: Sequence[Tensor], *data_samples: Sequence[DetDataSample], **options: Any) -> MaskPredictions:
        """Features fine to coarse to ``MaskPredictions``; the stock interface's samples are not needed."""
        return super().__call__(x, **options)

    def forward(
        self,
        x: Sequence[Tensor],
        *data_samples: Sequence[DetDataSample],
        targets: Sequence[SegTargets] | None = None,
        **options: Any,
    ) -> MaskPredictions | tuple[list[Tensor], list[Tensor]]:
        """The same; but with samples the stock head's class and mask logits of every layer, see ``stock_outputs``, for
        the stock detectors call ``forward`` with them where ``mode='tensor'``. Where a network has targets there are
        samples, which mypy does not accept."""
        if not data_samples:
            return super().forward(x, targets, **options)
        return self.stock_form(*stock_outputs(super().forward(x, targets, **options, **self.stock_forward)))

    @staticmethod
    def stock_form(*parts: list[Tensor]) -> tuple:
        """The stock head's form of class logits, mask logits and boxes, lists with an entry for each layer."""
        return parts

    def loss(self, x: Sequence[Tensor], batch_data_samples: Sequence[DetDataSample]) -> dict[str, Tensor]:
        """Losses by name, see ``SetCriterion``."""
        return self.losses(x, to_targets(batch_data_samples, self.is_thing, x[0].device, self.predicts_boxes))

    def predict(self, x: Sequence[Tensor], batch_data_samples: Sequence[DetDataSample]) -> tuple[Tensor, 'LazyMasks']:
        """Class logits (B, Q, C + 1), or C of sigmoids, and lazy masks in the place of the stock head's mask logits:
        the stock fusion head can iterate over them, ours reads all predictions of them."""
        predictions = self(x)
        padded = batch_data_samples[0].batch_input_shape
        return predictions.class_logits[-1], LazyMasks(predictions, padded, self.is_thing, self)


def detector_parts(defaults: HeadDefaults, options: Mask2FormerHeadOptions | MaskDINOHeadOptions) -> Parts:
    """What a head in a slot of a detector is made of, see ``build_parts``; its ``test_cfg``, which the fusion head
    reads, is checked.

    Args:
        defaults: of the method.
        options: of the head.
    """
    test = read_test_cfg(options.test_cfg, options.test_options)
    prepare_mmdet()
    counts = class_counts(options.slot, options.metainfo, options.num_things_classes, options.num_stuff_classes)
    parts = build_parts(defaults, options, len(counts.is_thing))
    if 'temperature' in test:
        check_temperature('test_cfg', test.temperature, parts.network['no_object'])
    parts.attributes.update(
        is_thing=counts.is_thing,
        class_names=counts.names,
        class_ids=counts.class_ids,
        num_things_classes=counts.things,
        num_stuff_classes=counts.stuff,
    )
    return parts


@MODELS.register_module()
@lists_options(Mask2FormerHeadOptions)
class Mask2FormerHead(DetectorAdapter, MaskTransformer):  # type: ignore[misc]  # see DetectorAdapter.forward
    """Fills the ``panoptic_head`` slot of MMDetection's ``Mask2Former``; its options, and shorter ones."""

    stock_forward = dict(every_layer=True)

    def __init__(self, **options: Any):
        parts = detector_parts(MASK2FORMER, read_options(Mask2FormerHeadOptions, options))
        super().__init__(**parts.network)
        parts.attach(self)


@MODELS.register_module()
@lists_options(MaskFormerHeadOptions)
class MaskFormerHead(DetectorAdapter, MaskTransformer):  # type: ignore[misc]  # see DetectorAdapter.forward
    """Fills the ``panoptic_head`` slot of MMDetection's ``MaskFormer``; its options, and shorter ones.

    Unlike the stock head, and like the official one, it attends to padding as if it were image.
    """

    stock_forward = dict(every_layer=True)

    def __init__(self, **options: Any):
        parts = detector_parts(MASKFORMER, read_options(MaskFormerHeadOptions, options))
        super().__init__(**parts.network)
        parts.attach(self)

    @staticmethod
    def stock_form(*parts: list[Tensor]) -> tuple:
        """One tensor for each part, layers first."""
        return tuple(torch.stack(part) for part in parts)


@MODELS.register_module()
@lists_options(MaskDINOHeadOptions)
class MaskDINOHead(DetectorAdapter, MaskDINO):  # type: ignore[misc]  # see DetectorAdapter.forward
    """Fills the ``panoptic_head`` slot with Mask DINO, which gives boxes, too."""

    def __init__(self, **options: Any):
        parts = detector_parts(MASK_DINO, read_options(MaskDINOHeadOptions, options))
        super().__init__(**parts.network)
        parts.attach(self)


class LazyMasks:
    """All predictions of a batch in the place of its mask logits, which are computed where a fusion head reads them.

    Iterating gives the mask logits of image after image at the padded size, (Q, H, W), as the stock fusion head
    expects them.

    Args:
        predictions: of the batch.
        padded: height and width of the network's input.
        is_thing: for each class of the head; None where it is unknown.
        network: what has predicted them, if that is known; an error looks at its weights.
    """

    def __init__(
        self,
        predictions: MaskPredictions,
        padded: Sequence[int],
        is_thing: Sequence[bool] | None = None,
        network: nn.Module | None = None,
    ):
        self.predictions = predictions
        self.padded = height_width(padded)
        self.is_thing = is_thing
        self.network = network

    def __iter__(self) -> Iterator[Tensor]:
        whole = Sizes(self.padded, self.padded, self.padded)
        mask_features = self.predictions.mask_features
        assert mask_features is not None
        for embeds, features in zip(self.predictions.mask_embeds[-1], mask_features):
            masks = torch.empty(len(embeds), *self.padded, dtype=logits_type(features), device=features.device)
            for rows, queries, logits in tiles(embeds, features, whole):
                masks[queries, rows] = logits
            yield masks


@MODELS.register_module()
class MaskFormerFusionHead(BaseModule):
    """Fills the ``panoptic_fusion_head`` slot: lazy masks to results in MMDetection's forms, tile by tile.

    Args:
        num_things_classes, num_stuff_classes, metainfo: as for the head, whose classes are taken where nothing is
            said.
        test_cfg: see ``inference_options.DETECTOR_OPTIONS``, or ``docs/options.md``.
        loss_panoptic: the stock option; must be None.
    """

    def __init__(
        self,
        num_things_classes: int | None = None,
        num_stuff_classes: int | None = None,
        metainfo: dict | str | None = None,
        test_cfg: dict | None = None,
        loss_panoptic: None = None,
        init_cfg: dict | None = None,
    ):
        super().__init__(init_cfg)
        if loss_panoptic is not None:
            raise ValueError(f'panoptic_fusion_head: loss_panoptic={loss_panoptic!r} is not supported, only None')
        self.test_cfg = test_cfg
        prepare_mmdet()
        self.is_thing: list[bool] | None = None
        self.num_things_classes: int | None = None
        self.num_stuff_classes: int | None = None
        self.num_classes: int | None = None
        if any(value is not None for value in (num_things_classes, num_stuff_classes, metainfo)):
            self.take_classes(class_counts('panoptic_fusion_head', metainfo, num_things_classes, num_stuff_classes))

    @property
    def test_cfg(self) -> ConfigDict:
        """All options, those that are not given with their defaults; assigned options are checked."""
        return self._test_cfg

    @test_cfg.setter
    def test_cfg(self, cfg: Mapping[str, Any] | None) -> None:
        self._test_cfg = read_test_cfg(cfg, DETECTOR_OPTIONS)

    def take_classes(self, counts: ClassCounts) -> None:
        """Those of the head, where the options do not say any."""
        self.is_thing = counts.is_thing
        self.class_names = counts.names
        self.num_things_classes = counts.things
        self.num_stuff_classes = counts.stuff
        self.num_classes = len(counts.is_thing)
        self.register_buffer('things', torch.tensor(counts.is_thing), persistent=False)

    @property
    def with_loss(self) -> bool:
        """Whether there is something to train, which the stock interface asks for."""
        return False

    def loss(self, **kwargs) -> dict:
        """There is nothing to train."""
        return {}

    def check(self, predicts_masks: bool, predicts_boxes: bool) -> None:
        """Can a head give what ``test_cfg`` asks for?

        Raises:
            ValueError: it cannot; says which option to change.
        """
        options = self.test_cfg
        results = {key: options[key] for key in ('panoptic_on', 'semantic_on', 'instance_on')}
        if not predicts_masks and list(results.values()) != [False, False, True]:
            raise ValueError(
                'test_cfg has '
                + ', '.join(f'{key}={value}' for key, value in results.items())
                + ', but the head has predict_masks=False: set panoptic_on=False, semantic_on=False, '
                'instance_on=True'
            )
        if options.instance_on and not predicts_boxes and options.instance_masks is None:
            raise ValueError(
                "test_cfg: instance_masks=None is for heads that predict boxes; take 'rle' for masks in little memory"
            )

    @torch.no_grad()
    def predict(
        self,
        mask_cls_results: Tensor,
        mask_pred_results: LazyMasks | Tensor,
        batch_data_samples: Sequence[DetDataSample],
        rescale: bool = False,
    ) -> list[dict]:
        """
        Args:
            mask_cls_results: (B, Q, C + 1), or C of sigmoids; read only beside mask logits.
            mask_pred_results: from one of our heads ``LazyMasks``, which stand in the stock interface's place of mask
                logits and hold all predictions of the head, class logits and boxes, too; from a stock head mask logits
                (B, Q, H, W) at the padded size.
            batch_data_samples: their sizes are read.
            rescale: results at the size of the file instead of the network's input.

        Returns:
            Per image a dict with ``pan_results``, ``ins_results`` and ``sem_results``, those that are switched on.

        Raises:
            FloatingPointError: predictions are not finite.
        """
        if isinstance(mask_pred_results, Tensor):
            mask_pred_results = lazy_masks_from_logits(mask_cls_results, mask_pred_results)
        predictions, padded = mask_pred_results.predictions, mask_pred_results.padded
        if self.is_thing is None:
            if mask_pred_results.is_thing is None:
                raise ValueError(
                    'panoptic_fusion_head does not know its classes, and a head of MMDetection does not '
                    'tell them: give it metainfo (the one of the data set, or its type) or '
                    'num_things_classes and num_stuff_classes'
                )
            self.take_classes(ClassCounts(list(mask_pred_results.is_thing)))
            self.to(predictions.device)
        self.check(predictions.mask_features is not None, predictions.boxes is not None)
        with explained(mask_pred_results.network or self):
            results = [
                self._results(predictions, b, sample_sizes(sample, padded, rescale))
                for b, sample in enumerate(batch_data_samples)
            ]
            options = self.test_cfg
            if options.semantic_on and not options.panoptic_on and not (options.instance_on and options.instance_masks):
                check_predictions(predictions)  # the others have done so on their way
        return results

    def _results(self, predictions: MaskPredictions, b: int, sizes: Sizes) -> dict:
        options, results = self.test_cfg, {}
        assert self.is_thing is not None  # taken from the head by now
        num_classes = len(self.is_thing)
        class_logits = predictions.class_logits[-1][b].float()
        classes = class_scores(class_logits.shape[-1], num_classes, options.temperature)
        selection = dict(max_per_image=options.max_per_image, is_thing=self.things, classes=classes)
        boxes = None if predictions.boxes is None else predictions.boxes[-1][b]
        boxes_alone = predictions.mask_features is None or options.instance_masks is None
        if options.instance_on and boxes_alone:
            assert boxes is not None  # otherwise ``check`` has raised
            results['ins_results'] = instance_result(
                box_detection(class_logits, boxes, sizes, **selection), sizes, options.score_thr
            )
        if predictions.mask_features is None:
            return results
        lazy_masks = class_logits, predictions.mask_embeds[-1][b], predictions.mask_features[b], sizes
        if options.panoptic_on:
            segment_map, segments = panoptic_segmentation(
                *lazy_masks,
                PanopticRules(
                    self.is_thing, options.object_mask_thr, options.iou_thr, options.filter_low_score, classes
                ),
                partial(encode_segments, num_classes=num_classes),
            )
            ids = encode_segments(segments, num_classes)[1:]
            scores = {number: segment.score for number, segment in zip(ids, segments)}
            results['pan_results'] = PixelData(sem_seg=segment_map[None], metainfo=dict(scores=scores))
        if options.instance_on and not boxes_alone:
            instances = instance_segmentation(
                *lazy_masks,
                **selection,
                mask_form=options.instance_masks,
                boxes=boxes,
                mask_quality_in_score=options.mask_quality_in_score,
            )
            results['ins_results'] = instance_result(instances, sizes, options.score_thr)
        if options.semantic_on:
            labels = semantic_segmentation(
                *lazy_masks, resize_masks=options.panoptic_on or options.instance_on, classes=classes
            )
            results['sem_results'] = semantic_result(labels)
        return results


def lazy_masks_from_logits(class_logits: Tensor, masks: Tensor) -> LazyMasks:
    """Masks that exist already, (B, Q, H, W), as lazy ones: each query picks its own channel."""
    picks = torch.eye(masks.shape[1], device=masks.device, dtype=masks.dtype).expand(len(masks), -1, -1)
    return LazyMasks(MaskPredictions.from_lists([class_logits], [picks], masks[:, None]), masks.shape[-2:])


@MODELS.register_module(name=['Mask2Former', 'MaskFormer', 'MaskDINO'])
class Mask2Former(CheckedModel, StockMask2Former):
    """MMDetection's detector without its refusals: any subset of panoptic, instance and semantic results in one pass.
    It is the same for every head, so it is registered under all of their names.

    The fusion head may be left out: it follows from the head. Official weights, and Hugging Face's, load
    under their own names.
    """

    def __init__(
        self,
        backbone: dict,
        panoptic_head: dict,
        panoptic_fusion_head: dict | None = None,
        neck: dict | None = None,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ):
        panoptic_head = ConfigDict(panoptic_head)
        panoptic_fusion_head = ConfigDict(panoptic_fusion_head or dict(type='m2f_mm.MaskFormerFusionHead'))
        parts = dict(panoptic_head=panoptic_head, panoptic_fusion_head=panoptic_fusion_head)
        train_cfg, test_cfg = (
            joined_cfg(name, dict(model=own, **{where: part.pop(name, None) for where, part in parts.items()}))
            for name, own in (('train_cfg', train_cfg), ('test_cfg', test_cfg))
        )
        super().__init__(
            backbone=backbone,
            neck=neck,
            **parts,
            train_cfg=train_cfg,
            test_cfg=test_cfg or ConfigDict(),
            data_preprocessor=data_preprocessor,
            init_cfg=init_cfg,
        )
        prepare(self)
        self._check_results()

    def _check_results(self) -> None:
        """Raise the error for results that this head and fusion head cannot give, before a training."""
        head, fusion_head = self.panoptic_head, self.panoptic_fusion_head
        if isinstance(fusion_head, MaskFormerFusionHead):
            if fusion_head.is_thing is None:
                fusion_head.take_classes(
                    ClassCounts(
                        getattr(head, 'is_thing', None)
                        or [True] * head.num_things_classes + [False] * head.num_stuff_classes
                    )
                )
            fusion_head.check(getattr(head, 'predicts_masks', True), getattr(head, 'predicts_boxes', False))
        elif getattr(head, 'predicts_boxes', False):
            raise ValueError(
                f'panoptic_fusion_head is a {type(fusion_head).__name__}, which reads neither boxes nor '
                'classes of sigmoids: set panoptic_fusion_head=None, and the one that fits is taken'
            )

    def add_pred_to_datasample(
        self, data_samples: Sequence[DetDataSample], results_list: Sequence[dict]
    ) -> Sequence[DetDataSample]:
        """Results under MMDetection's names: ``pred_panoptic_seg``, ``pred_instances``, ``pred_sem_seg``."""
        for sample, results in zip(data_samples, results_list):
            if 'sem_results' in results:
                sample.pred_sem_seg = results.pop('sem_results')
        return super().add_pred_to_datasample(data_samples, results_list)
