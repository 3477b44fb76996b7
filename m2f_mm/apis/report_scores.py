"""Predictions against ground truth, image by image: numbers of each class, confusions, scores that are right or wrong.

Shapes: H x W the image, C classes, G objects or segments of the ground truth, P predicted ones.
"""

import contextlib
import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from pycocotools import mask as coco_masks
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from m2f_mm.datasets.id_map import IdRuns
from m2f_mm.evaluation.functional import (
    PanopticStats,
    mean_quality,
    pair_segments,
    panoptic_quality,
    require_equal_sizes,
    segment_iou,
    segment_overlap,
)

from .report_data import Truth
from .results import Result

SCORE_THR = 0.5  # instances and boxes above it count in confusions and in the quality of an image
BINS = 10  # of scores


class ClassTable(NamedTuple):
    """Numbers of each class, in per cent or counts.

    Args:
        head: names of the columns; the first is the class.
        rows: of each class that occurs, best first column of numbers last.
        means: name and value of what is compared with the log of the training.
        about: what the numbers mean.
    """

    head: list[str]
    rows: list[list]
    means: dict[str, float]
    about: str


class Scores:
    """What is counted over images.

    Attributes:
        confusion: int64 (C + 1, C + 1), ground truth by prediction. The last column counts what was missed, the last
            row what was predicted where nothing is. Of label maps (C, C) pixels.
        scores: of predictions.
        right: for each of them whether it is one.
        unit: what ``confusion`` counts.
    """

    unit = 'segments'

    def __init__(self, classes: Sequence[str]):
        self.classes = classes
        self.confusion = np.zeros((len(classes) + 1,) * 2, np.int64)
        self.scores: list[float] = []
        self.right: list[bool] = []

    def add(self, truth: Truth, predicted: Result) -> float:
        """Count an image.

        Returns:
            Its quality in 0..1; NaN where there is nothing.
        """
        raise NotImplementedError

    def table(self) -> ClassTable:
        """The numbers of each class."""
        raise NotImplementedError

    def _confuse(self, truth: np.ndarray, predicted: np.ndarray) -> None:
        np.add.at(self.confusion, (truth, predicted), 1)


class PanopticScores(Scores):
    """Panoptic quality. A segment is confused with one of another class where their IoU exceeds 1/2."""

    def __init__(self, classes: Sequence[str]):
        super().__init__(classes)
        self.stats = PanopticStats.zeros(len(classes))

    def add(self, truth: Truth, predicted: Result) -> float:
        """Count the segments of an image; its quality is the PQ of all classes together."""
        nothing = len(self.classes)
        gt_labels = np.array([segment.label for segment in truth.result], np.int64)
        segments = sorted(predicted.segments, key=lambda segment: segment.id)
        labels = np.array([segment.label for segment in segments], np.int64)
        require_equal_sizes(truth.result.panoptic.shape, predicted.panoptic.shape)
        gt_map, pred_map = truth.result.panoptic - 1, predicted.panoptic - 1
        overlap = segment_overlap(*IdRuns(gt_map).common_with(pred_map), len(gt_labels), len(labels))
        pairs = pair_segments(overlap, gt_labels, truth.crowd, labels, nothing)
        tp, fp, fn = len(pairs.gt), int(pairs.wrong.sum()), int(pairs.missed.sum())
        stats = PanopticStats(
            np.bincount(gt_labels[pairs.gt], pairs.iou, nothing),
            *(
                np.bincount(each, minlength=nothing)
                for each in (gt_labels[pairs.gt], labels[pairs.wrong], gt_labels[pairs.missed])
            ),
        )
        self.stats += stats
        self._confuse(gt_labels[pairs.gt], labels[pairs.pred])
        # What is left, of different classes: there is one partner at most, as the IoU exceeds 1/2.
        others = (segment_iou(overlap, truth.crowd) > 0.5) & pairs.missed[:, None] & pairs.wrong
        gt, pred = np.nonzero(others)
        self._confuse(gt_labels[gt], labels[pred])
        missed, wrong = pairs.missed & ~others.any(1), pairs.wrong & ~others.any(0)
        self._confuse(gt_labels[missed], np.full(missed.sum(), nothing))
        self._confuse(np.full(wrong.sum(), nothing), labels[wrong])
        for index, segment in enumerate(segments):
            matched = bool(np.isin(index, pairs.pred))
            if segment.score is not None and (matched or pairs.wrong[index]):
                self.scores.append(segment.score)
                self.right.append(matched)
        total = tp + (fp + fn) / 2
        return float(pairs.iou.sum() / total) if total else float('nan')

    def table(self) -> ClassTable:
        """PQ, SQ, RQ and counts."""
        quality, stats = panoptic_quality(self.stats), self.stats
        rows = [
            [name, *(float(100 * quality[key][label]) for key in ('PQ', 'SQ', 'RQ')), *map(int, counts)]
            for label, (name, counts) in enumerate(zip(self.classes, zip(stats.tp, stats.fp, stats.fn)))
            if not np.isnan(quality['PQ'][label])
        ]
        head = ['class', 'PQ', 'SQ', 'RQ', 'found', 'wrong', 'missed']
        about = (
            'Panoptic quality in per cent: PQ = SQ x RQ, the mean IoU of the segments that were found times their F1 '
            'score. A segment is found by one of its class whose IoU with it exceeds 1/2.'
        )
        return ClassTable(head, rows, mean_quality(quality, range(len(self.classes))), about)


