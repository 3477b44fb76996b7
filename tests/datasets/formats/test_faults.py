"""Broken files are named, their records left out, and the traps of formats end in no wrong mask."""

import json
import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from m2f_mm.datasets import formats
from m2f_mm.datasets.faults import FaultsError
from m2f_mm.datasets.formats import recognise, summary
from tests.helpers import own_data
from tests.helpers.own_data import flat, write_text


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def replace(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def turn(path, orientation=6):
    """Give an image file an EXIF orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.open(path).save(path, exif=exif)


def polygon_of(content):
    return next(each for each in content['annotations'] if isinstance(each['segmentation'], list))


BROKEN = {
    'missing image': (own_data.coco, lambda root: (root / 'images/2.jpg').unlink(), "its image '2.jpg'"),
    'broken image': (own_data.coco, lambda root: (root / 'images/2.jpg').write_bytes(b'x'), '2.jpg'),
    'other size': (
        own_data.coco,
        lambda root: own_data.save(root / 'images/2.jpg', np.zeros((20, 30, 3), np.uint8)),
        'it has 20x30 pixels',
    ),
    'two points': (
        own_data.coco,
        lambda root: edit(root / 'annotations/all.json', lambda c: polygon_of(c).update(segmentation=[[1, 2, 3, 4]])),
        'needs x and y of 3 points',
    ),
    'RLE cut off': (
        partial(own_data.coco, form='counts'),
        lambda root: edit(root / 'annotations/all.json', lambda c: c['annotations'][0]['segmentation']['counts'].pop()),
        'the RLE is cut off',
    ),
    'unknown category': (
        own_data.coco,
        lambda root: edit(root / 'annotations/all.json', lambda c: c['annotations'][0].update(category_id=44)),
        'category_id is 44',
    ),
    'another JSON is broken': (own_data.coco, lambda root: (root / 'x.json').write_text('{'), 'x.json'),
    'panoptic PNG': (
        own_data.coco_panoptic,
        lambda root: (root / 'annotations/panoptic_val/1.png').write_bytes(b'x'),
        'panoptic_val/1.png',
    ),
    'panoptic PNG, other ids': (
        own_data.coco_panoptic,
        lambda root: edit(root / 'annotations/panoptic_val.json', lambda c: c['annotations'][1]['segments_info'].pop()),
        'are only in the PNG',
    ),
    'panoptic record': (
        own_data.coco_panoptic,
        lambda root: edit(root / 'annotations/panoptic_val.json', lambda c: c['annotations'][1].pop('file_name')),
        'without file_name',
    ),
    'video RLE': (
        own_data.youtube_vis,
        lambda root: edit(root / 'train/instances.json', lambda c: c['annotations'][0]['segmentations'].pop()),
        'train/instances.json',
    ),
    'YOLO text': (own_data.yolo, lambda root: write_text(root / 'labels/train/1.txt', '0 a b'), 'line 1'),
    'YOLO class': (own_data.yolo, lambda root: write_text(root / 'labels/train/1.txt', '7 0 0 1 0 1 1'), 'the class 7'),
    'YOLO pixels': (
        own_data.yolo,
        lambda root: write_text(root / 'labels/train/1.txt', '0 0 0 9 0 9 9'),
        'outside of 0',
    ),
    'YOLO odd': (
        own_data.yolo,
        lambda root: write_text(root / 'labels/train/1.txt', '0 0 0 1 0 1'),
        'it has 6 numbers',
    ),
    'labelme points': (
        own_data.labelme,
        lambda root: edit(root / '1.json', lambda c: c['shapes'][0].update(points=[[1, 2]])),
        'needs x and y of 3 points',
    ),
    'labelme mask': (
        own_data.labelme,
        lambda root: edit(root / '0.json', lambda c: c['shapes'][-1].update(points=[[1, 2], [9, 9]])),
        'its box 8x9',
    ),
    'labelme path': (
        own_data.labelme,
        lambda root: edit(root / '1.json', lambda c: c.update(imagePath='0.jpg')),
        'two annotations name it',
    ),
    'labelme size': (own_data.labelme, lambda root: edit(root / '1.json', lambda c: c.update(imageHeight=9)), '1.jpg'),
    'labelme JSON': (own_data.labelme, lambda root: (root / '1.json').write_text('{"shapes": ['), '1.json'),
    'CVAT runs': (
        own_data.cvat_xml,
        lambda root: replace(root / 'annotations.xml', 'rle="0, ', 'rle="1, '),
        'mask 4 of image 0.jpg',
    ),
    'CVAT points': (
        own_data.cvat_xml,
        lambda root: replace(root / 'annotations.xml', 'points="8.00,', 'points="x,'),
        'polygon 0 of image 0.jpg',
    ),
    'Label Studio RLE': (
        own_data.label_studio,
        lambda root: edit(
            root / 'project-1.json',
            lambda c: c[0]['annotations'][0]['result'][-1]['value'].update(rle=[0, 0, 48, 0, 57]),
        ),
        'rle ends early',
    ),
    'Label Studio image': (
        own_data.label_studio,
        lambda root: edit(root / 'project-1.json', lambda c: c[2].update(data=dict(text='hello'))),
        'task 2',
    ),
    'mask of other size': (
        own_data.index_masks_with_classes,
        lambda root: own_data.save(root / 'masks/1.png', np.zeros((64, 48), np.uint8)),
        'height and width are swapped',
    ),
    'broken mask': (
        own_data.index_masks_with_classes,
        lambda root: (root / 'masks/1.png').write_bytes(b'x'),
        'masks/1.png',
    ),
    'VOC object map': (
        own_data.voc,
        lambda root: own_data.save(root / 'VOC2012/SegmentationObject/1.png', np.zeros((9, 9), np.uint8)),
        'SegmentationObject/1.png',
    ),
    'XML': (own_data.voc_boxes, lambda root: write_text(root / 'Annotations/1.xml', '<annotation>'), 'it is no XML'),
    'XML entities': (
        own_data.voc_boxes,
        lambda root: write_text(
            root / 'Annotations/1.xml', '<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>'
        ),
        'document type',
    ),
    'VOC box': (
        own_data.voc_boxes,
        lambda root: replace(root / 'Annotations/1.xml', '<xmin>9</xmin>', '<xmin>900</xmin>'),
        'object 0',
    ),
}


@pytest.mark.parametrize('write, damage, message', BROKEN.values(), ids=BROKEN)
def test_what_is_broken_is_named_and_left_out(tmp_path, write, damage, message):
    write(tmp_path)
    whole = recognise(str(tmp_path))
    damage(tmp_path)
    data = recognise(str(tmp_path))
    assert data.faults and message in ' '.join(map(str, data.faults)) and message in summary(data)
    if message != 'x.json':  # which is of no image
        count = sum(len(record.objects) for record in data.records), len(data.records)
        assert count < (sum(len(record.objects) for record in whole.records), len(whole.records))
    by_image = {record.image: record for record in whole.records}
    for record in data.records:  # what is left is what was there
        rest = own_data.objects_of(whole, by_image[record.image]) if whole.tasks[0] in ('instance', 'panoptic') else []
        assert set(own_data.objects_of(data, record) if rest else []) <= set(rest)


def test_nothing_usable_is_an_error_with_the_faults(tmp_path):
    own_data.coco(tmp_path)
    for path in (tmp_path / 'images').iterdir():
        path.unlink()
    with pytest.raises(ValueError, match='no image of it can be used') as error:
        recognise(str(tmp_path))
    assert "'0.jpg'" in str(error.value) and '4 times' in str(error.value)


def test_categories_that_contradict_themselves(tmp_path):
    own_data.coco(tmp_path, ids=(1, 1, 2))
    with pytest.raises(FaultsError, match='occurs twice'):
        recognise(str(tmp_path))


def test_unknown_folder_lists_rules_and_files(tmp_path):
    own_data.images(tmp_path, 'photos')
    (tmp_path / 'notes.json').write_text('{"a": 1}')
    with pytest.raises(ValueError, match='no annotations of a known format') as error:
        recognise(str(tmp_path))
    for text in ('YouTube-VIS', 'labelme', '4 of .jpg', '1 of .json', 'photos/'):
        assert text in str(error.value)
    with pytest.raises(FileNotFoundError, match='is not a folder'):
        recognise(str(tmp_path / 'nowhere'))
    (tmp_path / 'empty').mkdir()
    with pytest.raises(ValueError, match='There are: no file'):
        recognise(str(tmp_path / 'empty'))


def test_tracks_of_cvat_are_refused_with_the_cure(tmp_path):
    write_text(tmp_path / 'annotations.xml', '<annotations><version>1.1</version><track id="0"/></annotations>')
    with pytest.raises(ValueError, match='CVAT for images 1.1'):
        recognise(str(tmp_path))


# Traps of formats.


def test_parts_joined_by_a_bridge_stay_apart(tmp_path):
    """YOLO has one outline for an object of two parts; the way over and back covers no pixel."""
    own_data.yolo(tmp_path)
    data = recognise(str(tmp_path))
    record = next(each for each in data.records if each.image.endswith('0.jpg'))
    mask = own_data.filled(own_data.PARTS[0]) | own_data.filled(own_data.PARTS[1])
    assert ('box', mask.tobytes()) in own_data.objects_of(data, record)


def test_shares_are_of_the_image_as_it_is_shown(tmp_path):
    """EXIF turns a photo of a phone: outlines in shares belong to the turned one."""
    own_data.yolo(tmp_path)
    turn(tmp_path / 'images/train/0.jpg')
    data = recognise(str(tmp_path))
    record = next(each for each in data.records if each.image.endswith('0.jpg'))
    assert record.size == own_data.SIZE[::-1] and not data.faults
    points = [(x * 48 / 64, y * 64 / 48) for x, y in own_data.BOX]
    assert record.objects[0].polygons[0] == pytest.approx(np.array(points))


def test_annotations_of_the_image_as_it_is_stored_are_faults(tmp_path):
    own_data.coco(tmp_path)
    turn(tmp_path / 'images/0.jpg')
    data = recognise(str(tmp_path))
    (fault,) = data.faults
    assert 'turned as its EXIF orientation 6 says' in fault.detail and len(data.records) == 3

    def change(content):
        content['images'][0].update(height=64, width=48)
        content['annotations'] = [each for each in content['annotations'] if isinstance(each['segmentation'], list)]

    edit(tmp_path / 'annotations/all.json', change)
    data = recognise(str(tmp_path))
    assert not data.faults and data.records[0].size == (64, 48)


def test_labels_are_contiguous_whatever_the_ids(tmp_path):
    own_data.coco_gaps(tmp_path)
    data = recognise(str(tmp_path))
    assert data.classes == list(own_data.CLASSES)
    assert {each.label for record in data.records for each in record.objects} == {0, 1, 2}


def test_unused_category_0_of_roboflow(tmp_path):
    own_data.roboflow_coco(tmp_path)
    data = recognise(str(tmp_path))
    assert data.classes == list(own_data.CLASSES) and "Category 0, 'shapes', has no object" in data.notes[0]


def test_used_category_0_of_roboflow_stays(tmp_path):
    own_data.roboflow_coco(tmp_path)
    edit(tmp_path / 'valid/_annotations.coco.json', lambda c: c['annotations'][0].update(category_id=0))
    assert recognise(str(tmp_path)).classes == ['shapes', *own_data.CLASSES]


def test_jpeg_masks_are_refused(tmp_path):
    own_data.index_masks(tmp_path, names=('background', *own_data.CLASSES))
    for index in range(own_data.NUMBER):
        path = tmp_path / f'masks/{index}.png'
        Image.open(path).save(path.with_suffix('.jpg'))
        path.unlink()
    with pytest.raises(ValueError, match='JPEG changes values along borders'):
        recognise(str(tmp_path))


def test_colored_jpeg_masks_are_refused(tmp_path):
    own_data.rgb_masks(tmp_path)
    for index in range(own_data.NUMBER):
        path = tmp_path / f'masks/{index}.png'
        Image.open(path).save(path.with_suffix('.jpg'))
        path.unlink()
    with pytest.raises(ValueError, match='JPEG changes values along borders'):
        recognise(str(tmp_path))
    (tmp_path / 'colors.csv').unlink()
    with pytest.raises(ValueError, match='JPEG changes values along borders'):
        recognise(str(tmp_path))


def test_void_of_panoptic_pngs_is_ignored(tmp_path):
    own_data.coco_panoptic(tmp_path)
    path = tmp_path / 'annotations/panoptic_val/0.png'
    pixels = np.array(Image.open(path))
    pixels[0, :5] = 0
    own_data.save(path, pixels)
    data = recognise(str(tmp_path))
    assert not data.faults and (data.label_map(data.records[0])[0, :5] == 255).all()


def test_no_code_of_agpl_packages():
    for path in Path(formats.__file__).parent.glob('*.py'):
        assert not re.search(r'(import|from)\s+(ultralytics|lightly_train)', path.read_text())


def test_misspelt_options_are_refused(tmp_path):
    with pytest.raises(TypeError, match='backgruond'):
        recognise(str(tmp_path), backgruond=0)


def test_boxes_among_masks_are_told(tmp_path):
    own_data.yolo(tmp_path)
    with (tmp_path / 'labels/train/0.txt').open('a') as file:
        file.write('\n1 0.5 0.5 0.1 0.1')
    data = recognise(str(tmp_path))
    assert any('have a box but no mask' in note for note in data.notes)


def test_rectangles_of_labelme(tmp_path):
    """Masks where there are other shapes, boxes where there are none."""
    own_data.labelme(tmp_path)
    shape = dict(label='box', points=[[4, 2], [10, 6]], group_id=None, shape_type='rectangle')
    edit(tmp_path / '0.json', lambda c: c['shapes'].append(shape))
    data = recognise(str(tmp_path))
    mask = np.zeros(own_data.SIZE, bool)
    mask[2:6, 4:10] = True
    assert ('box', mask.tobytes()) in own_data.objects_of(data, data.records[0])
    assert any('rectangles' in note for note in data.notes)
    for index in range(own_data.NUMBER):
        edit(tmp_path / f'{index}.json', lambda c: c.update(shapes=[shape]))
    data = recognise(str(tmp_path))
    assert data.tasks == ('boxes',) and data.records[0].objects[0].box == (4, 2, 10, 6)


def test_shapes_of_labelme_without_area_are_told(tmp_path):
    own_data.labelme(tmp_path)
    edit(tmp_path / '0.json', lambda c: c['shapes'].append(dict(label='box', points=[[4, 2]], shape_type='point')))
    data = recognise(str(tmp_path))
    assert own_data.objects_of(data, data.records[0]) == own_data.expected(0)
    assert any('of the type point' in note for note in data.notes)


def test_circles_and_ellipses_cover_their_area(tmp_path):
    own_data.labelme(tmp_path)
    circle = dict(label='disc', points=[[32, 24], [42, 24]], group_id=None, shape_type='circle')
    edit(tmp_path / '0.json', lambda c: c['shapes'].append(circle))
    data = recognise(str(tmp_path))
    disc = next(each for each in data.records[0].objects if data.classes[each.label] == 'disc')
    assert disc.mask(own_data.SIZE).sum() == pytest.approx(np.pi * 100, rel=0.03)


def test_turned_rectangles_of_label_studio(tmp_path):
    own_data.label_studio(tmp_path)
    value = dict(x=50, y=50, width=25, height=12.5, rotation=90, rectanglelabels=['box'])
    result = dict(id='t', type='rectanglelabels', value=value, original_width=64, original_height=48)
    edit(tmp_path / 'project-1.json', lambda c: c[0]['annotations'][0]['result'].append(result))
    data = recognise(str(tmp_path))
    box = next(each.box for each in data.records[0].objects if each.box)
    assert box == pytest.approx((32 - 6, 24, 32, 24 + 16))  # turned clockwise around its upper left corner


def test_the_annotation_that_counts_of_several(tmp_path):
    own_data.label_studio(tmp_path)

    def change(content):
        done = content[0]['annotations'][0]
        content[0]['annotations'] = [
            dict(done, result=[], was_cancelled=True),
            dict(done, result=done['result'][:1]),
            dict(done, ground_truth=True),
        ]

    edit(tmp_path / 'project-1.json', change)
    data = recognise(str(tmp_path))
    assert own_data.objects_of(data, data.records[0]) == own_data.expected(0)
    assert any('several annotations' in note for note in data.notes)


def test_one_image_in_two_files_is_taken_once(tmp_path):
    own_data.images(tmp_path, 'images')
    for name, indices in (('train', (0, 1, 2)), ('val', (2, 3)), ('trainval', range(4))):
        own_data.write_json(tmp_path / f'annotations/{name}.json', own_data.coco_content(indices=indices))
    data = recognise(str(tmp_path))
    paths = [record.image for record in data.records]
    assert len(paths) == len(set(paths)) == 4
    assert {name: len(records) for name, records in data.splits.items()} == dict(train=3, val=1)
    assert sum('images are in' in note for note in data.notes) == 3


def test_polygons_of_one_object_are_its_union(tmp_path):
    content = own_data.coco_content()
    square = flat([(0, 0), (6, 0), (6, 6), (0, 6)])
    polygon_of(content)['segmentation'].append(square)
    own_data.images(tmp_path, 'images')
    own_data.write_json(tmp_path / 'annotations/all.json', content)
    data = recognise(str(tmp_path))
    mask = own_data.filled(own_data.BOX)
    mask[:6, :6] = True
    assert ('box', mask.tobytes()) in own_data.objects_of(data, data.records[0])


def test_files_of_equal_names_in_two_splits(tmp_path):
    """train/0.jpg and val/0.jpg are told apart by the JSON's name, also in another folder."""
    for split, indices in (('train', (0, 1)), ('val', (2, 3))):
        content = own_data.coco_content(indices=indices)
        for number, (index, image) in enumerate(zip(indices, content['images'])):
            own_data.save_image(tmp_path / f'photos/{split}2017/{number}.jpg', index)
            image['file_name'] = f'{number}.jpg'
        own_data.write_json(tmp_path / f'labels/instances_{split}2017.json', content)
    for folder, images in ((tmp_path, None), (tmp_path / 'labels', tmp_path / 'photos')):
        data = recognise(str(folder), images=images and str(images))
        assert not data.faults and len(data.records) == 4
        for record in data.records:
            index = int(Path(record.image).stem) + (2 if record.split == 'val' else 0)
            assert f'/{record.split}2017/' in record.image
            assert own_data.objects_of(data, record) == own_data.expected(index)
