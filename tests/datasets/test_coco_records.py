"""COCO annotations that are broken or unusual: right, or refused with file, record and value before training."""

import re
from pathlib import Path

import numpy as np
import pytest
from mmengine.registry import DATASETS, DefaultScope
from PIL import Image
from pycocotools import mask as coco_masks

from m2f_mm.datasets.checked_coco import checked_content
from m2f_mm.datasets.inspection import dataset_faults
from m2f_mm.datasets.segmentations import WrongMask, check_segmentation, rle_counts
from tests.helpers import small_data

pytest.importorskip('mmdet.datasets')
from mmdet.datasets import CocoDataset as StockCocoDataset  # noqa: E402  by class: the name may stand for ours
from mmdet.datasets.transforms import LoadAnnotations as StockLoadAnnotations  # noqa: E402

import m2f_mm.integrations.mmdet_datasets  # noqa: E402, F401  registers what is built here

HEIGHT, WIDTH = small_data.SIZE
NAN, INFINITY = float('nan'), float('inf')


def build(cfg, split='train', **options):
    with DefaultScope.overwrite_default_scope('mmdet'):
        return DATASETS.build(dict(cfg[f'{split}_dataloader'].dataset, **options, serialize_data=False))


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Writes a data set of one image and opens it; keeps what is warned of."""
    said = []
    monkeypatch.setattr('m2f_mm.datasets.faults.print_log', lambda text, **_: said.append(text))

    def opened(
        change=None,
        split='train',
        form='polygon',
        number=1,
        names=small_data.NAMES,
        save=small_data.save_png,
        pipeline=None,
        **options,
    ):
        small_data.coco(tmp_path, number, split, form=form, change=change, save=save)
        cfg = small_data.instance_config(tmp_path, monkeypatch, names)
        if pipeline:
            pipeline(cfg[f'{split}_dataloader'].dataset.pipeline)
        return build(cfg, split, **options)

    opened.said = said
    return opened


def first(**changes):
    """Changes the first annotation; a value of ``...`` takes the key out."""

    def change(content):
        for key, value in changes.items():
            if value is ...:
                del content['annotations'][0][key]
            else:
                content['annotations'][0][key] = value

    return change


def image(**changes):
    return lambda content: content['images'][0].update(changes)


def without(key, where):
    def change(content):
        for each in content[where]:
            del each[key]

    return change


def every(where, **changes):
    """Changes each record of a list; a function gets the old value."""

    def change(content):
        for each in content[where]:
            each.update({key: value(each[key]) if callable(value) else value for key, value in changes.items()})

    return change


def both(*changes):
    def change(content):
        for each in changes:
            each(content)

    return change


BOX = small_data.boxes()[0]
MASK = small_data.masks()[0]
RUNS = small_data.rle(MASK)
TEXT = small_data.rle(MASK, True)['counts']


@pytest.mark.parametrize(
    'mask, message',
    [
        ([8, 6, 24, 6, 24, 22], 'a flat list of numbers'),
        ([], 'an empty list'),
        ({}, 'size=None'),
        (None, 'the segmentation is None'),
        ('polygon', "the segmentation is 'polygon'"),
        (7, 'the segmentation is 7'),
        ([[8, 6, 24, 6, 24]], 'has 5 numbers'),
        ([[8, 6, 24, 6]], 'has 4 numbers'),
        ([['8', '6', '24', '6', '24', '22']], 'something else than numbers'),
        ([[[8, 6], [24, 6], [24, 22], [1, 1], [1, 1], [2, 2]]], 'something else than numbers'),
        ([[8, 6, 24, 6, None, 22]], 'something else than numbers'),
        ([[8, 6, 24, 6, NAN, 22]], 'not finite'),
        ([[8, 6, 24, 6, INFINITY, 22]], 'not finite'),
        ([[8, 6, 24, 6, 1e9, 22]], 'x=1e\\+09, far outside'),
        ([[8, 6, 24, -1e9, 24, 22]], 'y=-1e\\+09'),
        ([[8, 6, 24, 6, 10**400, 22]], 'far outside|not finite'),
        (dict(size=[HEIGHT, WIDTH]), 'counts=None'),
        (dict(counts=TEXT), 'size=None'),
        (dict(RUNS, size=[WIDTH, HEIGHT]), 'swapped'),
        (dict(RUNS, size=[HEIGHT // 2, WIDTH]), 'but its image has 48x64'),
        (dict(RUNS, size=str(HEIGHT)), "size='48'"),
        (dict(RUNS, counts=[0, 3]), 'cover 3 pixels, but its image has 3072'),
        (dict(RUNS, counts=RUNS['counts'] + [5]), 'cover 3077 pixels'),
        (dict(RUNS, counts=[-5, HEIGHT * WIDTH + 5]), 'negative counts'),
        (dict(RUNS, counts=[3.5, 3068.5]), 'whole numbers'),
        (dict(RUNS, counts=[10**30, 5]), 'absurd size'),
        (dict(RUNS, counts=TEXT[:-2]), 'cover|no compressed text'),
        (dict(RUNS, counts=TEXT + '9'), 'cover'),
        (dict(RUNS, counts=''), 'no compressed text'),
        (dict(RUNS, counts='o' * 30), 'no compressed text'),
        (dict(RUNS, counts='Größe'), 'no compressed text'),
    ],
)
def test_masks_that_cannot_be_drawn(mask, message):
    with pytest.raises(WrongMask, match=message):
        check_segmentation(mask, HEIGHT, WIDTH)


def test_text_of_counts_is_read_as_pycocotools_does():
    random = np.random.default_rng(0)
    for share in np.linspace(0, 1, 40):
        mask = np.asfortranarray(random.random((17, 23)) < share, np.uint8)
        text = coco_masks.encode(mask)['counts']
        counts = rle_counts(dict(size=[17, 23], counts=text), 17, 23)
        assert coco_masks.frPyObjects(dict(size=[17, 23], counts=counts.tolist()), 17, 23)['counts'] == text


@pytest.mark.parametrize(
    'change, message',
    [
        (first(segmentation=[8, 6, 24, 6, 24, 22]), 'annotation 1 of image 1: .*flat list'),
        (first(segmentation=...), 'annotation 1 of image 1: .*no segmentation'),
        (first(segmentation=dict(RUNS, counts=[0, 3])), 'cover 3 pixels'),
        (first(id=...), 'annotation number 0 of the list: id is None'),
        (first(id=2), 'annotations\\[1\\] both have the id 2'),
        (first(id=1.5), 'id is 1.5'),
        (first(image_id=...), 'image_id is None'),
        (first(image_id='1'), "image_id is '1', but images have ids of type int"),
        (first(category_id=...), 'category_id is None'),
        (first(category_id='1'), "category_id is '1'"),
        (first(category_id=99), 'categories that the file does not list|category_id is 99'),
        (first(iscrowd='0'), "iscrowd is '0'; it is 0 or 1"),
        (first(iscrowd=None), 'iscrowd is None'),
        (first(bbox=[1, 2, 3]), 'bbox is \\[1, 2, 3\\]; expected is'),
        (first(bbox=[1, 2, NAN, 4]), 'bbox is \\[1, 2, nan, 4\\]'),
        (first(bbox='box'), "bbox is 'box'"),
        (first(bbox=[9, 9, -4, 4]), 'boxes of negative size|bbox is \\[9, 9, -4, 4\\]'),
        (first(area=NAN), 'area is nan'),
        (first(area='large'), "area is 'large'"),
        (image(height=WIDTH, width=HEIGHT), '0.png: it has 48x64 pixels.*says 64x48: height and width are swapped'),
        (image(height=HEIGHT * 2, width=WIDTH * 2), 'says 96x128: it was resized'),
        (image(height=0), 'height is 0'),
        (image(height='48'), "height is '48'"),
        (image(width=None), 'width is None'),
        (without('height', 'images'), 'image without height'),
        (image(id=None), 'id is None'),
        (image(file_name=''), "file_name is ''"),
        (without('file_name', 'images'), 'image without file_name'),
        (without('name', 'categories'), 'category without name'),
        (without('id', 'categories'), 'category without id'),
        (
            lambda content: content['images'].append(dict(content['images'][0], file_name='b.png')),
            "'0.png' and 'b.png' both have the id 1",
        ),
        (lambda content: content['images'].append(dict(content['images'][0], id=9)), "'0.png' is image 1, too"),
        (lambda content: content['categories'][1].update(id=1), "id 1 occurs twice, for 'disc' and 'square'"),
        (lambda content: content['categories'][1].update(name='disc'), "'disc' has several ids"),
        (lambda content: content.update(images=['0.png']), "images\\[0\\]: it is '0.png'"),
        (lambda content: content['annotations'].append(None), 'annotations\\[2\\]: it is None'),
        (lambda content: content.update(annotations=[]), 'none of its 0 annotations is an object'),
        (lambda content: content.update(annotations={}), 'has no list annotations'),
        (lambda content: dict(info={}), 'has no list images, annotations, categories'),
        (every('annotations', iscrowd=1), 'none of its 2 annotations is an object to train on'),
        (every('annotations', image_id=7), 'is an object to train on'),
        (every('categories', name=str.title), "no category 'disc', 'square'.*'disc' is 'Disc' there"),
        (lambda content: content['categories'][1].update(name='square '), "'square' is 'square ' there"),
        (
            lambda content: content['categories'][1].update(name='box'),
            "no category 'square'.*file: 'disc', 'box'; classes",
        ),
        (lambda content: content['categories'].reverse(), "the file's order is 'square', 'disc'"),
    ],
)
def test_refused_before_training(data, change, message):
    with pytest.raises(ValueError, match=message) as caught:
        data(change)
    assert 'instances_train.json' in str(caught.value) or '0.png' in str(caught.value)


def test_classes_as_a_text(data):
    with pytest.raises(ValueError, match="classes='disc', a text instead of a list"):
        data(metainfo=dict(classes='disc'))


def objects(dataset, index=0):
    """Labels and areas of what a pipeline makes of an image."""
    np.random.seed(0)
    instances = dataset[index]['data_samples'].gt_instances
    return instances.labels.tolist(), [int(mask.sum()) for mask in instances.masks.to_ndarray()]


@pytest.fixture
def plain(data):
    return objects(data())


@pytest.mark.parametrize(
    'change, said',
    [
        (first(area=...), 'area is (None|0), computed is 256'),
        (first(area=0), 'area is (None|0), computed is 256'),
        (every('annotations', area=0), 'areas .* 2 times: .*area is 0'),
        (first(bbox=...), r'bbox is .*, computed is \[8.0, 6.0, 16.0, 16.0\]'),
        (first(bbox=[0, 0, 0, 0]), r'bbox is .*, computed is \[8.0, 6.0, 16.0, 16.0\]'),
        (first(bbox=[900, 900, 20, 20]), r'bbox is .*, computed is \[8.0, 6.0, 16.0, 16.0\]'),
        (first(iscrowd=...), None),
        (first(iscrowd=False), None),
        (first(id=0), None),
        (first(id=2**40), None),
        (both(every('annotations', image_id=0), image(id=0)), None),
        (both(every('annotations', image_id='ADE_1'), image(id='ADE_1')), None),
        (
            both(
                every('annotations', category_id=lambda key: 7 * key - 7),
                every('categories', id=lambda key: 7 * key - 7),
            ),
            None,
        ),
        (lambda content: content['categories'].append(dict(id=99, name='comet')), None),
        (
            lambda content: content['annotations'].append(dict(content['annotations'][0], id=77, image_id=4711)),
            'annotation 77: its image 4711 is not in the list',
        ),
        (
            lambda content: content['annotations'].append(
                dict(content['annotations'][0], id=77, bbox=[9, 9, 0.5, 9], segmentation=[[9, 9, 9.2, 9, 9.2, 18]])
            ),
            'left out',
        ),
    ],
)
def test_unusual_and_right(data, plain, change, said):
    """What the file lacks is computed, what is left out is said in a line."""
    data.said.clear()
    assert objects(data(change)) == plain
    assert (said is None) == (not data.said), data.said
    if said:
        assert len(data.said) == 1 and re.search(said, data.said[0])


def test_classes_that_never_occur(data):
    data(every('annotations', category_id=1))
    assert data.said == [f"{data.said[0].split(': ')[0]}: no object is a 'square'"]


def keep_polygons(pipeline):
    pipeline[1].poly2mask = False


def stock_loader(pipeline):
    pipeline[1].update(type=StockLoadAnnotations, poly2mask=False)


@pytest.mark.smoke
@pytest.mark.parametrize('form', ['rle', 'compressed'])
def test_rle_where_polygons_are_kept(data, form):
    expected = objects(data(form=form))
    assert expected[0] == [0, 1] and min(expected[1]) > 0
    assert objects(data(form=form, pipeline=keep_polygons)) == expected

    def mixed(content):
        content['annotations'][1]['segmentation'] = small_data.polygons(small_data.boxes()[1])

    assert objects(data(mixed, form=form, pipeline=keep_polygons)) == objects(data(mixed, form=form))
    with pytest.raises(ValueError, match=r"MMDetection's LoadAnnotations\(poly2mask=False\).*m2f_mm.LoadAnnotations"):
        data(form=form, pipeline=stock_loader)


def test_crowds_leave_polygons_as_they_are(data):
    """As in COCO, whose crowds are RLE: the other masks are polygons through the augmentations, as in the stock."""

    def crowd(content):
        content['annotations'].append(dict(content['annotations'][0], id=9, iscrowd=1, segmentation=RUNS))

    with_crowd, stock = (
        data(crowd, pipeline=pipeline)[0]['data_samples'].gt_instances.masks
        for pipeline in (keep_polygons, stock_loader)
    )
    assert type(with_crowd).__name__ == type(stock).__name__ == 'PolygonMasks' and len(with_crowd) == 2


def test_boxes_alone(data):
    """Need no masks; areas are those of the boxes."""

    def no_masks(content):
        for each in content['annotations']:
            each.update(segmentation=[], area=0)

    def boxes(pipeline):
        pipeline[1].with_mask = False

    samples = data(no_masks, pipeline=boxes)
    assert samples[0]['data_samples'].gt_instances.labels.tolist() == [0, 1] and 'areas' in data.said[0]
    for wrong, message in (([1e9, 0, 5, 5], 'bbox is .1000000000.0'), (None, 'bbox is None')):
        with pytest.raises(ValueError, match=message):
            data(first(bbox=wrong), pipeline=boxes)


def turned(orientation, suffix='png'):
    def save(path, pixels):
        path.parent.mkdir(parents=True, exist_ok=True)
        tag = Image.Exif()
        tag[0x0112] = orientation
        Image.fromarray(pixels).save(path, 'JPEG' if suffix == 'jpg' else 'PNG', exif=tag)

    return save


@pytest.mark.parametrize('split', ['train', 'val'])
def test_exif(data, split):
    """The turned size is taken, the other refused, whatever the loader of the pipeline."""
    with pytest.raises(
        ValueError, match=r'0.png: it has 64x48 pixels \(HxW\), turned as its EXIF orientation 6.*48x64'
    ):
        data(split=split, save=turned(6, 'jpg'))

    def turn(content):
        image(height=WIDTH, width=HEIGHT)(content)
        for each in content['annotations']:
            each.update(bbox=[3, 3, 20, 20], segmentation=[[3, 3, 23, 3, 23, 23, 3, 23]])

    data.said.clear()
    assert len(data(turn, split=split, save=turned(6, 'jpg'))) == 1 and not data.said
    assert len(data(split=split, save=turned(3, 'jpg'))) == 1
    assert len(data.said) == 1 and 'EXIF orientation is 3' in data.said[0]


def test_sizes_are_compared_when_an_image_comes(data):
    """The images that no check before has seen, and those that changed since."""
    for split in ('train', 'val'):
        dataset = data(split=split)
        small_data.save_png(Path(dataset.get_data_info(0)['img_path']), small_data.image(0, (HEIGHT, WIDTH + 2)))
        with pytest.raises(ValueError, match='0.png: it has 48x66 pixels.*says 48x64'):
            dataset[0]


def test_every_record_is_named_in_one_error(data):
    def broken(content):
        for each in content['annotations'][:5]:
            each['segmentation'] = []

    with pytest.raises(ValueError, match='masks that cannot be read, 5 times: annotation 1 .*annotation 3.*and 2 more'):
        data(broken, number=3)


def test_stock_data_sets_are_read_by_the_same_function(data):
    """What they leave out in silence is refused; of LVIS's form nothing is known."""
    stock = data(type=StockCocoDataset, test_mode=True)
    assert checked_content(stock)[1] == []
    stock = data(first(area=0), type=StockCocoDataset, test_mode=True)
    [fault] = checked_content(stock)[1]
    assert fault.fatal and 'area is 0' in fault.detail and 'm2f_mm.CocoDataset' in fault.cure
    stock = data(form='rle', type=StockCocoDataset, pipeline=stock_loader, test_mode=True)
    assert [fault.kind for fault in checked_content(stock)[1]] == ['a loader that ignores RLE masks']

    class Other(type(stock)):
        def load_data_list(self):
            return []

    stock.__class__ = Other
    assert checked_content(stock) == ({}, [])


