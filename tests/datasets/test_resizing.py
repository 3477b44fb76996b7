"""Images of any number of channels, depth and shape through every transform that resizes, and through the configs."""

import numpy as np
import pytest
from mmengine.registry import DefaultScope
from PIL import Image

import m2f_mm  # noqa: F401  the stock Resize, too
from m2f_mm.datasets.transforms.resizing import resize_image
from m2f_mm.registry import TRANSFORMS

WINDOW = (48, 64)
RESIZES = {
    'LargeScaleJitter': dict(type='m2f_mm.LargeScaleJitter', scale=(64, 48), crop_size=WINDOW, ratio_range=(0.5, 0.5)),
    'ResizeScale': dict(type='m2f_mm.ResizeScale', scale=(64, 48), ratio_range=(0.5, 0.5)),
    'ResizeShortestEdge': dict(type='m2f_mm.ResizeShortestEdge', short_sides=[24], max_size=None),
    'Resize': dict(type='Resize', scale=(32, 24), keep_ratio=True, backend='pillow'),
    'Resize to a size': dict(type='Resize', scale=(32, 24), keep_ratio=False, backend='pillow'),
    'm2f_mm.Resize': dict(type='m2f_mm.Resize', scale=(32, 24), keep_ratio=True, backend='pillow'),
    'RandomResize': dict(
        type='RandomResize', scale=(32, 24), ratio_range=(1.0, 1.0), keep_ratio=True, backend='pillow'
    ),
}
KINDS = [np.uint8, np.uint16, np.float32]
each_resize = pytest.mark.parametrize('name', RESIZES)


def transform(name, image, scope='mmengine', **results):
    with DefaultScope.overwrite_default_scope(scope):
        step = TRANSFORMS.build(dict(RESIZES[name]))
    return step(dict(img=image, img_shape=image.shape[:2], ori_shape=image.shape[:2], img_path='a.tif', **results))


def image_of(channels, dtype=np.uint8, size=(48, 64)):
    values = np.random.RandomState(0).randint(0, 256, (*size, channels))
    return (values * (100 if np.dtype(dtype).itemsize > 1 else 1)).astype(dtype)


@each_resize
@pytest.mark.parametrize('channels', [1, 4, 5])
@pytest.mark.parametrize('dtype', KINDS, ids=lambda kind: kind.__name__)
def test_each_channel_is_resized_alone(name, channels, dtype):
    image = image_of(channels, dtype)
    actual = transform(name, image)['img']
    assert actual.dtype == dtype and actual.shape[2] == channels
    for channel in range(channels):
        single = np.repeat(image[..., channel : channel + 1], 3, 2)
        assert np.array_equal(actual[..., channel], transform(name, single)['img'][..., 0])


@each_resize
@pytest.mark.parametrize('channels', [1, 2, 4, 5])
@pytest.mark.parametrize('dtype', KINDS, ids=lambda kind: kind.__name__)
def test_a_constant_stays(name, channels, dtype):
    """Also where the last channel, which Pillow takes for transparency, is 0."""
    image = np.full((48, 64, channels), 200, dtype)
    image[:, :32, -1] = 0
    actual = transform(name, image)['img'][:24, :32]
    assert np.array_equal(actual[..., :-1], np.full_like(actual[..., :-1], 200))
    assert (actual[:, :12, -1] == 0).all() and (actual[:, 20:32, -1] == 200).all()


@each_resize
@pytest.mark.parametrize('scope', ['mmdet', 'mmseg'])
def test_colors_are_pillows(name, scope):
    """To the last bit, as ever: with the stock classes of both stacks."""
    pytest.importorskip(scope)
    image = image_of(3)
    expected = np.asarray(Image.fromarray(image).resize((32, 24), Image.Resampling.BILINEAR))
    assert np.array_equal(transform(name, image, scope)['img'][:24, :32], expected)


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.int32, np.int64, bool])
@pytest.mark.parametrize('size', [(7, 90), (96, 11), (1, 1), (48, 64)])
def test_label_maps_take_the_nearest_pixel(dtype, size):
    labels = np.random.RandomState(0).randint(0, 300, (48, 64)).astype(dtype)
    wide = Image.fromarray(labels.astype(np.int32)).resize(size[::-1], Image.Resampling.NEAREST)
    actual = resize_image(labels, size, 'nearest')
    assert actual.dtype == dtype and np.array_equal(actual, np.asarray(wide).astype(dtype))


