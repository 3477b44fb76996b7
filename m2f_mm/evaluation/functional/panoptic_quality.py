"""Panoptic quality (Kirillov et al., Panoptic Segmentation, CVPR 2019, section 4) on plain arrays.

The rules for void and crowd are those of panopticapi, so that the numbers are the COCO ones.

Shapes: H x W the image, G ground-truth segments, P predicted segments, C classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ...datasets.id_map import IdRuns, distinct

INSTANCE_OFFSET = 1000  # MMDetection's encoding of a predicted segment: class + 1000 * instance


@dataclass
class PanopticStats:
    """What one or many images contribute; sums over images with ``+``.

    Args:
        iou: sum of the IoU of matched pairs of each class, float64 (C,).
        tp: matched pairs, int64 (C,).
        fp: predicted segments without a partner, int64 (C,).
        fn: ground-truth segments without a partner, int64 (C,).
    """

    iou: np.ndarray
    tp: np.ndarray
    fp: np.ndarray
    fn: np.ndarray

    @classmethod
    def zeros(cls, num_classes: int) -> 'PanopticStats':
        """Of no image."""
        return cls(np.zeros(num_classes), *(np.zeros(num_classes, np.int64) for _ in range(3)))

    def __add__(self, other: 'PanopticStats') -> 'PanopticStats':
        return PanopticStats(self.iou + other.iou, self.tp + other.tp, self.fp + other.fp, self.fn + other.fn)


def decode_panoptic_seg(panoptic_seg: np.ndarray, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """MMDetection's panoptic map (H, W), class + 1000 * instance, void is ``num_classes``, as segments.

    Returns:
        index of the segment at each pixel (H, W), -1 is void; label of each segment (P,).
    """
    runs = IdRuns(panoptic_seg)
    index, labels = decode_panoptic_ids(runs.values, num_classes)
    return runs.replace(index), labels


def decode_panoptic_ids(ids: np.ndarray, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """``decode_panoptic_seg`` for any set of MMDetection's panoptic ids (R,)."""
    unique_ids, index = distinct(ids)
    is_segment = unique_ids % INSTANCE_OFFSET < num_classes
    number = np.where(is_segment, np.cumsum(is_segment) - 1, -1)
    return number[index], unique_ids[is_segment] % INSTANCE_OFFSET


def segment_overlap(gt: np.ndarray, pred: np.ndarray, pixels: np.ndarray, num_gt: int, num_pred: int) -> np.ndarray:
    """Pixels that every two segments share, int64 (1 + G, 1 + P); row 0 and column 0 are void.

    Args:
        gt: index of the ground-truth segment in each region, -1 is void, (R,).
        pred: the same of the predicted segment, (R,).
        pixels: size of each region, (R,).
        num_gt: G.
        num_pred: P.
    """
    pairs = (gt.astype(np.int64) + 1) * (num_pred + 1) + (pred + 1)
    shared = np.bincount(pairs, weights=pixels, minlength=(num_gt + 1) * (num_pred + 1))  # float64: exact below 2 ** 53
    return shared.astype(np.int64).reshape(num_gt + 1, num_pred + 1)


def panoptic_stats(
    gt_map: np.ndarray,
    gt_labels: np.ndarray,
    gt_crowd: np.ndarray,
    pred_map: np.ndarray,
    pred_labels: np.ndarray,
    num_classes: int,
) -> PanopticStats:
    """Match the segments of one image, see ``match_segments``.

    Args:
        gt_map: index of the segment at each pixel, (H, W), -1 is void.
        gt_labels: (G,).
        gt_crowd: whether a segment is a crowd region, bool (G,).
        pred_map: like ``gt_map``.
        pred_labels: (P,).
        num_classes: C.
    """
    require_equal_sizes(gt_map.shape, pred_map.shape)
    overlap = segment_overlap(*IdRuns(gt_map).common_with(pred_map), len(gt_labels), len(pred_labels))
    return match_segments(overlap, gt_labels, gt_crowd, pred_labels, num_classes)


def require_equal_sizes(gt_size: tuple[int, int], pred_size: tuple[int, int]) -> None:
    """Raise ValueError unless two maps have the same size (H, W)."""
    if gt_size != pred_size:
        raise ValueError(
            f'ground truth is {gt_size[0]}x{gt_size[1]} pixels (HxW), but the prediction '
            f'{pred_size[0]}x{pred_size[1]}; predictions must have the size of the original image'
        )


