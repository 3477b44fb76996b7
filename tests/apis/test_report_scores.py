"""The numbers of ``m2f report`` against direct computations."""

import contextlib
import io

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_masks
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from m2f_mm.apis.report_data import Truth, fitted
from m2f_mm.apis.report_scores import (
    SCORE_THR,
    InstanceScores,
    PanopticScores,
    SemanticScores,
    calibration,
    confusions,
    pair_by_score,
)
from m2f_mm.apis.results import Result, ResultSegment
from m2f_mm.boxes import box_of_mask
from m2f_mm.evaluation.functional import PanopticStats, panoptic_stats

CLASSES = ('a', 'b', 'c', 'd')
SIZE = (24, 32)


def result(kind, labels, ids=None, masks=None, scores=None):
    """Segments of a map of ids 1 to N, 0 for none, or of masks."""
    image = np.zeros((*SIZE, 3), np.uint8)
    made = Result('x', image, kind, [], CLASSES, panoptic=ids if kind == 'panoptic' else None)
    for index, label in enumerate(labels):
        mask = masks[index] if ids is None else ids == index + 1
        rle = coco_masks.encode(np.asfortranarray(mask, np.uint8)) if ids is None else None
        score = None if scores is None else float(scores[index])
        made.segments.append(
            ResultSegment(label, CLASSES[label], score, True, index + 1, box_of_mask(mask), SIZE, ids, index + 1, rle)
        )
    return made


def random_map(generator, count):
    """Ids of ``count`` rectangles over each other, 0 between them; every id has a pixel."""
    ids = np.zeros(SIZE, np.int32)
    for number in range(1, count + 1):
        y, x = generator.integers(0, SIZE[0] - 8), generator.integers(0, SIZE[1] - 8)
        ids[y : y + 8, x : x + 8] = number
    return np.unique(ids, return_inverse=True)[1].reshape(SIZE).astype(np.int32)


def shifted(ids, generator):
    return np.roll(ids, generator.integers(-2, 3, 2), (0, 1))


@pytest.mark.parametrize('seed', range(5))
def test_panoptic(seed):
    """PQ is that of ``panoptic_stats``; rows and columns of the confusion add up to its counts."""
    generator, scores = np.random.default_rng(seed), PanopticScores(CLASSES)
    stats, qualities = PanopticStats.zeros(len(CLASSES)), []
    for _ in range(6):
        gt = random_map(generator, 7)
        pred = shifted(gt, generator)
        gt_labels, labels = (generator.integers(0, 4, ids.max()) for ids in (gt, pred))
        labels = np.where(generator.random(len(labels)) < 0.6, gt_labels, labels)
        crowd = generator.random(len(gt_labels)) < 0.2
        values = generator.random(len(labels))
        truth = Truth(result('panoptic', gt_labels, gt), crowd)
        qualities.append(scores.add(truth, result('panoptic', labels, pred, scores=values)))
        one = panoptic_stats(gt - 1, gt_labels, crowd, pred - 1, labels, len(CLASSES))
        assert qualities[-1] == pytest.approx(one.iou.sum() / (one.tp + one.fp / 2 + one.fn / 2).sum())
        stats += one
    assert all((getattr(scores.stats, key) == getattr(stats, key)).all() for key in ('tp', 'fp', 'fn'))
    assert np.allclose(scores.stats.iou, stats.iou)
    inner = scores.confusion[:4]
    assert (np.diag(inner) == stats.tp).all() and (inner.sum(1) == stats.tp + stats.fn).all()
    assert (scores.confusion[:, :4].sum(0) == stats.tp + stats.fp).all() and inner[:, :4].sum() > np.trace(inner)
    assert sum(scores.right) == stats.tp.sum() and len(scores.right) == (stats.tp + stats.fp).sum()
    table = scores.table()
    for name, quality, _, _, *counts in table.rows:
        label = CLASSES.index(name)
        tp, fp, fn = (getattr(stats, key)[label] for key in ('tp', 'fp', 'fn'))
        assert counts == [tp, fp, fn] and quality == pytest.approx(100 * stats.iou[label] / (tp + fp / 2 + fn / 2))
    assert table.means['PQ'] == pytest.approx(np.mean([row[1] for row in table.rows]))