class InstanceScores(Scores):
    """COCO's average precision, of masks or boxes.

    For confusions, scores and the quality of an image, a prediction belongs to the free object of its class whose IoU
    with it is the highest and at least 1/2, those of a higher score first; then, for confusions, to one of another
    class. Those of a score below ``SCORE_THR`` do not count in confusions and qualities.

    Args:
        classes: names.
        boxes: compare boxes instead of masks.
    """

    unit = 'objects'

    def __init__(self, classes: Sequence[str], boxes: bool = False):
        super().__init__(classes)
        self.boxes = boxes
        self.sizes: list[tuple[int, int]] = []  # of the images
        self.objects: list[dict] = []
        self.predictions: list[dict] = []

    def add(self, truth: Truth, predicted: Result) -> float:
        """Count the objects of an image; its quality is the PQ of all classes together."""
        self.sizes.append(truth.result.size)
        gt_labels = np.array([segment.label for segment in truth.result], np.int64)
        segments = sorted(predicted.segments, key=lambda segment: -segment.score)
        labels = np.array([segment.label for segment in segments], np.int64)
        scores = np.array([segment.score for segment in segments])
        gt, pred = (
            [self._record(segment, crowd) for segment, crowd in zip(each, crowds)]
            for each, crowds in ((truth.result.segments, truth.crowd), (segments, [False] * len(segments)))
        )
        self.objects += gt
        self.predictions += pred
        kind = 'bbox' if self.boxes else 'segmentation'
        iou = np.zeros((len(gt), len(pred)))
        if gt and pred:
            crowds = [each['iscrowd'] for each in gt]
            iou[:] = np.asarray(coco_masks.iou([each[kind] for each in pred], [each[kind] for each in gt], crowds)).T
        free = ~truth.crowd
        same = gt_labels[:, None] == labels
        forgiven = ((iou >= 0.5) & same & truth.crowd[:, None]).any(0)
        partner = pair_by_score(np.where(same & free[:, None], iou, 0))
        counted = ~forgiven | (partner >= 0)
        self.scores += scores[counted].tolist()
        self.right += (partner >= 0)[counted].tolist()
        shown = counted & (scores >= SCORE_THR)
        return self._count_shown(iou[:, shown], gt_labels, free, labels[shown], same[:, shown])

    def _count_shown(
        self, iou: np.ndarray, gt_labels: np.ndarray, free: np.ndarray, labels: np.ndarray, same: np.ndarray
    ) -> float:
        nothing = len(self.classes)
        partner = pair_by_score(np.where(same & free[:, None], iou, 0))
        found = partner >= 0
        self._confuse(gt_labels[partner[found]], labels[found])
        quality = float(iou[partner[found], np.flatnonzero(found)].sum())
        left = free.copy()
        left[partner[found]] = False
        total = found.sum() + ((~found).sum() + left.sum()) / 2
        other = pair_by_score(np.where(left[:, None] & ~found, iou, 0))
        confused = other >= 0
        self._confuse(gt_labels[other[confused]], labels[confused])
        left[other[confused]] = False
        wrong = ~found & ~confused
        self._confuse(gt_labels[left], np.full(left.sum(), nothing))
        self._confuse(np.full(wrong.sum(), nothing), labels[wrong])
        return quality / total if total else float('nan')

    def _record(self, segment, crowd: bool) -> dict:
        """In the form of pycocotools."""
        x0, y0, x1, y1 = segment.box
        box = [x0, y0, x1 - x0, y1 - y0]
        ids = dict(image_id=len(self.sizes), category_id=segment.label + 1)
        record = dict(ids, bbox=box, iscrowd=int(crowd), score=segment.score)
        if self.boxes:
            record['area'] = box[2] * box[3]
        else:
            record['segmentation'] = segment.rle
            record['area'] = float(coco_masks.area(segment.rle))
        return record

    def table(self) -> ClassTable:
        """AP, AP50, AP75, and the largest recall."""
        precision, recall = self._evaluate()  # (T, R, C), (T, C); -1 where there is no object
        objects = np.bincount([each['category_id'] - 1 for each in self.objects if not each['iscrowd']], minlength=1)
        rows, numbers = [], []
        for label, name in enumerate(self.classes):
            if (precision[:, :, label] < 0).all():
                continue
            parts = (precision[:, :, label], precision[0, :, label], precision[5, :, label], recall[:, label])
            numbers.append([100 * float(part.mean()) for part in parts])
            rows.append([name, *numbers[-1], int(objects[label])])
        means = np.mean(numbers, 0) if numbers else [float('nan')] * 4
        head = ['class', 'AP', 'AP50', 'AP75', 'AR', 'objects']
        what = 'boxes' if self.boxes else 'masks'
        about = (
            f'COCO’s average precision of {what} in per cent: the mean over IoU thresholds 0.5 to 0.95, at 0.5, at '
            '0.75; AR is the mean recall with at most 100 predictions of an image.'
        )
        return ClassTable(head, rows, dict(zip(head[1:5], map(float, means))), about)

    def _evaluate(self) -> tuple[np.ndarray, np.ndarray]:
        """Precision (10, 101, C) and recall (10, C) of all sizes."""
        with contextlib.redirect_stdout(io.StringIO()):
            gt, pred = (self._coco(each) for each in (self.objects, self.predictions))
            evaluation = COCOeval(gt, pred, 'bbox' if self.boxes else 'segm')
            evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ['all']
            evaluation.params.maxDets = [100, 1000]  # of MMDetection's recall and precision
            evaluation.evaluate()
            evaluation.accumulate()
        return evaluation.eval['precision'][..., 0, -1], evaluation.eval['recall'][..., 0, 0]

    def _coco(self, records: Sequence[dict]) -> COCO:
        coco = COCO()
        coco.dataset = dict(
            images=[dict(id=number, height=size[0], width=size[1]) for number, size in enumerate(self.sizes, 1)],
            categories=[dict(id=number) for number in range(1, len(self.classes) + 1)],
            annotations=[dict(record, id=number) for number, record in enumerate(records, 1)],
        )
        coco.createIndex()
        return coco


