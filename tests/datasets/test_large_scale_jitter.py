import numpy as np
import pytest
from PIL import Image

from m2f_mm.datasets import FixedSizeCrop, ResizeScale


def fixed(transform, value):
    """The transform with its random number replaced by ``value``."""
    name = '_factor' if isinstance(transform, ResizeScale) else '_place'
    setattr(transform, name, lambda: value)
    return transform


def official_resize_scale(image, ids, scale, factor):
    """detectron2's ResizeScale, step by step: sizes by NumPy, pixels by Pillow, the id picture by its nearest."""
    target = np.multiply((scale[1], scale[0]), factor)
    ratio = np.minimum(target[0] / image.shape[0], target[1] / image.shape[1])
    h, w = np.round(np.multiply(image.shape[:2], ratio)).astype(int)
    resized = np.asarray(Image.fromarray(image).resize((w, h), Image.BILINEAR))
    return resized, np.asarray(Image.fromarray(ids.astype(np.uint8)).resize((w, h), Image.NEAREST))


@pytest.mark.smoke
@pytest.mark.parametrize('factor', [0.1, 0.37, 0.9999, 1.0, 1.73, 2.0])
@pytest.mark.parametrize('shape', [(37, 53), (64, 40)])
def test_resize_equals_the_official_one(factor, shape):
    rng = np.random.default_rng(0)
    image, ids = rng.integers(0, 256, (*shape, 3), np.uint8), rng.integers(0, 200, shape)
    results = fixed(ResizeScale((80, 80)), factor)(dict(img=image, gt_seg_map=(ids + 256).astype(np.uint16)))
    expected, expected_ids = official_resize_scale(image, ids, (80, 80), factor)
    np.testing.assert_array_equal(results['img'], expected)
    np.testing.assert_array_equal(results['gt_seg_map'], expected_ids.astype(int) + 256)
    assert results['gt_seg_map'].dtype == np.uint16
    assert results['img_shape'] == expected.shape[:2]
    assert results['scale_factor'] == (expected.shape[1] / shape[1], expected.shape[0] / shape[0])


def test_resize_draws_from_its_range():
    sides = [ResizeScale((100, 100), (0.5, 1.5))(dict(img=np.zeros((10, 10, 3), np.uint8)))['img'].shape[0]
             for _ in range(200)]
    assert 50 <= min(sides) < 65 and 135 < max(sides) <= 150


def slow_crop(array, y, x, shape, fill):
    result = np.full((*shape, *array.shape[2:]), fill, array.dtype)
    for row in range(shape[0]):
        for column in range(shape[1]):
            if row + y < array.shape[0] and column + x < array.shape[1]:
                result[row, column] = array[row + y, column + x]
    return result


@pytest.mark.parametrize('shape', [(20, 30), (12, 40), (7, 9), (30, 9)])
@pytest.mark.parametrize('u', [0.0, 0.3, 0.999])
def test_crop_equals_the_slow_one(shape, u):
    rng = np.random.default_rng(0)
    image, seg = rng.integers(0, 256, (*shape, 3), np.uint8), rng.integers(256, 400, shape).astype(np.uint16)
    y, x = (round(max(side - crop, 0) * u) for side, crop in zip(shape, (12, 16)))  # one u for both axes
    results = fixed(FixedSizeCrop((12, 16)), u)(dict(img=image, gt_seg_map=seg, gt_segment_labels=np.arange(3)))
    np.testing.assert_array_equal(results['img'], slow_crop(image, y, x, (12, 16), 128))
    np.testing.assert_array_equal(results['gt_seg_map'], slow_crop(seg, y, x, (12, 16), 255))
    assert results['img_shape'] == (12, 16)
    assert len(results['gt_segment_labels']) == 3  # segments keep their number, even if nothing is left of them


