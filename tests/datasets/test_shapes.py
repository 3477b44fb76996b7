import json
import os

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from m2f_mm.datasets import LoadPanopticSegments, PanopticDataset
from m2f_mm.datasets.converters.shapes import write_shapes
from m2f_mm.datasets.shapes import CLASSES, STUFF, THINGS, ShapesSpec, make_scene
from tests.helpers.commands import ROOT, output_of

SPEC = ShapesSpec(64, 96, crowd=0.5, void=0.5, heap=0.5)


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    out = str(tmp_path_factory.mktemp('data') / 'shapes')
    assert write_shapes(out, SPEC, seed=3, train=12, val=4, progress=False)
    return out


def read(path):
    return np.asarray(Image.open(path))


def test_scenes_depend_on_the_seed_only():
    first, again, other = (make_scene(SPEC, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.segments, again.segments)
    assert (first.image != other.image).any()


def test_scenes_hold_what_makes_segmentation_hard():
    scenes = [make_scene(SPEC, np.random.default_rng(seed)) for seed in range(40)]
    for scene in scenes:
        assert scene.image.shape == (64, 96, 3) and scene.segments.shape == (64, 96)
        assert np.unique(scene.segments[scene.segments >= 0]).tolist() == list(range(len(scene.labels)))
        stuff = [label for label in scene.labels if label >= len(THINGS)]
        assert len(set(stuff)) == len(stuff)  # one segment for each kind of stuff
    labels = {label for scene in scenes for label in scene.labels}
    assert labels == set(range(len(CLASSES))) and len(STUFF) == 3
    assert 5 < sum(any(scene.crowd) for scene in scenes) < 35
    assert 5 < sum((scene.segments < 0).any() for scene in scenes) < 40
    most = max(np.bincount(np.array(scene.labels)[~np.array(scene.crowd)]).max() for scene in scenes)
    assert most >= 5  # a heap of one class


def test_three_forms_tell_the_same(root):
    dataset = PanopticDataset(
        data_root=root,
        ann_file='annotations/panoptic_train.json',
        data_prefix=dict(img='img_dir/train', seg='annotations/panoptic_train'),
    )
    assert dataset.metainfo['classes'] == CLASSES and len(dataset) == 12
    with open(f'{root}/annotations/instances_train.json') as stream:
        instances = json.load(stream)
    crowds = 0
    for item in dataset:
        name = os.path.splitext(os.path.basename(item['img_path']))[0]
        results = LoadPanopticSegments()(item)
        semantic = read(f'{root}/ann_dir/train/{name}.png')
        lookup = np.append(results['gt_segment_labels'], 255)
        panoptic = lookup[np.where(results['gt_seg_map'] == 255, -1, results['gt_seg_map'].astype(int) - 256)]
        here = [a for a in instances['annotations'] if a['image_id'] == item['img_id']]
        masks = [coco_mask.decode(a['segmentation']).astype(bool) for a in here]
        for annotation, mask in zip(here, masks):
            assert annotation['area'] == mask.sum() > 0
            np.testing.assert_array_equal(semantic[mask], annotation['category_id'] - 1)
            x, y, w, h = annotation['bbox']
            assert mask[y : y + h, x : x + w].sum() == mask.sum()
            assert mask[y].any() and mask[y + h - 1].any() and mask[:, x].any() and mask[:, x + w - 1].any()
            if annotation['iscrowd']:
                crowds += 1
                assert (panoptic[mask] == 255).all()  # crowd is void for a panoptic training
                panoptic[mask] = annotation['category_id'] - 1
        np.testing.assert_array_equal(panoptic, semantic)
        things = [segment for segment in item['segments_info'] if segment['category'] < len(THINGS)]
        assert len(things) == len(here)
    assert crowds > 0
    assert [category['id'] for category in instances['categories']] == [1, 2, 3, 4]


def test_a_complete_data_set_is_left_alone(root, tmp_path):
    before = {entry: os.stat(f'{root}/{entry}').st_mtime_ns for entry in os.listdir(root)}
    assert not write_shapes(root, SPEC, seed=3, train=12, val=4)
    assert before == {entry: os.stat(f'{root}/{entry}').st_mtime_ns for entry in os.listdir(root)}
    with pytest.raises(FileExistsError, match='other parameters.*--overwrite'):
        write_shapes(root, SPEC, seed=4, train=12, val=4)
    (tmp_path / 'mine.txt').write_text('precious')
    for overwrite in (False, True):
        with pytest.raises(FileExistsError, match='holds other files'):
            write_shapes(str(tmp_path), SPEC, overwrite=overwrite)
    assert os.listdir(tmp_path) == ['mine.txt']


def test_an_interrupted_run_leaves_no_data_set(tmp_path, monkeypatch):
    out = str(tmp_path / 'shapes')

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr('m2f_mm.datasets.converters.shapes._instances', interrupted)
        with pytest.raises(KeyboardInterrupt):
            write_shapes(out, SPEC, train=2, val=1, progress=False)
    assert not os.path.exists(out)
    assert write_shapes(out, SPEC, train=2, val=1, progress=False)
    assert sorted(os.listdir(tmp_path)) == ['shapes']


def test_the_number_of_images_does_not_change_them(root, tmp_path):
    write_shapes(str(tmp_path / 'few'), SPEC, seed=3, train=2, val=1, progress=False)
    for path in ('img_dir/train/000001.jpg', 'annotations/panoptic_val/000000.png', 'ann_dir/train/000000.png'):
        assert (tmp_path / 'few' / path).read_bytes() == open(f'{root}/{path}', 'rb').read()


@pytest.mark.parametrize(
    'kwargs, message', [(dict(height=8), '32x32'), (dict(difficulty=2), 'difficulty'), (dict(crowd=-1), 'crowd')]
)
def test_impossible_scenes_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        ShapesSpec(**kwargs)


def test_the_tool(tmp_path):
    command = 'tools/dataset_converters/make_shapes.py --train 2 --val 1 --size 40x48 --out'.split()
    first = output_of(*command, tmp_path / 's', cwd=ROOT)
    assert 'is complete' in first and '2/2' in first
    assert read(tmp_path / 's/img_dir/val/000000.jpg').shape == (40, 48, 3)
    assert 'nothing to do' in output_of(*command, tmp_path / 's', cwd=ROOT)
