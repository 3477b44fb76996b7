import numpy as np
import pytest

from m2f_mm.evaluation.functional import (
    PanopticStats,
    decode_panoptic_seg,
    mean_quality,
    panoptic_quality,
    panoptic_stats,
)


def slow_stats(gt_map, gt_labels, gt_crowd, pred_map, pred_labels, num_classes):
    """The definition in panopticapi's order: match, then misses, then false alarms; sets of pixels, no arithmetic."""
    stats = PanopticStats.zeros(num_classes)
    gt = [gt_map == i for i in range(len(gt_labels))]
    pred = [pred_map == i for i in range(len(pred_labels))]
    void = gt_map == -1
    gt_matched, pred_matched = set(), set()
    for g in range(len(gt)):
        for p in range(len(pred)):
            if gt_crowd[g] or gt_labels[g] != pred_labels[p]:
                continue
            union = (gt[g] | pred[p]) & ~(void & pred[p])
            iou = (gt[g] & pred[p]).sum() / max(union.sum(), 1)
            if iou > 0.5:
                stats.tp[gt_labels[g]] += 1
                stats.iou[gt_labels[g]] += iou
                gt_matched.add(g)
                pred_matched.add(p)
    crowd_of_class = {}
    for g in range(len(gt)):
        if gt_crowd[g]:
            crowd_of_class[gt_labels[g]] = g  # a later one takes the place of an earlier one
        elif g not in gt_matched:
            stats.fn[gt_labels[g]] += 1
    for p in range(len(pred)):
        if p in pred_matched:
            continue
        forgiven = (pred[p] & void).sum()
        if pred_labels[p] in crowd_of_class:
            forgiven += (pred[p] & gt[crowd_of_class[pred_labels[p]]]).sum()
        if not forgiven > 0.5 * pred[p].sum():
            stats.fp[pred_labels[p]] += 1
    return stats


def blocks(rng, segments, shape=(24, 28)):
    """A map of ``segments`` rectangles over void, some of which hide others completely."""
    index = np.full(shape, -1)
    for i in range(segments):
        y, x = rng.integers(0, shape[0]), rng.integers(0, shape[1])
        index[y : y + rng.integers(2, 14), x : x + rng.integers(2, 14)] = i
    return index


def disturbed(rng, index, segments):
    """A prediction that is partly right: some segments shifted, some pixels void."""
    index = np.roll(index, rng.integers(0, 3), axis=rng.integers(2)).copy()
    index[rng.random(index.shape) < 0.1] = -1
    index[index == rng.integers(max(segments, 1))] = rng.integers(-1, segments)
    return index


@pytest.mark.smoke
@pytest.mark.parametrize('seed', range(60))
def test_stats_equal_the_slow_ones(seed):
    rng = np.random.default_rng(seed)
    num_gt = int(rng.integers(0, 9))
    gt_map = blocks(rng, num_gt)
    gt_labels, gt_crowd = rng.integers(0, 3, num_gt), rng.random(num_gt) < 0.35
    num_pred = num_gt if seed % 2 else int(rng.integers(0, 9))
    pred_map = disturbed(rng, gt_map, num_gt) if seed % 2 else blocks(rng, num_pred)
    present = np.unique(pred_map[pred_map >= 0])  # a predicted segment has pixels
    pred_map = np.where(pred_map >= 0, np.searchsorted(present, pred_map), -1)
    pred_labels = (gt_labels if seed % 2 else rng.integers(0, 3, num_pred))[present]
    fast, slow = (
        function(gt_map, gt_labels, gt_crowd, pred_map, pred_labels, 4) for function in (panoptic_stats, slow_stats)
    )
    for name in ('tp', 'fp', 'fn'):
        np.testing.assert_array_equal(getattr(fast, name), getattr(slow, name), err_msg=name)
    np.testing.assert_allclose(fast.iou, slow.iou, rtol=1e-14)


