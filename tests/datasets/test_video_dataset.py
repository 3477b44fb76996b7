"""Data sets in the format of YouTube-VIS, and clips on their way to the model."""

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import DefaultScope
from pycocotools import mask as coco_masks

from m2f_mm.datasets import OVISDataset, VideoInstanceDataset, YouTubeVIS2019Dataset
from m2f_mm.registry import DATASETS, TRANSFORMS

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
DAVIS = Path(__file__).resolve().parents[2] / '..' / 'shared' / 'data' / 'davis_ytvis_derived'
HEIGHT, WIDTH = 40, 60


def rle(x, compressed=True):
    mask = np.zeros((HEIGHT, WIDTH), np.uint8, order='F')
    mask[10:30, x : x + 20] = 1
    if compressed:
        rle = coco_masks.encode(mask)
        return dict(rle, counts=rle['counts'].decode())
    runs = [x * HEIGHT + 10] + [20] * 39 + [HEIGHT * WIDTH - x * HEIGHT - 19 * HEIGHT - 30]
    return dict(size=[HEIGHT, WIDTH], counts=runs)


def content(**changes):
    """Two videos, of three frames and of one; three objects, the last of another class and a crowd."""
    videos = [
        dict(id=4, height=HEIGHT, width=WIDTH, length=3, file_names=[f'a/{t}.png' for t in range(3)]),
        dict(id=9, height=HEIGHT, width=WIDTH, length=1, file_names=['b/0.png']),
    ]
    categories = [dict(id=7, name='fox'), dict(id=2, name='owl')]
    annotations = [
        dict(
            id=21,
            video_id=4,
            category_id=7,
            segmentations=[rle(0), None, rle(4, False)],
            bboxes=[[0, 10, 20, 20], None, [4, 10, 20, 20]],
        ),
        dict(
            id=22,
            video_id=4,
            category_id=2,
            segmentations=[rle(20), rle(24), None],
            bboxes=[[20, 10, 20, 20], [24, 10, 20, 20], None],
        ),
        dict(id=23, video_id=4, category_id=2, iscrowd=1, segmentations=[None, rle(40), rle(40)]),
    ]
    return dict(dict(videos=videos, categories=categories, annotations=annotations), **changes)


@pytest.fixture
def folder(tmp_path):
    for name in ('a/0', 'a/1', 'a/2', 'b/0'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / f'{name}.png'), np.full((HEIGHT, WIDTH, 3), 50, np.uint8))
    return tmp_path


def build(folder, kind=VideoInstanceDataset, data=None, **options):
    (folder / 'videos.json').write_text(json.dumps(data or content()))
    return kind(
        ann_file=str(folder / 'videos.json'),
        data_prefix=dict(img_path=str(folder)),
        **dict(dict(pipeline=[]), **options),
    )


def test_items(folder):
    data = build(folder)
    assert [item['video_length'] for item in data] == [3, 1]
    assert data.metainfo['classes'] == ('owl', 'fox') and data.metainfo['category_ids'] == (2, 7)
    first, second = data[0], data[1]
    assert first['video_id'] == 4 and first['video_length'] == 3
    assert [frame['img_id'] for item in (first, second) for frame in item['images']] == [0, 1, 2, 3]
    assert [frame['frame_id'] for frame in first['images']] == [0, 1, 2]
    assert first['images'][1]['img_path'] == str(folder / 'a/1.png')
    assert [[instance['instance_id'] for instance in frame['instances']] for frame in first['images']] == [
        [21, 22],
        [22, 23],
        [21, 23],
    ]
    fox = first['images'][2]['instances'][0]
    assert (fox['bbox_label'], fox['bbox'], fox['ignore_flag']) == (1, [4, 10, 24, 30], 0)
    assert first['images'][1]['instances'][1]['ignore_flag'] == 1 and not second['images'][0]['instances']
    assert data.get_cat_ids(0) == [1, 0, 0, 0, 1, 0]


