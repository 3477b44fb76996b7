"""tools/check_dataset.py names what is wrong, and only that."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from m2f_mm.apis.check_dataset import check_dataset
from m2f_mm.datasets.converters.shapes import write_shapes
from m2f_mm.datasets.shapes import ShapesSpec
from tests.helpers.commands import run_python

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def shapes(tmp_path, monkeypatch):
    root = tmp_path / 'shapes'
    write_shapes(str(root), ShapesSpec(height=64, width=64), train=4, val=2, progress=False)
    monkeypatch.setenv('SHAPES_ROOT', f'{root}/')
    return root


def problems_of(task, split='train', workers=0):
    pytest.importorskip('mmseg' if task == 'semantic' else 'mmdet')
    cfg = Config.fromfile(ROOT / f'configs/demo/mask2former_r18_shapes-{task}.py')
    count, faults = check_dataset(cfg, split, workers, progress=False)
    return count, [(Path(fault.file).name, str(fault)) for fault in faults]


@pytest.mark.parametrize('task', ['panoptic', 'instance', 'semantic'])
def test_whole_data_has_no_problem(shapes, task):
    assert problems_of(task) == (4, [])
    assert problems_of(task, 'val') == (2, [])


def change(path, how):
    content = json.loads(path.read_text())
    how(content)
    path.write_text(json.dumps(content))


def test_broken_and_missing_images(shapes):
    first, second = sorted((shapes / 'img_dir/train').iterdir())[:2]
    first.write_bytes(first.read_bytes()[:100])
    second.unlink()
    for task in ('panoptic', 'instance', 'semantic'):
        count, problems = problems_of(task)
        if task == 'semantic':  # MMSegmentation lists the images that are there
            assert count == 3
        else:
            assert count == 4 and problems[1][0] == second.name and 'the file does not exist' in problems.pop(1)[1]
        assert problems[0][0] == first.name and 'is not a readable image' in problems[0][1] and len(problems) == 1


def test_panoptic_annotations(shapes):
    def wrong(content):
        content['annotations'][1]['segments_info'][0]['id'] += 77
        content['images'][2]['height'] += 1

    change(shapes / 'annotations/panoptic_train.json', wrong)
    _, problems = problems_of('panoptic', workers=2)
    texts = sorted(text for _, text in problems)
    assert len(texts) == 2 and 'disagree: segment ids' in texts[0] and 'it has 64x64 pixels' in texts[1]


def test_instance_annotations(shapes):
    empties = []

    def wrong(content):
        content['categories'].append(dict(id=99, name='comet'))
        content['annotations'][0]['category_id'] = 99
        content['annotations'][1]['image_id'] = 4711
        annotation = next(a for a in content['annotations'][2:] if not a['iscrowd'])
        annotation['segmentation']['counts'] = [64 * 64]
        empties.append(annotation)

    change(shapes / 'annotations/instances_train.json', wrong)
    _, problems = problems_of('instance')
    what = [text for _, text in problems]
    assert sum("annotations of category 99, 'comet', which is not among the classes" in text for text in what) == 1
    assert sum('its image 4711 is not in the list' in text for text in what) == 1
    assert sum('no pixel is set' in text for text in what) == 1
    assert sum('has an empty mask' in text for text in what) == 1 and len(what) == 4


def test_semantic_maps(shapes):
    first, second, third = sorted((shapes / 'ann_dir/train').iterdir())[:3]
    pixels = np.asarray(Image.open(first)).copy()
    pixels[0, 0] = 42
    Image.fromarray(pixels).save(first)
    Image.fromarray(np.full_like(pixels, 255)).save(second)
    Image.fromarray(pixels[:50]).save(third)
    _, problems = problems_of('semantic')
    what = [text for _, text in problems]
    assert sum('every pixel has the ignored label 255' in text for text in what) == 1
    assert sum('value 42 in 2 of 4 files' in text and 'there are 7 classes' in text for text in what) == 1
    assert sum('has 50x64 pixels (HxW), but its image' in text for text in what) == 1 and len(what) == 3


def test_broken_label_maps_are_named(shapes):
    """Not the image, which is whole."""
    first = sorted((shapes / 'ann_dir/train').iterdir())[0]
    first.write_bytes(first.read_bytes()[:-40])
    _, problems = problems_of('semantic')
    assert [where for where, _ in problems] == [first.name]


def test_labels_of_16_bits(tmp_path):
    """65535 is what is ignored there, not 255, which is a class."""
    pytest.importorskip('mmseg')
    for folder in ('images', 'labels'):
        (tmp_path / folder).mkdir()
    for name, label in (('a', 255), ('b', 900)):
        labels = np.full((8, 8), 65535, np.uint16)
        labels[0] = label
        Image.fromarray(labels).save(tmp_path / f'labels/{name}.tif')
        Image.new('RGB', (8, 8)).save(tmp_path / f'images/{name}.jpg')
    pipeline = [dict(type='m2f_mm.LoadImage'), dict(type='m2f_mm.LoadLabelMap')]
    dataset = dict(
        type='m2f_mm.ADE20KFullDataset',
        data_root=str(tmp_path),
        pipeline=pipeline,
        data_prefix=dict(img_path='images', seg_map_path='labels'),
    )
    cfg = Config(dict(default_scope='mmseg', train_dataloader=dict(dataset=dataset)))
    count, problems = check_dataset(cfg, 'train', 0, progress=False)
    assert count == 2
    assert (
        sum(
            'value 900 in 1 of 2 files' in str(fault) and 'there are 847 classes' in str(fault)
            for fault in problems
            if fault.fatal
        )
        == 1
    )


def test_command_line(shapes):
    pytest.importorskip('mmdet')
    (shapes / 'annotations/panoptic_val.json').write_text('{"images": [')
    done = run_python(ROOT / 'tools/check_dataset.py', 'mask2former_r18_shapes-panoptic', '--workers', '0')
    assert done.returncode == 1, done.output
    assert 'train: 4 items, 0 problems' in done.output and 'val: 0 items, 1 problems' in done.output
    assert 'is not valid JSON' in done.output


def test_parts_of_a_concatenation(shapes):
    """With and without masks, as images with boxes alone are mixed in; each is read by its own pipeline."""
    pytest.importorskip('mmdet')
    cfg = Config.fromfile(ROOT / 'configs/demo/mask2former_r18_shapes-instance.py')
    masks = cfg.train_dataloader.dataset
    boxes = copy.deepcopy(masks)
    boxes.pipeline[1].with_mask = False
    cfg.train_dataloader.dataset = dict(
        type='RepeatDataset', times=2, dataset=dict(type='ConcatDataset', datasets=[masks, boxes])
    )
    first = sorted((shapes / 'img_dir/train').iterdir())[0]
    first.write_bytes(first.read_bytes()[:-400])
    count, problems = check_dataset(cfg, 'train', 0, progress=False)
    assert count == 8 and [Path(fault.file) for fault in problems] == [first] * 2
