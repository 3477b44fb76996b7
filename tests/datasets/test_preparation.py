"""Preparation of data sets: equal to the official scripts', resumable, and complete or not at all."""

import json
import os
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pycocotools.mask as coco_mask
import pytest
from PIL import Image

from m2f_mm.datasets import ade20k_full_categories as full
from m2f_mm.datasets.ade20k_categories import SHORT_NAMES, THING_IDS
from m2f_mm.datasets.categories import ADE20K_PANOPTIC, CITYSCAPES_PANOPTIC, MAPILLARY_PANOPTIC
from m2f_mm.datasets.converters import ade20k, ade20k_full, cityscapes, coco_semantic, coco_stuff
from m2f_mm.datasets.converters.runner import BrokenImages, SegmentColors, convert_images, finish
from m2f_mm.datasets.io import read_panoptic_png
from m2f_mm.datasets.panoptic import ADE20KPanopticDataset, CityscapesPanopticDataset
from tests.helpers.commands import run_python
from tests.helpers.dataset_layouts import write_ade20k_full, write_cityscapes, write_coco_stuff

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / 'shared/data'
ADE = DATA / 'ade20k_derived/ADEChallengeData2016'


def load(path):
    return json.loads(Path(path).read_text(encoding='utf-8'))


def panoptic_of(folder, annotation):
    """Class, area and box of each segment, and the map of their classes."""
    ids = read_panoptic_png(str(folder / annotation['file_name']))
    classes = np.full(ids.shape, -1)
    for segment in annotation['segments_info']:
        classes[ids == segment['id']] = segment['category_id']
    return ids, classes, [(s['category_id'], s['area'], s['bbox'], s['iscrowd']) for s in annotation['segments_info']]


@pytest.fixture
def ade(tmp_path):
    if not ADE.is_dir():
        pytest.skip(f'needs {ADE}')
    root = tmp_path / 'ade'
    for part in ('images', 'annotations', 'annotations_instance'):
        shutil.copytree(ADE / part, root / part)
    return root


def test_ade20k_panoptic_is_the_official_one(ade):
    ade20k.convert(ade, workers=0)
    for split, images in (('train', 4), ('val', 1)):
        name = f'ade20k_panoptic_{split}'
        mine, theirs = load(ade / f'{name}.json'), load(ADE / f'{name}.json')
        assert mine['images'] == theirs['images'] and len(mine['annotations']) == images
        for my, their in zip(mine['categories'], theirs['categories'], strict=True):
            assert my == dict(their, name=their['name'].strip())
        for my, their in zip(mine['annotations'], theirs['annotations'], strict=True):
            my_ids, my_classes, my_segments = panoptic_of(ade / name, my)
            their_ids, their_classes, their_segments = panoptic_of(ADE / name, their)
            assert my_segments == their_segments and np.array_equal(my_classes, their_classes)
            pairs = np.unique(np.stack((my_ids.ravel(), their_ids.ravel())), axis=1)  # the same regions
            assert len(pairs[0]) == len(np.unique(pairs[0])) == len(np.unique(pairs[1]))


def test_ade20k_instances_are_the_objects_of_the_panoptic_map(ade):
    ade20k.convert(ade, workers=0)
    instances, panoptic = load(ade / 'ade20k_instance_train.json'), load(ade / 'ade20k_panoptic_train.json')
    assert [category['id'] for category in instances['categories']] == list(THING_IDS)
    assert [category['name'] for category in instances['categories']] == [SHORT_NAMES[i] for i in THING_IDS]
    assert [annotation['id'] for annotation in instances['annotations']] == list(range(1, 142))
    for annotation in panoptic['annotations']:
        things = [s for s in annotation['segments_info'] if s['category_id'] in THING_IDS]
        objects = [a for a in instances['annotations'] if a['image_id'] == annotation['image_id']]
        ids = read_panoptic_png(str(ade / 'ade20k_panoptic_train' / annotation['file_name']))
        for segment, instance in zip(things, objects, strict=True):
            assert all(segment[key] == instance[key] for key in ('category_id', 'area', 'bbox', 'iscrowd'))
            assert np.array_equal(coco_mask.decode(instance['segmentation']) == 1, ids == segment['id'])