def test_a_test_pipeline_gets_lists(folder):
    item = build(folder, test_mode=True)[0]
    assert item['video_length'] == item['ori_video_length'] == [3, 3, 3] and item['video_id'] == [4, 4, 4]
    assert item['frame_id'] == [0, 1, 2] and len(item['instances']) == 3


def test_some_classes(folder):
    data = build(folder, metainfo=dict(classes=('fox',)))
    assert data.metainfo['category_ids'] == (7,)
    assert [[instance['instance_id'] for instance in frame['instances']] for frame in data[0]['images']] == [
        [21],
        [],
        [21],
    ]


def test_videos_without_objects_are_kept_unless_told(folder):
    assert len(build(folder, filter_cfg=dict(filter_empty_gt=True))) == 1
    assert len(build(folder, filter_cfg=dict(filter_empty_gt=True), test_mode=True)) == 2


def test_annotations_may_be_missing_in_testing(folder):
    assert len(build(folder, data=content(annotations=None), test_mode=True)) == 2
    with pytest.raises(ValueError, match='no list annotations'):
        build(folder, data=content(annotations=None))


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(videos=[]), 'annotates videos that it does not list: \\[4\\]'),
        (dict(categories=[dict(id=7, name='fox')]), 'annotation 22 of video 4 has category 2'),
        (
            dict(annotations=[dict(id=1, video_id=4, category_id=7, segmentations=[None])]),
            'masks for 1 frames, the video',
        ),
        (
            dict(annotations=[dict(id=1, video_id=4, category_id=7, segmentations=[None] * 3, bboxes=[None])]),
            'boxes for 1 frames, the video has 3',
        ),
        (dict(annotations=[dict(id=1, video_id=4, segmentations=[None])]), 'annotation without category_id'),
        (dict(videos=[dict(id=4, height=4, width=4)]), 'video without file_names'),
        (dict(videos=None, images=[]), "MMDetection's YouTubeVISDataset reads"),
    ],
)
def test_annotations_that_contradict_themselves(folder, change, message):
    with pytest.raises(ValueError, match=message):
        build(folder, data=content(**change))


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(segmentations=None), 'annotation 21 of video 4: segmentations is None'),
        (dict(segmentations='mask'), "segmentations is 'mask'"),
        (
            dict(segmentations=[dict(rle(0), size=[20, 30]), None, None]),
            r'annotation 21 of video 4, frame 0 .*a/0.png.*size=\[20, 30\], but its image has 40x60',
        ),
        (dict(segmentations=[dict(size=[HEIGHT, WIDTH], counts=[0, 3]), None, None]), 'a/0.png.*cover 3 pixels'),
        (dict(segmentations=[[[1, 1, float('nan'), 1, 5, 5]], None, None]), 'not finite'),
        (dict(bboxes=[[0, 1], None, None]), r'bbox is \[0, 1\]'),
        (dict(iscrowd='0'), "iscrowd is '0'"),
        (dict(id=22), 'it has the id 22 of annotations.0.'),
        (dict(id=2**31), 'id is 2147483648'),
        (dict(video_id=[4]), r'annotates videos that it does not list: \[\[4\]\]'),
        (dict(category_id='7'), "has category '7'"),
        (dict(id='a'), "id is 'a'"),
    ],
)
def test_records_that_contradict_themselves(folder, change, message):
    data = content()
    data['annotations'][0].update(change)
    with pytest.raises(ValueError, match=f'videos.json.*{message}'):
        build(folder, data=data)


def test_files_that_are_none(folder):
    with pytest.raises(FileNotFoundError, match='check data_root'):
        VideoInstanceDataset(ann_file=str(folder / 'nowhere.json'))
    (folder / 'cut.json').write_text('{"videos": [')
    with pytest.raises(ValueError, match='cut.json is not valid JSON'):
        VideoInstanceDataset(ann_file=str(folder / 'cut.json'))


def test_another_number_of_classes(folder):
    with pytest.raises(ValueError, match='has 2 categories, but OVISDataset has 25 classes'):
        build(folder, OVISDataset)


