import numpy as np
import pytest
from PIL import Image

from m2f_mm.datasets import FixedSizeCrop, LargeScaleJitter, ResizeScale, ResizeShortestEdge
from m2f_mm.datasets.transforms import geometric


def fixed(transform, value):
    """The transform with its random number replaced by ``value``."""
    name = '_factor' if isinstance(transform, ResizeScale) else '_place'
    setattr(transform, name, lambda: (value, value) if name == '_place' else value)
    return transform


def official_resize_scale(image, ids, scale, factor):
    """detectron2's ResizeScale, step by step: sizes by NumPy, pixels by Pillow, the id image by its nearest."""
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


@pytest.mark.parametrize('shape', [(37, 53), (64, 40), (50, 50), (20, 200), (333, 500), (427, 640)])
def test_shortest_edge_is_the_official_one(shape):
    """detectron2's ResizeShortestEdge, step by step."""
    for side in (16, 41, 256, 307, 819):
        transform = ResizeShortestEdge([side], 1000)
        h, w = shape
        scale = side * 1.0 / min(h, w)
        new = (side * 1.0, scale * w) if h < w else (scale * h, side * 1.0)
        if max(new) > 1000:
            scale = 1000 * 1.0 / max(new)
            new = (new[0] * scale, new[1] * scale)
        expected = tuple(int(length + 0.5) for length in new)
        results = transform(dict(img=np.zeros((*shape, 3), np.uint8), gt_seg_map=np.full(shape, 300, np.uint16)))
        assert results['img'].shape[:2] == results['gt_seg_map'].shape == results['img_shape'] == expected
        assert (results['gt_seg_map'] == 300).all()


def test_shortest_edge_draws_from_its_list():
    np.random.seed(0)
    transform = ResizeShortestEdge([8, 12, 16], 100)
    sides = {transform(dict(img=np.zeros((10, 20, 3), np.uint8)))['img_shape'] for _ in range(50)}
    assert sides == {(8, 16), (12, 24), (16, 32)}


