import numpy as np
import pytest
import torch
from mmcv.transforms import Pad, RandomFlip, Resize
from PIL import Image

from m2f_mm.datasets import LoadImage, LoadPanopticSegments, PackPanopticInputs
from m2f_mm.datasets.id_map import IdRuns, id_to_rgb, positions, rgb_to_id
from m2f_mm.datasets.transforms import LoadLabelMap
from tests.helpers.toy_panoptic import IDS, SEGMENTS, open_toy, write_toy


def load(root, load_segments=None, **kwargs):
    item = open_toy(root, **kwargs).get_data_info(0)
    return (load_segments or LoadPanopticSegments())(LoadImage()(item))


def slow_map(ids, segments, labels):
    """The map that LoadPanopticSegments must give, one segment after the other."""
    result, kept_labels = np.full(ids.shape, 255, np.uint16), []
    for segment in segments:
        if not segment['iscrowd'] and segment['category_id'] in labels:
            result[ids == segment['id']] = 256 + len(kept_labels)
            kept_labels.append(labels[segment['category_id']])
    return result, kept_labels


@pytest.mark.smoke
@pytest.mark.parametrize('classes, labels', [(('cat', 'dog', 'grass'), {7: 0, 9: 1, 3: 2}), (('dog',), {9: 0})])
def test_map_equals_the_slow_one(tmp_path, classes, labels):
    results = load(write_toy(tmp_path), metainfo=dict(classes=classes))
    expected, kept_labels = slow_map(IDS, SEGMENTS, labels)
    np.testing.assert_array_equal(results['gt_seg_map'], expected)
    assert results['gt_seg_map'].dtype == np.uint16
    assert results['gt_segment_labels'].tolist() == kept_labels and results['gt_segment_labels'].dtype == np.int64


def test_more_than_255_segments_with_large_ids(tmp_path):
    rng = np.random.default_rng(1)
    ids = rng.choice(np.arange(1, 1 << 24), 40 * 50, replace=False).reshape(40, 50)
    segments = [dict(id=int(i), category_id=7, iscrowd=0) for i in rng.permutation(ids.ravel())]
    results = load(write_toy(tmp_path, ids=ids, segments=segments))
    np.testing.assert_array_equal(results['gt_seg_map'], slow_map(ids, segments, {7: 0})[0])
    packed = PackPanopticInputs()(results)['data_samples']
    assert packed.gt_segment_map.data.max() == 1999 and len(packed.gt_segments) == 2000


def test_the_map_survives_the_stock_transforms(tmp_path):
    """Resize, flip and pad of mmcv keep every number, and padding is void."""
    ids = np.kron(np.array([[300, 0], [4, 70000]]), np.ones((8, 8), int))
    segments = [dict(id=i, category_id=7, iscrowd=0) for i in (300, 4, 70000)]
    results = load(write_toy(tmp_path, ids=ids, segments=segments))
    for transform in (Resize(scale_factor=2.0), RandomFlip(prob=1.0), Pad(size=(40, 36))):
        results = transform(results)
    packed = PackPanopticInputs()(results)['data_samples']
    expected = np.full((36, 40), -1)
    expected[:32, :32] = np.kron([[-1, 0], [2, 1]], np.ones((16, 16), int))
    np.testing.assert_array_equal(packed.gt_segment_map.data[0], expected)


@pytest.mark.parametrize(
    'segments, message',
    [
        (SEGMENTS[:-1], r'segment ids \[9\] are only in the PNG, \[\] only in the JSON'),
        (SEGMENTS + [dict(id=44, category_id=7, iscrowd=0)], r'\[\] are only in the PNG, \[44\] only in the JSON'),
    ],
)
def test_ids_of_png_and_json_must_agree(tmp_path, segments, message):
    write_toy(tmp_path, segments=segments)
    with pytest.raises(ValueError, match=message) as error:
        load(tmp_path)
    assert 'b_segments.png' in str(error.value)
    with pytest.warns(UserWarning, match=message):
        warned = load(tmp_path, LoadPanopticSegments(mismatch='warn'))
    ignored = load(tmp_path, LoadPanopticSegments(mismatch='ignore'))
    expected, labels = slow_map(IDS, [s for s in segments if s['id'] != 44], {7: 0, 9: 1, 3: 2})
    for results in (warned, ignored):
        np.testing.assert_array_equal(results['gt_seg_map'], expected)
        assert results['gt_segment_labels'].tolist() == labels