def test_random_maps_exercise_every_rule():
    """The comparison above is worth something only if all outcomes occur in it."""
    matched = missed = wrong = forgiven = 0
    for seed in range(1, 60, 2):
        rng = np.random.default_rng(seed)
        num = int(rng.integers(0, 9))
        gt_map, labels, crowd = blocks(rng, num), rng.integers(0, 3, num), rng.random(num) < 0.35
        pred_map = disturbed(rng, gt_map, num)
        present = np.unique(pred_map[pred_map >= 0])
        stats = slow_stats(
            gt_map, labels, crowd, np.where(pred_map >= 0, np.searchsorted(present, pred_map), -1), labels[present], 4
        )
        matched, missed, wrong = matched + stats.tp.sum(), missed + stats.fn.sum(), wrong + stats.fp.sum()
        forgiven += len(present) - stats.tp.sum() - stats.fp.sum()
    assert min(matched, missed, wrong, forgiven) > 10


def one_row(*pixels):
    return np.array([pixels])


@pytest.mark.parametrize(
    'gt, crowd, pred, tp, fp, fn',
    [
        ((0, 0, 0, -1), False, (0, 0, 0, 0), 1, 0, 0),  # void does not count into the union
        ((0, 0, 0, 0), False, (0, 0, -1, -1), 0, 1, 1),  # IoU of exactly 1/2 is no match
        ((0, -1, -1, -1), False, (-1, 0, 0, 0), 0, 0, 1),  # all on void: forgiven
        ((0, -1, -1, 0), True, (0, 0, -1, -1), 0, 0, 0),  # half crowd, half void: forgiven
        ((0, 0, -1, -1), True, (-1, -1, -1, -1), 0, 0, 0),  # crowd need not be found
    ],
)
def test_single_cases(gt, crowd, pred, tp, fp, fn):
    pred = one_row(*pred)
    labels = np.zeros(int(pred.max() >= 0), int)
    stats = panoptic_stats(one_row(*gt), np.array([0]), np.array([crowd]), pred, labels, 1)
    assert (stats.tp[0], stats.fp[0], stats.fn[0]) == (tp, fp, fn)


def test_half_on_void_is_not_forgiven():
    stats = panoptic_stats(
        one_row(0, 0, -1, -1), np.array([0]), np.array([False]), one_row(-1, 0, 0, -1), np.array([1]), 2
    )
    assert stats.fp.tolist() == [0, 1]


def test_quality_of_classes_and_means():
    stats = PanopticStats(
        np.array([1.5, 0, 0, 0.8]), np.array([2, 0, 0, 1]), np.array([1, 1, 0, 0]), np.array([1, 0, 0, 0])
    )
    quality = panoptic_quality(stats)
    np.testing.assert_allclose(quality['PQ'], [0.5, 0, np.nan, 0.8])
    np.testing.assert_allclose(quality['SQ'], [0.75, 0, np.nan, 0.8])
    np.testing.assert_allclose(quality['RQ'], [2 / 3, 0, np.nan, 1])
    assert mean_quality(quality, range(4))['PQ'] == pytest.approx(100 * 1.3 / 3)  # absent classes do not count
    assert np.isnan(mean_quality(quality, [2])['PQ'])


def test_decoding_mmdetections_map():
    encoded = np.array([[2, 2, 1003], [3, 2003, 1001]])  # three classes: 3, 1003 and 2003 are void
    index, labels = decode_panoptic_seg(encoded, 3)
    assert labels.tolist() == [2, 1]
    assert index.tolist() == [[0, 0, -1], [-1, -1, 1]]
    index, labels = decode_panoptic_seg(np.full((2, 2), 3), 3)
    assert (index == -1).all() and len(labels) == 0


def test_sizes_must_agree():
    with pytest.raises(ValueError, match='ground truth is 2x3 pixels .* prediction 2x2'):
        panoptic_stats(np.zeros((2, 3), int), np.array([0]), np.array([False]), np.zeros((2, 2), int), np.array([0]), 1)