def instances(kind, shape):
    """Three instances: in the upper left corner, across the middle, in the lower right corner."""
    structures = pytest.importorskip('mmdet.structures.mask')
    from mmdet.structures.bbox import HorizontalBoxes
    h, w = shape
    boxes = np.array([[0, 0, 4, 4], [w / 2 - 4, h / 2 - 4, w / 2 + 4, h / 2 + 4], [w - 4, h - 4, w, h]], np.float32)
    polygons = [[np.array([x1, y1, x2, y1, x2, y2, x1, y2])] for x1, y1, x2, y2 in boxes.astype(float)]
    masks = structures.PolygonMasks(polygons, h, w)
    masks = masks if kind == 'polygon' else structures.BitmapMasks(masks.to_ndarray(), h, w)
    return dict(img=np.zeros((h, w, 3), np.uint8), gt_masks=masks, gt_bboxes=HorizontalBoxes(boxes),
                gt_bboxes_labels=np.array([3, 4, 5]), gt_ignore_flags=np.array([False, True, False]))


@pytest.mark.parametrize('kind', ['polygon', 'bitmap'])
def test_instances_move_with_the_picture(kind):
    whole = instances(kind, (40, 40))
    bitmaps = whole['gt_masks'].to_ndarray()
    results = fixed(FixedSizeCrop((20, 24)), 0.0)(whole)
    assert results['gt_bboxes_labels'].tolist() == [3, 4]  # nothing is left of the last one
    assert results['gt_ignore_flags'].tolist() == [False, True]
    np.testing.assert_array_equal(results['gt_masks'].to_ndarray(), bitmaps[:2, :20, :24])
    assert results['gt_bboxes'].tensor.tolist() == [[0, 0, 4, 4], [16, 16, 24, 20]]


@pytest.mark.parametrize('kind', ['polygon', 'bitmap'])
def test_instances_are_padded_and_kept_on_demand(kind):
    results = fixed(FixedSizeCrop((20, 60), filter_empty=False), 1.0)(instances(kind, (40, 40)))
    assert results['gt_bboxes_labels'].tolist() == [3, 4, 5]
    masks = results['gt_masks'].to_ndarray()
    assert masks.shape == (3, 20, 60) and not masks[0].any() and masks[2, 16:, 36:40].all()
    assert results['gt_bboxes'].tensor[2].tolist() == [36, 16, 40, 20]


@pytest.mark.parametrize('kind', ['polygon', 'bitmap'])
def test_a_crop_without_instances_is_a_negative(kind):
    whole = instances(kind, (40, 40))
    for key in ('gt_masks', 'gt_bboxes', 'gt_bboxes_labels', 'gt_ignore_flags'):
        whole[key] = whole[key][[2]]
    results = fixed(FixedSizeCrop((10, 10)), 0.0)(whole)
    assert len(results['gt_masks']) == len(results['gt_bboxes']) == len(results['gt_bboxes_labels']) == 0
    assert fixed(FixedSizeCrop((10, 10)), 0.0)(results)['img'].shape == (10, 10, 3)


@pytest.mark.parametrize('kind', ['polygon', 'bitmap'])
def test_instances_are_resized(kind):
    results = fixed(ResizeScale((40, 40)), 2.0)(instances(kind, (40, 20)))
    assert results['img_shape'] == (80, 40)
    assert results['gt_masks'].to_ndarray().shape == (3, 80, 40)
    assert results['gt_bboxes'].tensor[2].tolist() == [32, 72, 40, 80]
    assert results['gt_masks'].to_ndarray()[2].sum() == 64


def test_boxes_may_be_an_array():
    boxes = np.array([[0, 0, 4, 4], [30, 30, 40, 40]], np.float32)
    results = dict(img=np.zeros((40, 40, 3), np.uint8), gt_bboxes=boxes, gt_bboxes_labels=np.array([1, 2]))
    results = fixed(FixedSizeCrop((20, 20)), 1.0)(fixed(ResizeScale((40, 40)), 1.0)(results))
    assert results['gt_bboxes'].tolist() == [[10, 10, 20, 20]] and results['gt_bboxes_labels'].tolist() == [2]


def test_crop_size_is_checked():
    with pytest.raises(ValueError, match=r'crop_size must be \(height, width\)'):
        FixedSizeCrop((20, 20, 3))