def test_a_segment_of_another_class_is_confused():
    ids = np.zeros(SIZE, np.int32)
    ids[:8], ids[8:16], ids[16:20, :4] = 1, 2, 3
    predicted = np.where(ids == 2, 0, ids).astype(np.int32)
    predicted[predicted == 3] = 2
    scores = PanopticScores(CLASSES)
    truth = Truth(result('panoptic', [0, 1, 2], ids), np.zeros(3, bool))
    scores.add(truth, result('panoptic', [3, 2], predicted, scores=[0.9, 0.8]))
    assert {tuple(place) for place in np.argwhere(scores.confusion)} == {(0, 3), (1, 4), (2, 2)}
    assert confusions(scores.confusion, CLASSES) == [('a', 'd', 1, 100.0)]


def instance_image(generator):
    """Masks of objects, and of predictions: those objects moved, some of another class, and two more."""
    ids = random_map(generator, 6)
    masks = [ids == number for number in range(1, ids.max() + 1)]
    labels = generator.integers(0, 4, len(masks))
    predicted = [np.roll(mask, generator.integers(-1, 2, 2), (0, 1)) for mask in (*masks, *masks[:2])]
    others = generator.integers(0, 4, len(predicted))
    others[: len(masks)] = np.where(generator.random(len(masks)) < 0.7, labels, others[: len(masks)])
    return masks, labels, predicted, others, generator.random(len(predicted))


def coco_ap(images, boxes):
    """pycocotools' own AP and AP50 of result files, in per cent."""
    annotations, results = [], []
    for number, (masks, labels, crowd, predicted, others, scores) in enumerate(images, 1):
        for side, each, names in ((annotations, masks, labels), (results, predicted, others)):
            for index, (mask, label) in enumerate(zip(each, names)):
                x0, y0, x1, y1 = box_of_mask(mask)
                rle = coco_masks.encode(np.asfortranarray(mask, np.uint8))
                record = dict(image_id=number, category_id=int(label) + 1, bbox=[x0, y0, x1 - x0, y1 - y0])
                if side is results:
                    record['score'] = float(scores[index])
                    record.update({} if boxes else dict(segmentation=rle))
                else:
                    record.update(id=len(side) + 1, iscrowd=int(crowd[index]), segmentation=rle, area=int(mask.sum()))
                side.append(record)
    coco = COCO()
    coco.dataset = dict(
        images=[dict(id=number, height=SIZE[0], width=SIZE[1]) for number in range(1, len(images) + 1)],
        annotations=annotations,
        categories=[dict(id=number) for number in range(1, 5)],
    )
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(results), 'bbox' if boxes else 'segm')
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return 100 * evaluation.stats[:3], 100 * evaluation.stats[8]


@pytest.mark.parametrize('boxes', [False, True])
def test_instances(boxes):
    generator, scores, images = np.random.default_rng(3), InstanceScores(CLASSES, boxes), []
    for _ in range(8):
        masks, labels, predicted, others, values = instance_image(generator)
        crowd = generator.random(len(masks)) < 0.15
        images.append((masks, labels, crowd, predicted, others, values))
        quality = scores.add(
            Truth(result('instance', labels, masks=masks), crowd),
            result('instance', others, masks=predicted, scores=values),
        )
        assert 0 <= quality <= 1
    (ap, ap50, ap75), recall = coco_ap(images, boxes)
    means = scores.table().means
    assert means == pytest.approx(dict(AP=ap, AP50=ap50, AP75=ap75, AR=recall))
    counted = sum((~crowd).sum() for _, _, crowd, *_ in images)
    assert scores.confusion[:4].sum() == counted == sum(row[-1] for row in scores.table().rows)
    assert len(scores.scores) == len(scores.right) <= sum(len(each[3]) for each in images)
    shown = scores.confusion[:, :4].sum()
    assert shown <= sum((each[-1] >= SCORE_THR).sum() for each in images)


def test_perfect_instances_and_empty_images():
    generator, scores = np.random.default_rng(0), InstanceScores(CLASSES)
    ids = random_map(generator, 5)
    masks = [ids == number for number in range(1, ids.max() + 1)]
    labels = generator.integers(0, 4, len(masks))
    truth = Truth(result('instance', labels, masks=masks), np.zeros(len(masks), bool))
    assert scores.add(truth, result('instance', labels, masks=masks, scores=np.ones(len(masks)))) == 1
    nothing = result('instance', [], masks=[])
    assert np.isnan(scores.add(Truth(nothing, np.zeros(0, bool)), nothing))
    assert scores.add(Truth(nothing, np.zeros(0, bool)), result('instance', [1], masks=masks[:1], scores=[0.9])) == 0
    assert scores.add(truth, nothing) == 0
    assert scores.confusion[4].tolist() == [0, 1, 0, 0, 0] and scores.confusion[:4, 4].sum() == len(masks)


