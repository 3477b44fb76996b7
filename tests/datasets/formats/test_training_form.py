"""What is written for training is what was read, through the data sets and loaders that configs have."""

import os
from functools import partial

import numpy as np
import pytest

from m2f_mm.datasets.formats import recognise, split, training_splits, write_training_form
from m2f_mm.datasets.inspection import dataset_faults
from m2f_mm.registry import DATASETS
from tests.helpers import own_data

LOAD_INSTANCES = [dict(type='m2f_mm.LoadImage'), dict(type='m2f_mm.LoadAnnotations', with_bbox=True, with_mask=True)]
LOAD_SEMANTIC = [dict(type='m2f_mm.LoadImage'), dict(type='m2f_mm.LoadLabelMap')]
LOAD_PANOPTIC = [dict(type='m2f_mm.LoadImage'), dict(type='m2f_mm.LoadPanopticSegments')]


def build(form, name, pipeline, scope):
    from mmengine.registry import init_default_scope

    pytest.importorskip(scope)
    init_default_scope(scope)
    __import__('m2f_mm.integrations.' + ('mmdet' if scope == 'mmdet' else 'mmseg'))
    return DATASETS.build(dict(form.dataset(name), pipeline=pipeline, _scope_=scope))


def snapshot(root):
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in root.rglob('*')}


def read_write(tmp_path, write, task=None, **options):
    """The data, and what was written of them; the source is as it was."""
    source = tmp_path / 'source'
    write(source)
    before = snapshot(source)
    data = recognise(str(source))
    form = write_training_form(data, str(tmp_path / 'out'), task, **options)
    assert snapshot(source) == before
    return data, form


INSTANCES = {
    'coco': (own_data.coco_gaps, None),
    'polygons': (own_data.coco, None),
    'voc': (own_data.voc, 'instance'),
    'cvat': (own_data.cvat_xml, None),
    'labelme': (own_data.labelme, None),
    'label studio': (own_data.label_studio, None),
    'panoptic': (own_data.coco_panoptic, 'instance'),
    'video': (own_data.youtube_vis, 'instance'),
}


@pytest.mark.parametrize('write, task', INSTANCES.values(), ids=INSTANCES)
def test_instances(tmp_path, write, task):
    if write is own_data.youtube_vis:
        data, form = read_write(tmp_path, write, task, splits=dict(train=recognise_records(tmp_path, write)))
    else:
        data, form = read_write(tmp_path, write, task)
    by_image = {record.image: record for record in data.records}
    seen = set()
    for name in form.splits:
        dataset = build(form, name, LOAD_INSTANCES, 'mmdet')
        assert dataset.metainfo['classes'] == form.classes and not [f for f in dataset_faults(dataset) if f.fatal]
        for index in range(len(dataset)):
            item = dataset[index]
            record = by_image[item['img_path']]
            masks = item['gt_masks'].to_ndarray().astype(bool)
            read = sorted((form.classes[label], mask.tobytes()) for label, mask in zip(item['gt_bboxes_labels'], masks))
            assert read == own_data.objects_of(data, record)
            seen.add(record.image)
    assert seen == set(by_image) and 'background' not in form.classes


def recognise_records(tmp_path, write):
    write(tmp_path / 'source')
    return recognise(str(tmp_path / 'source')).records


def test_polygons_stay_polygons_and_holes_are_run_lengths(tmp_path):
    import json

    _, form = read_write(tmp_path, own_data.coco)
    content = json.loads(open(form.splits['train'].ann_file).read())
    kinds = {(each['category_id'], type(each['segmentation'])) for each in content['annotations']}
    assert kinds == {(1, list), (2, list), (3, dict)}
    for each in content['annotations']:
        assert each['area'] > 0 and min(each['bbox'][2:]) > 0


@pytest.mark.parametrize('write', [partial(own_data.coco, form='boxes'), own_data.coco], ids=['boxes', 'of masks'])
def test_boxes(tmp_path, write):
    data, form = read_write(tmp_path, write, 'boxes')
    pipeline = [dict(type='m2f_mm.LoadImage'), dict(type='m2f_mm.LoadAnnotations', with_bbox=True)]
    item = build(form, 'train', pipeline, 'mmdet')[0]
    record = next(each for each in data.records if each.image == item['img_path'])
    boxes = [each.bounds(record.size) for each in record.objects]
    assert np.allclose(item['gt_bboxes'].tensor.numpy(), boxes)


