import json
import os

import pytest

from m2f_mm.datasets import CocoPanopticDataset, PanopticDataset
from m2f_mm.registry import DATASETS
from tests.helpers.toy_panoptic import CATEGORIES, SEGMENTS, open_toy, write_toy


def without(key, *path):
    """A change of the JSON that deletes ``key`` of the record at ``path``."""

    def change(content):
        record = content
        for step in path:
            record = record[step]
        del record[key]
        return content

    return change


def test_classes_are_things_first_in_the_order_of_category_ids(tmp_path):
    dataset = open_toy(write_toy(tmp_path))
    assert dataset.metainfo['classes'] == ('cat', 'dog', 'grass')
    assert dataset.metainfo['thing_classes'] == ('cat', 'dog')
    assert dataset.metainfo['stuff_classes'] == ('grass',)
    assert len(set(dataset.metainfo['palette'])) == 3
    assert dataset.category_ids == [7, 9, 3]


def test_items_hold_what_mmdetection_expects(tmp_path):
    item = open_toy(write_toy(tmp_path)).get_data_info(0)
    assert os.path.samefile(item['img_path'], tmp_path / 'img/a/b.jpg')
    assert os.path.samefile(item['seg_map_path'], tmp_path / 'seg/c/b_segments.png')
    assert (item['img_id'], item['height'], item['width']) == (1, 3, 4)
    assert item['segments_info'][0] == dict(id=70000, category=1, iscrowd=False, is_thing=True)
    assert item['segments_info'][1] == dict(id=5, category=0, iscrowd=True, is_thing=False)
    assert item['segments_info'][2] == dict(id=800, category=2, iscrowd=False, is_thing=False)


def test_a_subset_of_classes_leaves_the_others_void(tmp_path):
    dataset = open_toy(write_toy(tmp_path), metainfo=dict(classes=('dog', 'grass')))
    assert dataset.metainfo['thing_classes'] == ('dog',)
    item = dataset.get_data_info(0)
    assert [segment['category'] for segment in item['segments_info']] == [0, 1]
    assert item['void_ids'] == [5, 9]


def test_metainfo_may_say_what_the_json_does_not(tmp_path):
    categories = [{key: value for key, value in category.items() if key != 'isthing'} for category in CATEGORIES]
    write_toy(tmp_path, categories=categories)
    with pytest.raises(ValueError, match="panoptic.json: nothing says whether 'grass', 'cat', 'dog' are things"):
        open_toy(tmp_path)
    dataset = open_toy(tmp_path, metainfo=dict(thing_classes=('dog', 'cat'), stuff_classes=('grass',)))
    assert dataset.metainfo['classes'] == ('dog', 'cat', 'grass')
    assert [segment['category'] for segment in dataset.get_data_info(0)['segments_info']] == [0, 1, 2, 1]
    half = open_toy(tmp_path, metainfo=dict(classes=('dog', 'cat', 'grass'), thing_classes=('dog', 'cat')))
    assert half.metainfo['stuff_classes'] == ('grass',)


@pytest.mark.parametrize(
    'classes, message',
    [
        (('grass', 'dog'), 'things before stuff'),
        (('dog', 'dog'), 'twice'),
        (('horse', 'dog'), "whether 'horse' are things or stuff"),
    ],
)
def test_bad_classes_are_refused(tmp_path, classes, message):
    with pytest.raises(ValueError, match=message):
        open_toy(write_toy(tmp_path), metainfo=dict(classes=classes))


def test_classes_that_the_json_lacks_are_named(tmp_path):
    write_toy(tmp_path)
    with pytest.raises(ValueError, match="panoptic.json has no category 'person', 'bicycle'"):
        CocoPanopticDataset(data_root=str(tmp_path), ann_file='panoptic.json', data_prefix=dict(img='img', seg='seg'))