def test_no_object_at_all():
    scores = InstanceScores(CLASSES)
    nothing = result('instance', [], masks=[])
    scores.add(Truth(nothing, np.zeros(0, bool)), nothing)
    assert scores.table().rows == [] and all(np.isnan(value) for value in scores.table().means.values())


def test_pairs_by_score():
    """The best prediction takes the object of the highest IoU; another of that object finds it taken."""
    iou = np.array([[0.9, 0.8, 0.4], [0.6, 0.7, 0.45]])
    assert pair_by_score(iou).tolist() == [0, 1, -1]
    assert pair_by_score(np.zeros((0, 3))).tolist() == [-1, -1, -1]


def test_semantic():
    """Pixel by pixel; what is ignored counts nowhere."""
    generator, scores = np.random.default_rng(1), SemanticScores(CLASSES)
    tp, gt_pixels, pred_pixels = np.zeros((3, 4), int)
    for _ in range(3):
        gt = generator.choice([0, 1, 2, 255], SIZE)
        pred = np.where(generator.random(SIZE) < 0.7, np.minimum(gt, 2), generator.integers(0, 4, SIZE))
        truth, predicted = result('semantic', []), result('semantic', [])
        truth.semantic, predicted.semantic = gt.astype(np.uint16), pred.astype(np.uint8)
        quality = scores.add(Truth(truth, np.zeros(0, bool)), predicted)
        ious = []
        for label in range(4):
            right = (gt == label) & (pred == label)
            either = ((gt == label) | (pred == label)) & (gt != 255)
            ious += [right.sum() / either.sum()] * bool(either.sum())
            tp[label] += right.sum()
            gt_pixels[label] += (gt == label).sum()
            pred_pixels[label] += ((pred == label) & (gt != 255)).sum()
        assert quality == pytest.approx(np.mean(ious))
    table = scores.table()
    for row in table.rows:
        label = CLASSES.index(row[0])
        union = gt_pixels[label] + pred_pixels[label] - tp[label]
        assert row[1] == pytest.approx(100 * tp[label] / union)
        assert row[3] == pytest.approx(100 * tp[label] / pred_pixels[label])
    assert table.means['aAcc'] == pytest.approx(100 * tp.sum() / gt_pixels.sum()) and np.isnan(table.rows[3][2])


def test_calibration():
    generator = np.random.default_rng(0)
    scores = np.concatenate([generator.random(500), [0.0, 1.0]])
    right = generator.random(502) < scores**2
    found, error = calibration(scores, right), 0.0
    for index in range(10):
        inside = [
            i for i, score in enumerate(scores) if index / 10 <= score < (index + 1) / 10 or index == 9 and score == 1
        ]
        assert found.counts[index] == len(inside)
        confidence, accuracy = scores[inside].mean(), right[inside].mean()
        assert found.confidence[index] == pytest.approx(confidence) and found.accuracy[index] == pytest.approx(accuracy)
        error += len(inside) / len(scores) * abs(confidence - accuracy)
    assert found.error == pytest.approx(error) and calibration([], []).error == 0


@pytest.mark.parametrize('side', [12, 32, 70])
def test_fitted(side):
    """Masks, maps and boxes change together."""
    generator = np.random.default_rng(0)
    ids = random_map(generator, 4)
    labels = generator.integers(0, 4, ids.max())
    factor = side // 32 if side > 32 else side / 32
    size = round(24 * factor), round(32 * factor)
    for made in (
        result('panoptic', labels, ids),
        result('instance', labels, masks=[ids == number for number in range(1, ids.max() + 1)]),
    ):
        small = fitted(made, side)
        assert small.size == size and small.masks().shape[1:] == size
        for segment, before in zip(small, made):
            expected = cv2.resize(before.mask.astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST)
            assert (segment.mask == (expected > 0)).all() and segment.area == expected.sum()
            assert segment.box == pytest.approx([value * factor for value in before.box])
        assert small.plot().shape == (*size, 3)