SEMANTIC = (
    own_data.index_masks_with_classes,
    own_data.palette_masks,
    own_data.rgb_masks,
    own_data.voc,
    own_data.cvat_masks,
    own_data.cityscapes,
    own_data.ade20k,
    own_data.roboflow_masks,
    own_data.yolo_semantic,
    own_data.coco_panoptic,
)


@pytest.mark.parametrize('write', SEMANTIC, ids=lambda write: write.__name__)
def test_label_maps(tmp_path, write):
    data, form = read_write(tmp_path, write, 'semantic')
    by_image = {record.image: record for record in data.records}
    seen = set()
    for name in form.splits:
        dataset = build(form, name, LOAD_SEMANTIC, 'mmseg')
        assert tuple(dataset.metainfo['classes']) == form.classes == tuple(data.classes)
        assert not [fault for fault in dataset_faults(dataset) if 'without a pixel' not in fault.kind and fault.fatal]
        for index in range(len(dataset)):
            item = dataset[index]
            assert np.array_equal(item['gt_seg_map'], data.label_map(by_image[item['img_path']]))
            seen.add(item['img_path'])
    assert seen == set(by_image)


def test_label_maps_of_300_classes(tmp_path):
    names = [f'c{k}' for k in range(300)]

    def write(root):
        own_data.index_masks(
            root, (0, 1, 2, 299), lambda path, labels: own_data.save(path, labels.astype(np.uint16)), names=names
        )

    data, form = read_write(tmp_path, write)
    dataset = build(form, 'train', LOAD_SEMANTIC, 'mmseg')
    assert dataset.ignore_index == 65535 and dataset[0]['gt_seg_map'].max() == 299


def test_panoptic(tmp_path):
    data, form = read_write(tmp_path, own_data.coco_panoptic)
    assert form.classes == (*own_data.CLASSES, 'ground') and form.thing_classes == own_data.CLASSES
    by_image = {record.image: record for record in data.records}
    for name in ('train', 'val'):
        dataset = build(form, name, LOAD_PANOPTIC, 'mmdet')
        assert dataset.metainfo['thing_classes'] == form.thing_classes
        for index in range(len(dataset)):
            item = dataset[index]
            labels = data.label_map(by_image[item['img_path']])
            of_segments = np.append(item['gt_segment_labels'], 255)
            read = of_segments[np.where(item['gt_seg_map'] >= 256, item['gt_seg_map'].astype(int) - 256, -1)]
            names = np.array([*form.classes])
            assert (names[read] == np.array(data.classes)[labels]).all()
    assert os.path.isfile(form.splits['val'].instances) and not form.splits['train'].instances
    assert form.splits['train'].seg_prefix.startswith(data.folder)  # the PNGs stay where they are


def test_videos(tmp_path):
    def write(root):
        own_data.youtube_vis(root / 'train')
        own_data.youtube_vis(root / 'val')

    data, form = read_write(tmp_path, write)
    assert form.task == 'video' and {name: each.images for name, each in form.splits.items()} == dict(train=4, val=4)
    dataset = build(form, 'val', [], 'mmdet')
    (item,) = [dataset.get_data_info(index) for index in range(len(dataset))]
    assert dataset.metainfo['classes'] == own_data.CLASSES and len(item['images']) == own_data.NUMBER
    by_image = {record.image: record for record in data.records}
    from pycocotools import mask as coco_masks

    for frame in item['images']:
        masks = [
            (own_data.CLASSES[each['bbox_label']], coco_masks.decode(each['mask']).astype(bool).tobytes())
            for each in frame['instances']
        ]
        assert sorted(masks) == own_data.objects_of(data, by_image[frame['img_path']])


def test_names_with_blanks_and_folders(tmp_path):
    def write(root):
        for index in range(own_data.NUMBER):
            own_data.save_image(root / f'images/part {index % 2}/photo {index}.{"jpg" if index else "png"}', index)
            own_data.save(
                root / f'masks/part {index % 2}/photo {index}.png', own_data.label_map(index).astype(np.uint8)
            )
        own_data.write_text(root / 'classes.txt', 'background\nbox\nell\nring')

    data, form = read_write(tmp_path, write)
    assert sum(files.images for files in form.splits.values()) == own_data.NUMBER
    item = build(form, 'train', LOAD_SEMANTIC, 'mmseg')[0]
    assert np.array_equal(
        item['gt_seg_map'], data.label_map(next(r for r in data.records if r.image == item['img_path']))
    )


def test_tasks_that_the_data_do_not_allow(tmp_path):
    own_data.voc_boxes(tmp_path / 'boxes')
    data = recognise(str(tmp_path / 'boxes'))
    with pytest.raises(ValueError, match="VOC boxes, which has what is needed for boxes, not for 'instance'"):
        write_training_form(data, str(tmp_path / 'out'), 'instance')