def test_ade20k_reads_what_either_script_wrote(ade):
    ade20k.convert(ade, workers=0)
    mine, theirs = (
        ADE20KPanopticDataset(
            ann_file=str(root / 'ade20k_panoptic_train.json'),
            data_prefix=dict(img=str(ade), seg=str(root)),
            pipeline=[],
        )
        for root in (ade, ADE)
    )
    for my, their in zip(mine, theirs, strict=True):
        assert [s['category'] for s in my['segments_info']] == [s['category'] for s in their['segments_info']]
        assert [s['is_thing'] for s in my['segments_info']] == [s['is_thing'] for s in their['segments_info']]
    assert mine.category_ids[:100] == list(THING_IDS) == list(mine.metainfo['thing_ids'])


def test_broken_images_are_named_and_the_others_not_made_twice(ade, monkeypatch):
    broken = ade / 'annotations_instance/training/ADE_train_00016900.png'
    whole = broken.read_bytes()
    broken.write_bytes(whole[:500])
    with pytest.raises(BrokenImages, match=r'1 of 4 images are broken(.|\n)*ADE_train_00016900.png cannot be read'):
        ade20k.convert(ade, workers=0)
    assert not (ade / 'ade20k_panoptic_train.json').exists()
    broken.write_bytes(whole)
    written, image = [], ade20k.panoptic_image
    monkeypatch.setattr(ade20k, 'panoptic_image', lambda *args: written.append(args[-1]) or image(*args))
    ade20k.convert(ade, workers=0)
    assert written == ['ADE_train_00016900', 'ADE_val_00000001']
    assert not list(ade.glob('*partial*'))
    lines = ade20k.convert(ade, workers=0)
    assert all(line.endswith('is there already') for line in lines)


@pytest.mark.parametrize(
    'pixels, message',
    [
        (np.full((4, 4, 3), 101, np.uint8), r'object 101 has the classes \[101\]; it must be one of 1..100'),
        (np.full((4, 5, 3), 1, np.uint8), r'4x5 pixels \(HxW\), but the image 4x4'),
    ],
)
def test_ade20k_objects_that_cannot_be_are_refused(tmp_path, pixels, message):
    for part in ('images', 'annotations', 'annotations_instance'):
        (tmp_path / part / 'training').mkdir(parents=True)
    Image.new('RGB', (4, 4)).save(tmp_path / 'images/training/x.jpg')
    Image.new('L', (4, 4)).save(tmp_path / 'annotations/training/x.png')
    Image.fromarray(pixels).save(tmp_path / 'annotations_instance/training/x.png')
    with pytest.raises(ValueError, match=message):
        ade20k.panoptic_image(tmp_path, 'training', tmp_path / 'out', 'x')
    assert not (tmp_path / 'out').exists()


def test_ade20k_labels_that_cannot_be_are_refused(ade):
    path = ade / 'annotations/training/ADE_train_00016900.png'
    Image.new('L', Image.open(path).size, 151).save(path)
    with pytest.raises(BrokenImages, match=r'00016900.png has the label 151; labels are 0 .void. and 1..150'):
        ade20k.convert(ade, workers=0)
    assert not (ade / 'ade20k_panoptic_train.json').exists()


def test_missing_download_is_named(ade):
    shutil.rmtree(ade / 'annotations_instance')
    tool = ROOT / 'tools/dataset_converters/ade20k.py'
    done = run_python(tool, ade)
    assert done.returncode == 1 and 'annotations_instance.tar' in done.stderr and 'Traceback' not in done.stderr
    done = run_python(tool, ade / 'nowhere')
    assert done.returncode == 1 and 'has no *.png' in done.stderr and 'Traceback' not in done.stderr


def squares(number, folder):
    """An image's record; an odd number is broken."""
    if number == 'x3':
        raise ValueError('three is odd')
    (folder / number).write_text(number)
    return dict(square=int(number[1:]) ** 2)