@each_resize
@pytest.mark.parametrize('scope', ['mmengine', 'mmdet', 'mmseg'])
@pytest.mark.parametrize('size', [(1, 1), (1, 30000), (30000, 1), (3, 20000), (2, 5)], ids=str)
def test_no_side_vanishes(name, size, scope):
    """Of an image, a label map of 16 bits, and masks."""
    image, labels = np.full((*size, 3), 200, np.uint8), np.full(size, 300, np.uint16)
    if name == 'ResizeShortestEdge' and max(size) > 100:
        pytest.skip('a short side of 24 pixels makes it longer still')
    masks = {}
    if scope != 'mmengine':
        pytest.importorskip(scope)
        import m2f_mm.integrations  # noqa: F401
    if scope == 'mmdet' and name != 'm2f_mm.Resize':
        from mmdet.structures.mask import BitmapMasks

        masks = dict(gt_masks=BitmapMasks(np.ones((2, *size), np.uint8), *size))
    results = transform(name, image, scope, gt_seg_map=labels, seg_fields=['gt_seg_map'], **masks)
    height, width = results['img'].shape[:2]
    assert results['gt_seg_map'].shape == (height, width) and min(height, width) >= 1
    assert (results['img'][0, 0] == 200).all() and results['gt_seg_map'][0, 0] == 300
    if masks:
        assert results['gt_masks'].masks.shape == (2, height, width) and results['gt_masks'].masks[:, 0, 0].all()


def test_a_very_long_image_at_the_shortest_edge():
    step = TRANSFORMS.build(dict(type='m2f_mm.ResizeShortestEdge', short_sides=[800], max_size=1333))
    assert step(dict(img=np.zeros((20000, 10, 3), np.uint8)))['img'].shape == (1333, 1, 3)


@pytest.mark.parametrize(
    'dtype, shape, message',
    [
        (np.int64, (4, 4, 3), 'int64 cannot be resized'),
        (np.complex64, (4, 4), 'complex64 cannot be resized'),
        (np.uint8, (0, 4, 3), 'without an empty axis'),
        (np.uint8, (4, 4, 3, 2), 'height, width, channels'),
    ],
)
def test_what_cannot_be_resized(dtype, shape, message):
    with pytest.raises(ValueError, match=message):
        resize_image(np.zeros(shape, dtype), (2, 2))


@pytest.mark.parametrize('channels', [1, 4, 5])
@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.float32], ids=lambda kind: kind.__name__)
def test_clips_and_packing(channels, dtype):
    """What comes in from outside is grey in every channel, and what is packed has the values of the image."""
    pytest.importorskip('mmdet')
    image = image_of(channels, dtype)
    clip = TRANSFORMS.build(dict(type='m2f_mm.ClipFromImage', pad_val=128, scale=(0.5, 0.5)))(
        dict(img=image, img_path='a.tif', ori_shape=image.shape[:2])
    )
    assert all(frame.shape == image.shape and frame.dtype == dtype for frame in clip['img'])
    assert (clip['img'][0][0, 0] == 128).all()
    packed = TRANSFORMS.build(dict(type='m2f_mm.PackClipInputs'))(clip)['inputs']
    assert np.array_equal(packed.numpy(), np.stack(clip['img']).transpose(0, 3, 1, 2))
    packed = TRANSFORMS.build(dict(type='m2f_mm.PackPanopticInputs'))(dict(img=image))['inputs']
    assert np.array_equal(packed.numpy(), image.transpose(2, 0, 1))


def test_files_of_more_bits(tmp_path):
    """Kept with ``color_type='unchanged'``; values that are not finite are refused by name."""
    tifffile = pytest.importorskip('tifffile')
    load = TRANSFORMS.build(dict(type='m2f_mm.LoadImage', color_type='unchanged', imdecode_backend='tifffile'))
    for name, dtype in (('a.tif', np.uint16), ('b.tif', np.float32)):
        tifffile.imwrite(tmp_path / name, image_of(5, dtype), photometric='minisblack')
        assert np.array_equal(load(dict(img_path=str(tmp_path / name)))['img'], image_of(5, dtype))
    image = image_of(5, np.float32)
    image[3, 4, 2] = np.nan
    tifffile.imwrite(tmp_path / 'c.tif', image, photometric='minisblack')
    with pytest.raises(ValueError, match=r'c\.tif has 1 values that are not finite'):
        load(dict(img_path=str(tmp_path / 'c.tif')))