def test_nothing_is_written_into_the_data(tmp_path):
    own_data.coco(tmp_path)
    with pytest.raises(ValueError, match='lies in'):
        write_training_form(recognise(str(tmp_path)), str(tmp_path / 'out'))
    assert not (tmp_path / 'out').exists()


# Splits.


def names(records):
    return [os.path.basename(record.image) for record in records]


def data_of(tmp_path, files, ring=True):
    for index, name in enumerate(files):
        own_data.save_image(tmp_path / 'images' / name, index)
        own_data.save(
            tmp_path / 'masks' / f'{name.rsplit(".", 1)[0]}.png', own_data.label_map(0).astype(np.uint8)
        )  # fmt: skip
    own_data.write_text(tmp_path / 'classes.txt', 'background\nbox\nell\nring')
    return recognise(str(tmp_path))


def test_split_is_the_same_whenever_it_is_made(tmp_path):
    data = data_of(tmp_path, [f'{index}.jpg' for index in range(20)])
    first, second = split(data.records), split(list(reversed(data.records)))
    assert names(first.train) == names(second.train) and names(first.val) == names(second.val)
    assert len(first.val) == 4 and 'seed 0; image by image' in first.reason
    assert not {*names(first.train)} & {*names(first.val)} and len(first.train) == 16
    assert names(split(data.records, seed=1).val) != names(first.val)
    assert len(split(data.records, 0.5).val) == 10


def test_frames_of_a_scene_stay_together(tmp_path):
    data = data_of(tmp_path, [f'scene{scene}_frame_{frame:04}.jpg' for scene in 'abcdef' for frame in range(4)])
    train, val, reason = split(data.records)
    scenes = [{name[:6] for name in names(side)} for side in (train, val)]
    assert not scenes[0] & scenes[1] and len(val) == 4 and '6 groups' in reason


def test_folders_of_frames_stay_together(tmp_path):
    data = data_of(tmp_path, [f'clip{clip}/{frame:05}.jpg' for clip in range(5) for frame in range(3)])
    train, val, _ = split(data.records)
    assert len({os.path.dirname(record.image) for record in val}) == 1 and len(val) == 3


def test_copies_of_a_photo_stay_together(tmp_path):
    data = data_of(tmp_path, [f'{photo}_jpg.rf.{copy}abc.jpg' for photo in ('a', 'b', 'c') for copy in range(3)])
    train, val, _ = split(data.records)
    assert len(val) == 3 and len({name[0] for name in names(val)}) == 1


def test_groups_that_are_classes_are_divided(tmp_path):
    """Names such as cat_1 and dog_1 show classes, not scenes: both sides need all of them."""
    kinds = ('box', 'ell', 'cat', 'dog')
    content = dict(images=[], annotations=[], categories=[dict(id=i, name=kind) for i, kind in enumerate(kinds)])
    for index in range(20):
        name = f'{kinds[index % 4]}_{index}.jpg'
        own_data.save_image(tmp_path / 'images' / name, index)
        content['images'].append(dict(id=index, file_name=name, height=48, width=64))
        shape = own_data.flat(own_data.BOX)
        content['annotations'].append(
            dict(
                id=index,
                image_id=index,
                category_id=index % 4,
                iscrowd=0,
                area=256,
                bbox=[8, 6, 16, 16],
                segmentation=[shape],
            )
        )
    own_data.write_json(tmp_path / 'all.json', content)
    train, val, reason = split(recognise(str(tmp_path)).records)
    assert len(val) == 4 and {name[:3] for name in names(train)} == {'box', 'ell', 'cat', 'dog'}
    assert 'image by image' in reason


def test_splits_of_the_folder_stay(tmp_path):
    own_data.yolo(tmp_path / 'whole')
    splits, reason = training_splits(recognise(str(tmp_path / 'whole')))
    assert {name: len(records) for name, records in splits.items()} == dict(train=3, val=1) and 'own split' in reason


def test_too_few_images(tmp_path):
    data = data_of(tmp_path, ['0.jpg'])
    with pytest.raises(ValueError, match='two are needed'):
        split(data.records)
    with pytest.raises(ValueError, match='between 0 and 1'):
        split(data.records, 1.5)


def test_images_for_test_alone(tmp_path):
    own_data.coco(tmp_path)
    (tmp_path / 'annotations/all.json').rename(tmp_path / 'annotations/test.json')
    with pytest.raises(ValueError, match='all 4 images are for test'):
        training_splits(recognise(str(tmp_path)))