def test_images_in_processes_come_in_order(tmp_path, capsys):
    names = [f'x{number}' for number in range(0, 20, 2)]
    records = convert_images(partial(squares, folder=tmp_path), names, tmp_path / 'all.json', workers=2)
    assert [record['square'] for record in records] == [number**2 for number in range(0, 20, 2)]
    journal = tmp_path / 'all.json.partial.jsonl'
    lines = journal.read_text().splitlines()
    journal.write_text('\n'.join(lines[:4]) + '\n' + lines[4][:5])  # broken off while it wrote
    for name in names:
        os.unlink(tmp_path / name)
    assert convert_images(partial(squares, folder=tmp_path), names, tmp_path / 'all.json', workers=0) == records
    assert sum((tmp_path / name).exists() for name in names) == 6
    assert '4 of 10 images are done already' in capsys.readouterr().out
    assert len(journal.read_text().splitlines()) == 10  # the half line is gone, so that the next run can go on, too
    again = convert_images(
        partial(squares, folder=tmp_path), names, tmp_path / 'all.json', workers=0, output=lambda name: tmp_path / name
    )
    assert again == records and all((tmp_path / name).exists() for name in names)
    finish(tmp_path / 'all.json', dict(records=records))
    assert not journal.exists()


def test_colors_are_those_of_the_class_or_near_it():
    palette, things = [(10, 20, 30), (200, 100, 50), (0, 0, 0)], [False, True, True]
    colors = SegmentColors(palette, things, 'an image')
    numbers = [colors.id_for(label) for label in (0, 1, 1, 1, 2, 2)]
    assert len(set(numbers)) == 6 and 0 not in numbers
    rgb = np.array([[number >> shift & 255 for shift in (0, 8, 16)] for number in numbers])
    assert rgb[0].tolist() == [10, 20, 30] and rgb[1].tolist() == [200, 100, 50]
    assert np.abs(rgb[1:4] - palette[1]).max() <= 30 and rgb[4:].max() <= 30
    again = SegmentColors(palette, things, 'an image')
    assert [again.id_for(label) for label in (0, 1, 1, 1, 2, 2)] == numbers


@pytest.fixture
def cityscapes_root(tmp_path):
    return write_cityscapes(tmp_path)


@pytest.fixture
def coco(tmp_path):
    """The real images of the validation part."""
    if not (DATA / 'coco_panoptic').is_dir():
        pytest.skip(f'needs {DATA}')
    (tmp_path / 'annotations').mkdir()
    for part in ('panoptic_val2017.json', 'panoptic_val2017'):
        source, target = DATA / 'coco_panoptic/annotations' / part, tmp_path / 'annotations' / part
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
    return tmp_path


def test_coco_semantic_is_the_official_one(coco):
    coco_semantic.convert(coco, workers=0)
    written = sorted((coco / 'panoptic_semseg_val2017').iterdir())
    official = DATA / 'coco_panoptic_derived/panoptic_semseg_val2017'
    assert [path.name for path in written] == sorted(path.name for path in official.iterdir())
    for path in written:
        np.testing.assert_array_equal(np.asarray(Image.open(path)), np.asarray(Image.open(official / path.name)))
    assert coco_semantic.convert(coco, workers=0)[0].endswith('is there already')
    assert not list(coco.glob('*partial*'))


def test_coco_semantic_refuses_what_contradicts_itself(coco):
    path = coco / 'annotations/panoptic_val2017.json'
    content = load(path)
    name = content['annotations'][3]['file_name']
    content['annotations'][3]['segments_info'].pop()
    content['annotations'][5]['segments_info'][0]['category_id'] = 4711
    path.write_text(json.dumps(content))
    with pytest.raises(BrokenImages, match=rf'2 of 31 images(.|\n)*{name} and its JSON disagree(.|\n)*4711'):
        coco_semantic.convert(coco, workers=0)
    assert len(list((coco / 'panoptic_semseg_val2017').iterdir())) == 29
    with pytest.raises(FileNotFoundError, match='panoptic_annotations_trainval2017.zip'):
        coco_semantic.convert(coco / 'annotations', workers=0)