@pytest.mark.parametrize('shape', [(20, 30), (12, 40), (7, 9), (30, 9)])
def test_free_crop_without_padding(shape):
    """Every place of both axes is as likely as any other; what is smaller than the window stays as it is."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (*shape, 3), np.uint8)
    crop, places = FixedSizeCrop((12, 16), diagonal=False, pad=False), set()
    height, width = min(shape[0], 12), min(shape[1], 16)
    np.random.seed(0)
    for _ in range(2000):
        cropped = crop(dict(img=image, gt_seg_map=np.arange(image[..., 0].size).reshape(shape)))
        y, x = divmod(int(cropped['gt_seg_map'][0, 0]), shape[1])
        places.add((y, x))
        np.testing.assert_array_equal(cropped['img'], image[y : y + height, x : x + width])
        assert cropped['img_shape'] == cropped['gt_seg_map'].shape == (height, width)
    assert len(places) == (shape[0] - height + 1) * (shape[1] - width + 1)


@pytest.mark.parametrize('kind', ['polygon', 'bitmap'])
def test_free_crop_keeps_what_it_misses(kind):
    crop = fixed(FixedSizeCrop((12, 16), diagonal=False, pad=False, filter_empty=False), 0.0)
    results = crop(instances(kind, (24, 32)))
    assert results['gt_masks'].to_ndarray().shape == (3, 12, 16) and len(results['gt_bboxes']) == 3
    assert results['gt_masks'].to_ndarray().any((1, 2)).tolist() == [True, True, False]
    assert results['gt_bboxes_labels'].tolist() == [3, 4, 5]


def test_resize_draws_from_its_range():
    sides = [
        ResizeScale((100, 100), (0.5, 1.5))(dict(img=np.zeros((10, 10, 3), np.uint8)))['img'].shape[0]
        for _ in range(200)
    ]
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
    return dict(
        img=np.zeros((h, w, 3), np.uint8),
        gt_masks=masks,
        gt_bboxes=HorizontalBoxes(boxes),
        gt_bboxes_labels=np.array([3, 4, 5]),
        gt_ignore_flags=np.array([False, True, False]),
    )


@pytest.mark.parametrize('kind', ['polygon', 'bitmap'])
def test_instances_move_with_the_image(kind):
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


def results_of(kind, shape, seed):
    """Everything that can be in the results, at random: image, segments, boxes and three masks of random corners."""
    rng = np.random.default_rng(seed)
    h, w = shape
    results = dict(
        img=rng.integers(0, 256, (h, w, 3), np.uint8),
        img_shape=shape,
        gt_seg_map=rng.integers(0, 60000, shape).astype(np.uint16),
    )
    if kind == 'segments':
        return results
    structures = pytest.importorskip('mmdet.structures.mask')
    from mmdet.structures.bbox import HorizontalBoxes

    polygons = [
        [np.stack([rng.uniform(0, w, 5), rng.uniform(0, h, 5)], 1).ravel() for _ in range(1 + i)] for i in range(3)
    ]  # some cross themselves
    masks = structures.PolygonMasks(polygons, h, w)
    boxes = masks.get_bboxes('hbox').numpy()
    masks = masks if kind == 'polygon' else structures.BitmapMasks(masks.to_ndarray(), h, w)
    return results | dict(
        gt_masks=masks,
        gt_bboxes=HorizontalBoxes(boxes) if seed % 2 else boxes,
        gt_bboxes_labels=np.arange(3),
        gt_ignore_flags=np.array([False, True, False]),
    )


def assert_same(value, expected):
    if type(value).__name__ == 'PolygonMasks':
        assert (value.height, value.width, len(value)) == (expected.height, expected.width, len(expected))
        value, expected = ([polygon for polygons in masks for polygon in polygons] for masks in (value, expected))
        assert len(value) == len(expected)
        for mine, other in zip(value, expected):
            np.testing.assert_array_equal(mine, other)
        return
    for name in ('masks', 'tensor'):  # of BitmapMasks and HorizontalBoxes
        value, expected = getattr(value, name, value), getattr(expected, name, expected)
    value, expected = np.asarray(value), np.asarray(expected)
    assert value.dtype == expected.dtype
    np.testing.assert_array_equal(value, expected)


@pytest.mark.parametrize('filter_empty', [True, False])
@pytest.mark.parametrize('kind', ['segments', 'polygon', 'bitmap'])
def test_jitter_equals_resize_then_crop(kind, filter_empty):
    """To the bit, with the same random numbers: larger, smaller, longer, of one pixel, beyond the window, flipped."""
    rng = np.random.default_rng(0)
    for seed in range(60):
        low = 1 if kind == 'segments' else 12  # polygons may vanish, but not the sides
        shape, scale, crop_size = (tuple(map(int, rng.integers(low, (110, 90, 70)[i], 2))) for i in range(3))
        if kind == 'segments' and seed % 10 == 0:
            shape = (1, 60) if seed % 20 else (60, 1)
        steps = ResizeScale(scale, (0.05, 3.0)), FixedSizeCrop(crop_size, filter_empty=filter_empty)
        jitter = LargeScaleJitter(scale, crop_size, (0.05, 3.0), filter_empty=filter_empty)
        results, expected = results_of(kind, shape, seed), results_of(kind, shape, seed)
        if seed % 2:  # what RandomFlip leaves behind: views
            for side in (results, expected):
                side.update(img=side['img'][:, ::-1], gt_seg_map=side['gt_seg_map'][:, ::-1])
        np.random.seed(seed)
        for step in steps:
            expected = step(expected)
        np.random.seed(seed)
        results = jitter(results)
        assert results.keys() == expected.keys()
        for key in expected:
            assert_same(results[key], expected[key])


@pytest.mark.parametrize('place', [0.0, 0.4, 1.0])
@pytest.mark.parametrize('shape, side', [((480, 640), 2041), ((375, 500), 700), ((640, 427), 513)])
def test_jitter_equals_resize_then_crop_at_the_sizes_of_coco(shape, side, place):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    jitter = LargeScaleJitter((side, side), (500, 600), ratio_range=(1, 1))
    jitter._place = lambda: (place, place)
    expected = fixed(FixedSizeCrop((500, 600)), place)(ResizeScale((side, side), (1, 1))(dict(img=image)))
    np.testing.assert_array_equal(jitter(dict(img=image))['img'], expected['img'])


def test_jitter_of_a_gray_image():
    image = np.random.default_rng(0).integers(0, 256, (20, 30), np.uint8)
    jitter = LargeScaleJitter((70, 70), (16, 12))
    np.random.seed(0)
    results = jitter(dict(img=image))
    np.random.seed(0)
    expected = FixedSizeCrop((16, 12))(ResizeScale((70, 70))(dict(img=image)))
    assert_same(results['img'], expected['img'])


def test_jitter_leaves_its_input_and_packs_without_a_copy():
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    before = image.copy()
    results = LargeScaleJitter((60, 60), (16, 12))(dict(img=image))
    np.testing.assert_array_equal(image, before)
    assert results['img'].shape == (16, 12, 3) and results['img'].transpose(2, 0, 1).flags.c_contiguous


def test_jitter_says_what_it_is():
    jitter = LargeScaleJitter((60, 50), (16, 12), filter_empty=False)
    assert repr(jitter) == (
        'LargeScaleJitter(scale=(60, 50), crop_size=(16, 12), ratio_range=(0.1, 2.0), pad_val=128, '
        'seg_pad_val=255, filter_empty=False)'
    )
    with pytest.raises(ValueError, match=r'crop_size must be \(height, width\)'):
        LargeScaleJitter((60, 50), (16.5, 12))


def test_polygons_beyond_the_window_are_dropped_as_if_they_had_been_cut():
    for seed in range(40):
        cropped, every = (results_of('polygon', (40, 50), seed) for _ in range(2))
        cropped = fixed(FixedSizeCrop((9, 11)), seed / 40)(cropped)
        every = fixed(FixedSizeCrop((9, 11), filter_empty=False), seed / 40)(every)
        boxes = np.asarray(getattr(every['gt_bboxes'], 'tensor', every['gt_bboxes']))
        left = np.flatnonzero((boxes[:, 2:] > boxes[:, :2]).all(1))
        for key in ('gt_masks', 'gt_bboxes', 'gt_bboxes_labels', 'gt_ignore_flags'):
            assert_same(cropped[key], every[key][left])


@pytest.mark.parametrize('shape', [(13, 7), (80, 31), (40, 20)])
def test_bitmaps_are_resized_as_pillow_does(shape):
    """The official code's rule for masks given as run lengths; OpenCV takes other pixels."""
    structures = pytest.importorskip('mmdet.structures.mask')
    bitmaps = np.random.default_rng(0).integers(0, 2, (3, 40, 20), np.uint8)
    cropped = geometric._resized(structures.BitmapMasks(bitmaps, 40, 20), shape)
    assert (cropped.height, cropped.width) == shape
    for mask, bitmap in zip(cropped.masks, bitmaps):
        expected = Image.fromarray(bitmap).resize(shape[::-1], Image.Resampling.NEAREST)
        np.testing.assert_array_equal(mask, np.asarray(expected))
    assert geometric._resized(structures.BitmapMasks(bitmaps[:0], 40, 20), shape).masks.shape == (0, *shape)