@pytest.mark.parametrize(
    'change, message',
    [
        (without('file_name', 'annotations', 0), 'annotation without file_name'),
        (without('height', 'images', 0), 'image without height'),
        (
            without('category_id', 'annotations', 0, 'segments_info', 2),
            'segment of c/b_segments.png without category_id',
        ),
        (without('name', 'categories', 1), 'category without name'),
        (without('annotations'), 'no list annotations'),
        (lambda content: [content], 'no list images, annotations, categories'),
        (lambda content: dict(content, annotations=content['annotations'] * 2), 'two annotations for image 1'),
        (lambda content: dict(content, images=[]), r'annotates images that it does not list: \[1\]'),
        (lambda content: dict(content, categories=CATEGORIES[:2]), 'segment 70000 of c/b_segments.png has category 9'),
        (lambda content: dict(content, categories=CATEGORIES + CATEGORIES[:1]), 'twice'),
    ],
)
def test_contradictions_name_the_file_and_the_cause(tmp_path, change, message):
    write_toy(tmp_path, change=change)
    with pytest.raises(ValueError, match=message) as error:
        open_toy(tmp_path)
    assert 'panoptic.json' in str(error.value)


def test_a_segment_id_must_be_unique(tmp_path):
    write_toy(tmp_path, segments=SEGMENTS + [dict(SEGMENTS[0], category_id=3)])
    with pytest.raises(ValueError, match=r'segment ids \[70000\] of c/b_segments.png occur twice'):
        open_toy(tmp_path)


def test_missing_and_broken_json(tmp_path):
    with pytest.raises(FileNotFoundError, match='panoptic.json do not exist; check data_root'):
        open_toy(tmp_path)
    (tmp_path / 'panoptic.json').write_text('{"images": [')
    with pytest.raises(ValueError, match='panoptic.json is not valid JSON'):
        open_toy(tmp_path)


def test_images_without_annotation_are_kept_unless_filtered(tmp_path):
    second = dict(id=2, file_name='x.jpg', height=2, width=9)
    write_toy(tmp_path, change=lambda content: dict(content, images=content['images'] + [second]))
    assert len(open_toy(tmp_path)) == 2
    assert open_toy(tmp_path).get_data_info(1)['seg_map_path'] is None
    assert len(open_toy(tmp_path, filter_cfg=dict(filter_empty_gt=True))) == 1
    assert len(open_toy(tmp_path, filter_cfg=dict(min_size=3))) == 1
    assert len(open_toy(tmp_path, filter_cfg=dict(filter_empty_gt=True), test_mode=True)) == 2


def test_images_with_nothing_but_crowd_count_as_empty(tmp_path):
    write_toy(tmp_path, segments=[dict(segment, iscrowd=1) for segment in SEGMENTS])
    assert len(open_toy(tmp_path)) == 1
    with pytest.raises(ValueError, match='none of its 1 images is left after filter_cfg'):
        open_toy(tmp_path, filter_cfg=dict(filter_empty_gt=True))


def test_a_test_set_needs_no_annotations(tmp_path):
    write_toy(tmp_path, change=without('annotations'))
    assert open_toy(tmp_path, test_mode=True).get_data_info(0)['segments_info'] == []


def test_lazy_init_knows_the_classes_and_reads_later(tmp_path):
    dataset = open_toy(write_toy(tmp_path), lazy_init=True)
    assert dataset.metainfo['classes'] == ('cat', 'dog', 'grass')
    dataset.full_init()
    assert len(dataset) == 1 and dataset.get_cat_ids(0) == [1, 0, 2, 0]


@pytest.mark.smoke
def test_coco_names_are_complete_and_registered():
    meta = CocoPanopticDataset.METAINFO
    assert len(meta['thing_classes']) == 80 and len(meta['stuff_classes']) == 53
    assert meta['classes'] == meta['thing_classes'] + meta['stuff_classes']
    assert len(set(meta['classes'])) == len(meta['palette']) == 133
    assert DATASETS.get('m2f_mm.PanopticDataset') is PanopticDataset


def test_coco_colors_equal_mmdetections():
    coco = pytest.importorskip('mmdet.datasets').CocoPanopticDataset
    meta = CocoPanopticDataset.METAINFO
    assert list(coco.METAINFO['classes']) == list(meta['classes'])
    assert coco.METAINFO['palette'] == meta['palette']


def test_json_of_another_encoding_of_numbers(tmp_path):
    """iscrowd as a bool, and missing, which means no crowd."""
    write_toy(tmp_path, segments=[dict(SEGMENTS[0], iscrowd=True), dict(id=800, category_id=3)])
    segments = open_toy(tmp_path).get_data_info(0)['segments_info']
    assert [segment['iscrowd'] for segment in segments] == [True, False]
    assert json.loads((tmp_path / 'panoptic.json').read_text())['annotations'][0]['segments_info'][0]['iscrowd'] is True