def test_cityscapes_panoptic_and_train_ids(cityscapes_root):
    cityscapes.convert(cityscapes_root, workers=0)
    fine = cityscapes_root / 'gtFine'
    content = load(fine / 'cityscapes_panoptic_train.json')
    assert len(content['images']) == len(content['annotations']) == 4 and len(content['categories']) == 19
    dataset = CityscapesPanopticDataset(
        ann_file=str(fine / 'cityscapes_panoptic_train.json'),
        pipeline=[],
        data_prefix=dict(img=str(cityscapes_root / 'leftImg8bit/train'), seg=str(fine / 'cityscapes_panoptic_train')),
    )
    groups = 0
    for item in dataset:
        assert os.path.isfile(item['img_path'])
        base = item['img_path'].replace('leftImg8bit/', 'gtFine/').replace('_leftImg8bit.png', '_gtFine_')
        labels, trained, instances = (
            np.asarray(Image.open(f'{base}{kind}.png')) for kind in ('labelIds', 'labelTrainIds', 'instanceIds')
        )
        ids = read_panoptic_png(item['seg_map_path'])
        listed = {segment['id']: segment for segment in item['segments_info']}
        assert set(np.unique(ids)) - {0} == set(listed)
        for number in np.unique(instances):
            label = number // 1000 if number >= 1000 else number
            inside = instances == number
            if label not in TRAIN_IDS:
                assert not ids[inside].any() and (trained[labels == label] == 255).all()
                continue
            assert (ids[inside] == number).all() and (trained[labels == label] == TRAIN_IDS[label]).all()
            name = dataset.metainfo['classes'][listed[number]['category']]
            assert name == NAMES[TRAIN_IDS[label]]
            group = bool(number < 1000 and label >= 24)
            groups += group
            assert listed[number]['iscrowd'] == group
            assert listed[number]['is_thing'] == (label >= 24 and not group)
    assert groups


def test_cityscapes_instances_are_what_later_objects_leave(cityscapes_root):
    """Against rectangles that are painted pixel by pixel, in the order of the file."""
    cityscapes.convert(cityscapes_root, workers=0)
    content, pieces = load(cityscapes_root / 'gtFine/cityscapes_instance_train.json'), 0
    assert [category['name'] for category in content['categories']] == list(NAMES[11:])
    for image in content['images']:
        path = (
            cityscapes_root / 'gtFine/train' / image['file_name'].replace('_leftImg8bit.png', '_gtFine_polygons.json')
        )
        painted, labels = np.zeros((128, 256), int), {}
        for number, entry in enumerate(load(path)['objects'], start=1):
            (x, y), _, (right, lower), _ = entry['polygon']
            if entry['label'] == 'license plate':
                continue
            painted[y : lower + 1, x : right + 1] = number
            labels[number] = entry['label']
        expected = [
            (label, painted == number)
            for number, label in reversed(labels.items())
            if label.removesuffix('group') in NAMES[11:] and (painted == number).any()
        ]
        annotations = [a for a in content['annotations'] if a['image_id'] == image['id']]
        for annotation, (label, mask) in zip(annotations, expected, strict=True):
            assert NAMES[TRAIN_IDS[annotation['category_id']]] == label.removesuffix('group')
            assert annotation['iscrowd'] == label.endswith('group')
            drawn = coco_mask.decode(coco_mask.frPyObjects(annotation['segmentation'], 128, 256)).max(2) == 1
            if len(annotation['segmentation']) == 1:  # a hole would be filled
                assert (drawn != mask).sum() <= 8  # rounded corners
                assert annotation['area'] == pytest.approx(mask.sum(), rel=0.05, abs=3)
            pieces += 1
    assert pieces > 10


def test_cityscapes_polygons_that_cannot_be_are_named(cityscapes_root):
    path = cityscapes_root / 'gtFine/train/bonn/bonn_000001_000019_gtFine_polygons.json'
    path.write_text(path.read_text()[:300])
    with pytest.raises(BrokenImages, match='bonn_000001_000019_gtFine_polygons.json is not a complete polygon file'):
        cityscapes.convert(cityscapes_root, workers=0)
    assert not (cityscapes_root / 'gtFine/cityscapes_instance_train.json').exists()


TRAIN_IDS = {
    7: 0,
    8: 1,
    11: 2,
    12: 3,
    13: 4,
    17: 5,
    19: 6,
    20: 7,
    21: 8,
    22: 9,
    23: 10,
    24: 11,
    25: 12,
    26: 13,
    27: 14,
    28: 15,
    31: 16,
    32: 17,
    33: 18,
}
NAMES = (
    'road',
    'sidewalk',
    'building',
    'wall',
    'fence',
    'pole',
    'traffic light',
    'traffic sign',
    'vegetation',
    'terrain',
    'sky',
    'person',
    'rider',
    'car',
    'truck',
    'bus',
    'train',
    'motorcycle',
    'bicycle',
)