def match_segments(
    overlap: np.ndarray, gt_labels: np.ndarray, gt_crowd: np.ndarray, pred_labels: np.ndarray, num_classes: int
) -> PanopticStats:
    """Match the segments of one image.

    A pair of one class whose IoU exceeds 1/2 is a match; there can be one at most for each segment. Void does not
    count into the union. A predicted segment without a partner is forgiven when more than half of it lies on void or
    on the crowd region of its class; of several crowd regions of a class the last one counts (as in panopticapi).

    Args:
        overlap: from ``segment_overlap``.
        gt_labels: (G,).
        gt_crowd: whether a segment is a crowd region, bool (G,).
        pred_labels: (P,).
        num_classes: C.
    """
    pairs = pair_segments(overlap, gt_labels, gt_crowd, pred_labels, num_classes)

    def per_class(labels, weights=None):
        return np.bincount(labels, weights, minlength=num_classes)

    return PanopticStats(
        iou=per_class(gt_labels[pairs.gt], pairs.iou),
        tp=per_class(gt_labels[pairs.gt]),
        fp=per_class(pred_labels[pairs.wrong]),
        fn=per_class(gt_labels[pairs.missed]),
    )


class SegmentPairs(NamedTuple):
    """Which segments of an image belong together.

    Args:
        gt: ground-truth segment of each matched pair, (M,).
        pred: its predicted segment, (M,).
        iou: its IoU, (M,).
        missed: ground-truth segments without a partner, no crowds, bool (G,).
        wrong: predicted segments without a partner that are not forgiven, bool (P,).
    """

    gt: np.ndarray
    pred: np.ndarray
    iou: np.ndarray
    missed: np.ndarray
    wrong: np.ndarray


def pair_segments(
    overlap: np.ndarray, gt_labels: np.ndarray, gt_crowd: np.ndarray, pred_labels: np.ndarray, num_classes: int
) -> SegmentPairs:
    """The pairs behind ``match_segments``, whose arguments it takes."""
    num_gt, num_pred = len(gt_labels), len(pred_labels)
    pred_area = overlap.sum(0)[1:]
    on_void = overlap[0, 1:]  # (P,)
    iou = np.where(gt_labels[:, None] == pred_labels, segment_iou(overlap, gt_crowd), 0)
    gt_matched, pred_matched = np.nonzero(iou > 0.5)

    missed = ~gt_crowd
    missed[gt_matched] = False
    crowd_of_class = np.full(num_classes, -1)
    for segment in np.flatnonzero(gt_crowd):
        crowd_of_class[gt_labels[segment]] = segment
    crowd = crowd_of_class[pred_labels]  # (P,)
    forgiven = on_void
    if num_gt:
        forgiven = on_void + np.where(crowd >= 0, overlap[1:, 1:][crowd, np.arange(num_pred)], 0)
    wrong = ~(forgiven > 0.5 * pred_area)
    wrong[pred_matched] = False
    return SegmentPairs(gt_matched, pred_matched, iou[gt_matched, pred_matched], missed, wrong)


def segment_iou(overlap: np.ndarray, gt_crowd: np.ndarray) -> np.ndarray:
    """IoU (G, P) of segments of any classes, 0 for crowd regions; void does not count into the union.

    Args:
        overlap: from ``segment_overlap``.
        gt_crowd: bool (G,).
    """
    gt_area, pred_area = overlap.sum(1)[1:], overlap.sum(0)[1:]
    on_void, overlap = overlap[0, 1:], overlap[1:, 1:]
    union = gt_area[:, None] + (pred_area - on_void) - overlap
    return np.where(gt_crowd[:, None], 0, overlap / np.maximum(union, 1))


def panoptic_quality(stats: PanopticStats) -> dict[str, np.ndarray]:
    """``PQ``, ``SQ``, ``RQ`` of each class in 0..1, float64 (C,); NaN for classes that occur nowhere."""
    weight = stats.tp + 0.5 * stats.fp + 0.5 * stats.fn
    with np.errstate(invalid='ignore', divide='ignore'):
        sq = np.where(stats.tp > 0, stats.iou / stats.tp, np.where(weight > 0, 0, np.nan))
        return dict(PQ=stats.iou / weight, SQ=sq, RQ=stats.tp / weight)


def mean_quality(quality: dict[str, np.ndarray], classes: Sequence[int]) -> dict[str, float]:
    """Mean over those of ``classes`` that occur, in per cent; NaN if none does."""
    selected = {name: values[list(classes)] for name, values in quality.items()}
    return {
        name: float(100 * values[~np.isnan(values)].mean()) if (~np.isnan(values)).any() else float('nan')
        for name, values in selected.items()
    }
