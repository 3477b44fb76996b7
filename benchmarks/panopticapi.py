"""The algorithm of panopticapi's evaluation, which is not on PyPI: pairs of ids by sorting, then Python loops.

The slow, readable twin of ``m2f_mm.evaluation``; tests and the benchmark share it. It does what panopticapi does to a
image, step by step, with the same NumPy calls on whole images.
"""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from m2f_mm.evaluation.functional import PanopticStats

VOID = 0
OFFSET = 1 << 24  # a pair of ids as one number: ground truth * OFFSET + prediction


def ids_of_colors(rgb: np.ndarray) -> np.ndarray:
    """Ids (H, W) of uint8 (H, W, 3), in 32 bits, as panopticapi computes them."""
    red, green, blue = (rgb[:, :, channel].astype(np.int32) for channel in range(3))
    return red + 256 * green + 256 * 256 * blue


def colors_of_ids(ids: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3) of ids (H, W), by repeated division, as panopticapi computes them."""
    rest, rgb = ids.copy(), np.zeros((*ids.shape, 3), np.uint8)
    for channel in range(3):
        rgb[..., channel] = rest % 256
        rest //= 256
    return rgb


def slow_panoptic_stats(
    gt_rgb: np.ndarray,
    gt_segments: Sequence[dict],
    pred_rgb: np.ndarray,
    pred_segments: Sequence[dict],
    num_classes: int,
) -> PanopticStats:
    """What one image contributes.

    Args:
        gt_rgb, pred_rgb: the two PNGs, uint8 (H, W, 3).
        gt_segments: ``id``, ``category`` (label) and ``iscrowd`` of each true segment, in the order of the JSON.
        pred_segments: ``id`` and ``category`` of each predicted segment.

    Raises:
        KeyError: image and list of the prediction name different segments.
    """
    gt_ids, pred_ids = ids_of_colors(gt_rgb), ids_of_colors(pred_rgb)
    target = {segment['id']: segment for segment in gt_segments}
    prediction = {segment['id']: segment for segment in pred_segments}

    pred_areas = {int(i): int(area) for i, area in zip(*np.unique(pred_ids, return_counts=True)) if i != VOID}
    if pred_areas.keys() != prediction.keys():
        raise KeyError(f'segments {sorted(pred_areas.keys() ^ prediction.keys())} are in one of image and list only')

    pairs = gt_ids.astype(np.uint64) * np.uint64(OFFSET) + pred_ids.astype(np.uint64)
    shared: dict[tuple[int, int], int] = {}
    gt_areas: dict[int, int] = defaultdict(int)  # panopticapi reads them from the JSON
    for pair, pixels in zip(*np.unique(pairs, return_counts=True)):
        gt_id, pred_id = divmod(int(pair), OFFSET)
        shared[gt_id, pred_id] = int(pixels)
        gt_areas[gt_id] += int(pixels)

    stats = PanopticStats.zeros(num_classes)
    gt_matched, pred_matched = set(), set()
    for (gt_id, pred_id), pixels in shared.items():
        if gt_id not in target or pred_id not in prediction:
            continue
        label = target[gt_id]['category']
        if target[gt_id]['iscrowd'] or label != prediction[pred_id]['category']:
            continue
        union = pred_areas[pred_id] + gt_areas[gt_id] - pixels - shared.get((VOID, pred_id), 0)
        if pixels / union > 0.5:
            stats.tp[label] += 1
            stats.iou[label] += pixels / union
            gt_matched.add(gt_id)
            pred_matched.add(pred_id)

    crowd_of_class = {}
    for gt_id, segment in target.items():
        if segment['iscrowd']:
            crowd_of_class[segment['category']] = gt_id  # a later one takes the place of an earlier one
        elif gt_id not in gt_matched:
            stats.fn[segment['category']] += 1
    for pred_id, segment in prediction.items():
        if pred_id not in pred_matched:
            forgiven = shared.get((VOID, pred_id), 0)
            forgiven += shared.get((crowd_of_class.get(segment['category']), pred_id), 0)
            stats.fp[segment['category']] += not forgiven / pred_areas[pred_id] > 0.5
    return stats