@pytest.mark.parametrize(
    'metainfo, things, stuff, first, last',
    [
        (ADE20K_PANOPTIC, 100, 50, 'bed', 'shower'),
        (CITYSCAPES_PANOPTIC, 8, 11, 'person', 'sky'),
        (MAPILLARY_PANOPTIC, 37, 28, 'Bird', 'Ego Vehicle'),
    ],
)
def test_things_come_first(metainfo, things, stuff, first, last):
    assert (len(metainfo['thing_classes']), len(metainfo['stuff_classes'])) == (things, stuff)
    assert metainfo['classes'] == metainfo['thing_classes'] + metainfo['stuff_classes']
    assert (metainfo['classes'][0], metainfo['classes'][-1]) == (first, last)
    assert len(metainfo['palette']) == len(set(metainfo['classes'])) == things + stuff


def test_coco_stuff_is_the_official_one(tmp_path):
    """Labels less two in 8 bits, which makes the unlabelled ones 255; broken and strange ones are named."""
    h5py = pytest.importorskip('h5py', reason='COCO-Stuff-10K needs h5py')
    root = write_coco_stuff(tmp_path / 'stuff')
    with h5py.File(root / 'annotations/b.mat', 'a') as file:
        labels = file['S'][...]
        file['S'][0, 0] = 200
    whole = (root / 'annotations/a.mat').read_bytes()
    (root / 'annotations/a.mat').write_bytes(whole[:100])
    with pytest.raises(BrokenImages, match=r'a.mat is no annotation(.|\n)*b.mat has the labels \[200\]'):
        coco_stuff.convert(root, workers=0)
    assert not list(root.glob('annotations_detectron2/*/*'))
    (root / 'annotations/a.mat').write_bytes(whole)
    with h5py.File(root / 'annotations/b.mat', 'a') as file:
        file['S'][...] = labels
    coco_stuff.convert(root, workers=0)
    for split, names in (('train', 'ab'), ('test', 'c')):
        for name in names:
            with h5py.File(root / f'annotations/{name}.mat') as file:
                expected = np.transpose(np.array(file['S']).astype(np.uint8)) - 2
            assert np.array_equal(np.asarray(Image.open(root / f'annotations_detectron2/{split}/{name}.png')), expected)
    assert all(line.endswith('is there already') for line in coco_stuff.convert(root, workers=0))
    assert not list(root.rglob('*partial*'))


def test_full_ade20k_is_the_official_one(tmp_path):
    """Numbers from red and green, the nearest pixel where an image is made smaller, 65535 for all other classes."""
    cv2 = pytest.importorskip('cv2')
    root = write_ade20k_full(tmp_path / 'full')
    labels = {number: label for label, number in enumerate(full.IDS)}
    assert len(labels) == len(set(full.NAMES)) == 847 and labels[2978] == 0 and labels[3148] == 846
    broken = root / 'images/ADE/validation/urban/street/ADE_val_00000001_seg.png'
    whole = broken.read_bytes()
    broken.write_bytes(whole[:200])
    with pytest.raises(BrokenImages, match='ADE_val_00000001_seg.png cannot be read'):
        ade20k_full.convert(root, workers=0)
    broken.write_bytes(whole)
    ade20k_full.convert(root, workers=0)
    for name, size in (('ADE_train_00000000', (96, 128)), ('ADE_train_00000001', (512, 640))):
        source = root / f'images/ADE/training/urban/street/{name}'
        image, colors = (np.asarray(Image.open(f'{source}{end}')) for end in ('.jpg', '_seg.png'))
        numbers = (colors[:, :, 0] / 10).astype(np.int32) * 256 + colors[:, :, 1].astype(np.int32)
        if size != (96, 128):
            image = cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)
            numbers = cv2.resize(numbers, size[::-1], interpolation=cv2.INTER_NEAREST)
        actual = np.asarray(Image.open(root / f'annotations_detectron2/training/{name}.tif'))
        expected = np.vectorize(lambda number: labels.get(number, 65535))(numbers)
        assert actual.dtype == np.uint16 and actual.shape == size and np.array_equal(actual, expected)
        assert len(np.unique(actual)) > 100
        Image.fromarray(image).save(tmp_path / 'expected.jpg')
        written = root / f'images_detectron2/training/{name}.jpg'
        assert written.read_bytes() == (tmp_path / 'expected.jpg').read_bytes()
    assert all(line.endswith('is there already') for line in ade20k_full.convert(root, workers=0))
    assert not list(root.rglob('*partial*'))
    with pytest.raises(FileNotFoundError, match='has no ADE_'):
        ade20k_full.convert(tmp_path / 'nowhere', workers=0)