def pair_by_score(iou: np.ndarray) -> np.ndarray:
    """The object of each prediction: the free one of the highest IoU of at least 1/2; -1 where there is none, (P,).

    Args:
        iou: (G, P), predictions of a higher score first; 0 for pairs that cannot be.
    """
    iou, partner = iou.copy(), np.full(iou.shape[1], -1)
    for column in range(iou.shape[1]) if len(iou) else ():
        row = int(iou[:, column].argmax())
        if iou[row, column] >= 0.5:
            partner[column] = row
            iou[row] = 0
    return partner


class SemanticScores(Scores):
    """IoU of the pixels of each class. Label maps have no scores."""

    unit = 'pixels'

    def __init__(self, classes: Sequence[str]):
        super().__init__(classes)
        self.confusion = np.zeros((len(classes),) * 2, np.int64)

    def add(self, truth: Truth, predicted: Result) -> float:
        """Count the pixels of an image; its quality is the mean IoU of the classes that it shows or that were
        predicted."""
        number = len(self.classes)
        gt, pred = (each.semantic.astype(np.int64) for each in (truth.result, predicted))
        require_equal_sizes(gt.shape, pred.shape)
        counted = gt < number  # pixels without annotation have larger values
        pixels = np.bincount(gt[counted] * number + pred[counted], minlength=number**2).reshape(number, number)
        self.confusion += pixels
        iou = class_iou(pixels)[0]
        return float(np.nanmean(iou)) if not np.isnan(iou).all() else float('nan')

    def table(self) -> ClassTable:
        """IoU, recall, precision and the share of pixels."""
        iou, recall, precision = class_iou(self.confusion)
        pixels, total = self.confusion.sum(1), max(self.confusion.sum(), 1)
        rows = [
            [name, *(float(100 * each[label]) for each in (iou, recall, precision)), float(100 * pixels[label] / total)]
            for label, name in enumerate(self.classes)
            if not np.isnan(iou[label])
        ]
        means = dict(mIoU=_mean(iou), mAcc=_mean(recall), aAcc=float(100 * np.trace(self.confusion) / total))
        about = 'In per cent of pixels: IoU, recall (“accuracy” in MMSegmentation), precision, share of the class.'
        return ClassTable(['class', 'IoU', 'recall', 'precision', 'share of pixels'], rows, means, about)