def test_segments_without_a_pixel_may_stay(tmp_path):
    def hidden(content):
        content['annotations'][0]['segments_info'].append(dict(id=45, category_id=3, iscrowd=0))
        return content

    write_toy(tmp_path, change=hidden)
    before = load(write_toy(tmp_path / 'before'))
    results = load(tmp_path, LoadPanopticSegments(mismatch='empty'))
    np.testing.assert_array_equal(results['gt_seg_map'], before['gt_seg_map'])
    assert results['gt_segment_labels'].tolist() == [*before['gt_segment_labels'], 2]

    def unlisted(content):
        content['annotations'][0]['segments_info'].pop(0)
        return content

    write_toy(tmp_path / 'after', change=unlisted)
    with pytest.raises(ValueError, match='are only in the PNG'):
        load(tmp_path / 'after', LoadPanopticSegments(mismatch='empty'))


def test_sizes_must_agree(tmp_path):
    def taller(content):
        content['images'][0]['height'] = 99
        return content

    write_toy(tmp_path, change=taller)
    with pytest.raises(ValueError, match=r'b.jpg: it has 3x4 pixels \(HxW\), but its JSON says 99x4'):
        load(tmp_path)
    with pytest.raises(ValueError, match='b_segments.png is 3x4 pixels .*, but its JSON says 99x4'):
        LoadPanopticSegments()(open_toy(tmp_path).get_data_info(0))


@pytest.mark.parametrize(
    'write, kind, message',
    [
        (lambda path: path.unlink(), FileNotFoundError, 'does not exist; check data_prefix'),
        (lambda path: path.write_bytes(b''), ValueError, 'cannot be read as a panoptic PNG'),
        (lambda path: path.write_bytes(path.read_bytes()[:50]), ValueError, 'cannot be read as a panoptic PNG'),
        (lambda path: Image.new('L', (4, 3)).save(path), ValueError, 'image of mode L'),
    ],
)
def test_broken_pngs_are_named(tmp_path, write, kind, message):
    write(tmp_path.__class__(write_toy(tmp_path)) / 'seg/c/b_segments.png')
    with pytest.raises(kind, match=message) as error:
        load(tmp_path)
    assert 'b_segments.png' in str(error.value)


def test_nothing_annotated_and_nothing_but_crowd(tmp_path):
    crowd = load(write_toy(tmp_path / 'crowd', segments=[dict(s, iscrowd=1) for s in SEGMENTS]))
    nothing = load(write_toy(tmp_path / 'nothing', change=lambda content: dict(content, annotations=[])))
    for results in (crowd, nothing):
        packed = PackPanopticInputs()(results)['data_samples']
        assert (packed.gt_segment_map.data == -1).all() and len(packed.gt_segments) == 0
        assert packed.gt_segments.labels.dtype == torch.int64


def test_packing(tmp_path):
    packed = PackPanopticInputs()(load(write_toy(tmp_path)))
    sample = packed['data_samples']
    assert packed['inputs'].dtype == torch.uint8 and packed['inputs'].shape == (3, 3, 4)
    assert packed['inputs'].is_contiguous()
    assert sample.gt_segment_map.data.dtype == torch.int16 and sample.gt_segment_map.data.shape == (1, 3, 4)
    assert sample.gt_segment_map.data[0].tolist() == [[0, 0, -1, -1], [0, 0, -1, -1], [1, 1, 1, 2]]
    assert sample.gt_segments.labels.tolist() == [1, 2, 0]
    assert sample.ori_shape == sample.img_shape == (3, 4) and sample.img_id == 1
    assert sample.img_path.endswith('b.jpg')
    unannotated = PackPanopticInputs()(dict(img=np.zeros((3, 4), np.uint8)))
    assert unannotated['inputs'].shape == (1, 3, 4) and 'gt_segments' not in unannotated['data_samples']