def test_frames_of_mmdetections_video_data_sets(tmp_path):
    """Its converter writes a record for each frame, as of COCO."""
    from mmdet.datasets import BaseVideoDataset

    def videos(content):
        for frame, each in enumerate(content['images']):
            each.update(video_id=1, frame_id=frame)
        content['images'][1]['width'] += 1
        content['annotations'][3]['segmentation'] = []

    path = small_data.coco(tmp_path, 2, change=videos)
    with DefaultScope.overwrite_default_scope('mmdet'):
        stock = BaseVideoDataset(
            ann_file=str(path),
            metainfo=dict(classes=small_data.NAMES),
            data_prefix=dict(img_path=str(tmp_path / 'img_dir/train')),
            pipeline=[dict(type='LoadTrackAnnotations', with_mask=True)],
            serialize_data=False,
        )
    mask, size = dataset_faults(stock)
    assert mask.fatal and mask.record == 'annotation 4 of image 2'
    assert size.fatal and size.detail == 'it has 48x64 pixels (HxW), but its JSON says 48x65'


def test_blanks_around_a_name(data):
    """Objects365's classes have some; data set and metric find them."""
    from m2f_mm.integrations import CocoMetric

    dataset = data(lambda content: content['categories'][0].update(name='disc '), names=('disc ', 'square'))
    assert len(dataset.cat_ids) == 2
    metric = CocoMetric(dataset.ann_file)
    metric.dataset_meta = dataset.metainfo
    assert metric.cat_ids == dataset.cat_ids