def pipelines():
    return Config.fromfile(CONFIGS / '_base_' / 'datasets' / 'youtube_vis_2019.py')


def through(folder, pipeline, index=0, **options):
    pytest.importorskip('mmdet.datasets')
    with DefaultScope.overwrite_default_scope('mmdet'):
        return build(folder, pipeline=pipeline, **options)[index]


def test_training_clips(folder):
    """Frames in order, one size and flip, masks that move with the pixels, crowds left out."""
    augmentations = set()
    for _ in range(12):
        packed = through(folder, pipelines().train_pipeline)
        frames = packed['data_samples'].video_data_samples
        assert packed['inputs'].shape[:2] == (2, 3) and packed['inputs'].shape[2] in (360, 480)
        assert frames[0].frame_id < frames[1].frame_id
        assert frames[0].flip == frames[1].flip and frames[0].img_shape == frames[1].img_shape
        augmentations.add((frames[0].img_shape, frames[0].flip))
        for frame in frames:
            ids = frame.gt_instances.instances_ids.tolist()
            assert ids == {0: [21, 22], 1: [22], 2: [21]}[frame.frame_id]
            masks = frame.gt_instances.masks
            assert masks.masks.shape[1:] == frame.img_shape
            for mask, key in zip(masks.masks, ids):
                columns = np.flatnonzero(mask.any(0)) / mask.shape[1] * WIDTH
                left = {21: 0, 22: 20}[key] + 2 * frame.frame_id * (1 + (key == 22))
                assert columns[0] == pytest.approx(WIDTH - left - 20 if frame.flip else left, abs=0.6)
    assert len(augmentations) > 1


def test_clips_of_a_single_frame_and_of_fewer_than_asked(folder):
    packed = through(folder, pipelines().train_pipeline, index=1)
    assert packed['inputs'].shape[0] == 2 and len(packed['data_samples'][0].gt_instances.labels) == 0
    many = pipelines().train_pipeline
    many[0].num_ref_imgs = 4
    assert through(folder, many)['inputs'].shape[0] == 5


def test_whole_videos(folder):
    packed = through(folder, pipelines().test_pipeline, test_mode=True)
    assert packed['inputs'].shape == (3, 3, 360, 540)
    frame = packed['data_samples'][2]
    assert frame.ori_shape == (HEIGHT, WIDTH) and len(frame.instances) == 2 and 'gt_instances' not in frame


def test_frames_of_different_sizes(folder):
    cv2.imwrite(str(folder / 'a' / '1.png'), np.zeros((20, 60, 3), np.uint8))
    with pytest.raises(ValueError, match=r'video 4 have different sizes.*a/1.png'):
        through(folder, pipelines().test_pipeline, test_mode=True)


def test_an_unreadable_frame_is_named(folder):
    (folder / 'a' / '1.png').write_bytes(b'nothing')
    with pytest.raises(ValueError, match='a/1.png is not a readable image'):
        through(folder, pipelines().test_pipeline, test_mode=True)
    os.remove(folder / 'a' / '1.png')
    with pytest.raises(FileNotFoundError, match='1.png'):
        through(folder, pipelines().test_pipeline, test_mode=True)


def test_registered():
    for name in ('YouTubeVIS2019Dataset', 'YouTubeVIS2021Dataset', 'OVISDataset', 'VideoInstanceDataset'):
        assert DATASETS.get(f'm2f_mm.{name}') is not None
    assert TRANSFORMS.get('m2f_mm.PackClipInputs') is not None


@pytest.mark.skipif(not DAVIS.is_dir(), reason=f'no real clips in {DAVIS}')
def test_real_annotations():
    data = YouTubeVIS2019Dataset(ann_file=str(DAVIS / 'train.json'), pipeline=[])
    assert len(data) == 7 and data.metainfo['classes'] == YouTubeVIS2019Dataset.METAINFO['classes']
    names = [data.metainfo['classes'][label] for label in sorted(set(sum(map(data.get_cat_ids, range(7)), [])))]
    assert names == ['person', 'sedan', 'dog', 'cow', 'tennis_racket']