@pytest.mark.parametrize(
    'name, pixels, mode',
    [
        ('grey.jpg', np.full((8, 9), 77, np.uint8), 'L'),
        ('alpha.png', np.full((8, 9, 4), 77, np.uint8), 'RGBA'),
        ('cmyk.jpg', np.full((8, 9, 4), 77, np.uint8), 'CMYK'),
        ('deep.png', np.full((8, 9), 77 << 8, np.uint16), 'I;16'),
    ],
)
def test_every_kind_of_file_becomes_three_channels_of_eight_bits(tmp_path, name, pixels, mode):
    stored = Image.fromarray(pixels) if mode == 'I;16' else Image.frombytes(mode, (9, 8), pixels.tobytes())
    stored.save(tmp_path / name)
    image = LoadImage()(dict(img_path=str(tmp_path / name)))['img']
    assert image.shape == (8, 9, 3) and image.dtype == np.uint8
    if mode != 'CMYK':
        assert abs(image.astype(int) - 77).max() <= 1


@pytest.mark.parametrize('content', [b'', b'no image', b'\xff\xd8\xff\xe0'])
def test_broken_images_are_named(tmp_path, content):
    (tmp_path / 'broken.jpg').write_bytes(content)
    with pytest.raises(ValueError, match='broken.jpg is not a readable image'):
        LoadImage()(dict(img_path=str(tmp_path / 'broken.jpg')))
    with pytest.raises(FileNotFoundError, match='absent.jpg'):
        LoadImage()(dict(img_path=str(tmp_path / 'absent.jpg')))


def test_runs_and_positions():
    ids = np.random.default_rng(0).integers(0, 4, (7, 9))
    runs = IdRuns(ids)
    np.testing.assert_array_equal(runs.replace(runs.values), ids)
    assert runs.ids().tolist() == [0, 1, 2, 3]
    assert positions(np.array([5, 1, 9]), np.array([9, 5])).tolist() == [1, -1, 0]
    assert positions(np.array([5]), np.array([], int)).tolist() == [-1]
    assert IdRuns(np.zeros((0, 4), int)).replace(np.zeros(0, int)).shape == (0, 4)


def test_ids_and_colors():
    ids = np.array([[0, 1, 255], [256, 65536, (1 << 24) - 1]])
    assert id_to_rgb(ids)[1].tolist() == [[0, 1, 0], [0, 0, 1], [255, 255, 255]]
    np.testing.assert_array_equal(rgb_to_id(id_to_rgb(ids)), ids)
    with pytest.raises(ValueError, match='16777215'):
        id_to_rgb(ids + 1)


def test_labels_of_sixteen_bits(tmp_path):
    labels = np.array([[0, 300], [846, 65535]], np.uint16)
    Image.fromarray(labels).save(tmp_path / 'a.tif')
    read = LoadLabelMap()
    results = read(dict(seg_map_path=str(tmp_path / 'a.tif'), label_map={300: 1, 0: 300}))
    assert results['gt_seg_map'].tolist() == [[300, 1], [846, 65535]] and results['seg_fields'] == ['gt_seg_map']
    assert 'gt_seg_map' not in read(dict(img_path='a.jpg'))
    Image.new('RGB', (2, 2)).save(tmp_path / 'b.png')
    with pytest.raises(ValueError, match=r'b.png is an image of mode RGB, but labels must be one of L, P, I;16'):
        read(dict(seg_map_path=str(tmp_path / 'b.png')))
    (tmp_path / 'c.tif').write_bytes((tmp_path / 'a.tif').read_bytes()[:20])
    with pytest.raises(ValueError, match='c.tif cannot be read'):
        read(dict(seg_map_path=str(tmp_path / 'c.tif')))
    with pytest.raises(FileNotFoundError):
        read(dict(seg_map_path=str(tmp_path / 'd.tif')))
