"""Generated videos: what moves, hides, leaves and returns, and the files that say so."""

import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_masks

from m2f_mm.datasets import VideoInstanceDataset
from m2f_mm.datasets.converters.shapes import write_shape_videos
from m2f_mm.datasets.shape_videos import ShapeVideo, ShapeVideoSpec
from m2f_mm.datasets.shapes import CLASSES, THINGS
from tests.helpers.commands import ROOT, output_of

SPEC = ShapeVideoSpec(64, 96, length=20)


def video(seed, spec=SPEC):
    return ShapeVideo(spec, np.random.default_rng(seed))


def test_videos_depend_on_the_seed_only():
    first, again = list(video(1)), list(video(1))
    assert len(first) == len(video(1)) == 20
    for (image, segments), (image_again, segments_again) in zip(first, again):
        np.testing.assert_array_equal(image, image_again)
        np.testing.assert_array_equal(segments, segments_again)
    assert (first[0][0] != next(iter(video(2)))[0]).any()


def test_videos_hold_what_makes_tracking_hard():
    """Objects that are hidden or leave, and some of them return; those in front stay in front."""
    left, returned, covered = 0, 0, 0
    for seed in range(20):
        shown = video(seed)
        frames = [segments for _, segments in shown]
        for segment in range(shown.num_stuff, len(shown.labels)):
            visible = ''.join('1' if (frame == segment).any() else '0' for frame in frames).strip('0')
            left += any(
                (frame == segment).any() and not (following == segment).any()
                for frame, following in zip(frames, frames[1:])
            )
            returned += '01' in visible
        areas = [np.bincount(frame.ravel(), minlength=len(shown.labels))[shown.num_stuff :] for frame in frames]
        covered += (np.ptp(np.array(areas), 0) > 0.5 * np.max(areas, 0)).any()
        assert all(label < len(THINGS) for label in shown.labels[shown.num_stuff :])
    assert left > 10 and returned > 3 and covered > 10


def test_an_object_moves_back_and_forth():
    """A long video shows the same ways again."""
    actor = video(3).actors[0]
    period = 2 * (actor.bounds + actor.margin) / np.abs(actor.velocity)
    for axis in range(2):
        assert actor.centre(period[axis])[axis] == pytest.approx(actor.centre(0)[axis])
    ways = np.array([actor.centre(t) for t in range(2000)])
    assert (ways >= -actor.margin - 1e-6).all() and (ways <= actor.bounds + 1e-6).all()
    steps = np.abs(np.diff(ways, axis=0))
    assert (steps <= np.abs(actor.velocity) + 1e-6).all()


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    out = str(tmp_path_factory.mktemp('data') / 'videos')
    assert write_shape_videos(out, SPEC, seed=3, train=3, val=2, progress=False)
    return out


def test_files_are_a_data_set_of_videos(root):
    data = VideoInstanceDataset(ann_file=f'{root}/val.json', data_prefix=dict(img_path=f'{root}/val/JPEGImages'))
    assert data.metainfo['classes'] == CLASSES and len(data) == 2
    for number, item in enumerate(data):
        shown = ShapeVideo(SPEC, np.random.default_rng([3, 1, number]))
        for frame, (image, segments) in zip(item['images'], shown):
            written = np.asarray(Image.open(frame['img_path'])).astype(int)
            assert written.shape == image.shape and np.abs(written - image).mean() < 6  # JPEG
            for instance in frame['instances']:
                mask = coco_masks.decode(instance['mask']).astype(bool)
                (index,) = np.unique(segments[mask])
                np.testing.assert_array_equal(mask, segments == index)
                assert instance['bbox_label'] == shown.labels[index]
                columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
                assert instance['bbox'] == [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
            visible = np.bincount(segments.ravel(), minlength=len(shown.labels))
            assert len(frame['instances']) == (visible >= 4).sum()


def test_annotations_say_what_is_not_seen(root):
    content = json.load(open(f'{root}/train.json'))
    assert [video['length'] for video in content['videos']] == [20] * 3
    assert {bool(rle) for each in content['annotations'] for rle in each['segmentations']} == {True, False}
    for each in content['annotations']:
        for rle, area, box in zip(each['segmentations'], each['areas'], each['bboxes']):
            assert (rle is None) == (area is None) == (box is None)
            assert rle is None or area == coco_masks.area(rle) >= 4


def test_a_complete_data_set_is_left_alone(root):
    assert not write_shape_videos(root, SPEC, seed=3, train=3, val=2, progress=False)
    with pytest.raises(FileExistsError, match='other parameters'):
        write_shape_videos(root, SPEC, seed=4, train=3, val=2, progress=False)


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(length=0), 'length=0'),
        (dict(speed=-1), 'got -1'),
        (dict(height=8), '8x128'),
        (dict(difficulty=2), 'got 2'),
    ],
)
def test_impossible_videos_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ShapeVideoSpec(**options)


def test_the_tool(tmp_path):
    command = 'tools/dataset_converters/make_shape_videos.py --train 1 --val 1 --size 32x40 --length 3 --out'.split()
    for line in ('is complete', 'nothing to do'):
        assert line in output_of(*command, tmp_path / 'videos', cwd=ROOT)