def class_iou(confusion: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """IoU, recall and precision (C,) of a confusion (C, C) of pixels, in 0..1; NaN where there is no pixel."""
    right, truth, predicted = np.diag(confusion), confusion.sum(1), confusion.sum(0)
    with np.errstate(invalid='ignore', divide='ignore'):
        return right / (truth + predicted - right), right / truth, right / predicted


def _mean(values: np.ndarray) -> float:
    return float('nan') if np.isnan(values).all() else float(100 * np.nanmean(values))


def scores_for(task: str, classes: Sequence[str]) -> Scores:
    """What is counted for a task."""
    if task == 'panoptic':
        return PanopticScores(classes)
    return SemanticScores(classes) if task == 'semantic' else InstanceScores(classes, task == 'boxes')


class Calibration(NamedTuple):
    """How far scores are probabilities.

    Args:
        confidence: mean score of each bin, (BINS,).
        accuracy: share of each bin that is right.
        counts: predictions of each bin.
        error: the expected calibration error, the mean difference of the two, weighted by counts.
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    counts: np.ndarray
    error: float


def calibration(scores: Sequence[float], right: Sequence[bool], bins: int = BINS) -> Calibration:
    """Of scores in 0..1, in bins of equal width (Guo et al., "On calibration of modern neural networks", section 2)."""
    values, hits = np.asarray(scores, float), np.asarray(right, float)
    index = np.minimum((values * bins).astype(int), bins - 1)
    counts = np.bincount(index, minlength=bins)
    sums = np.maximum(counts, 1)
    confidence, accuracy = (np.bincount(index, each, bins) / sums for each in (values, hits))
    error = float((counts * np.abs(confidence - accuracy)).sum() / max(len(values), 1))
    return Calibration(confidence, accuracy, counts, error)


def confusions(matrix: np.ndarray, names: Sequence[str], count: int = 15) -> list[tuple[str, str, int, float]]:
    """The most frequent ones: ground truth, prediction, number, share of the ground truth in per cent.

    Args:
        matrix: see ``Scores``; what was missed and what is not there are left out.
        names: of the classes.
        count: how many.
    """
    inner = matrix[: len(names), : len(names)].copy()
    np.fill_diagonal(inner, 0)
    totals = matrix.sum(1)
    order = np.argsort(-inner, axis=None, kind='stable')[:count]
    places = [divmod(int(place), len(names)) for place in order]
    return [
        (names[row], names[column], int(inner[row, column]), float(100 * inner[row, column] / totals[row]))
        for row, column in places
        if inner[row, column]
    ]
