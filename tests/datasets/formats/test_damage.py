"""Whatever stands in an annotation file, the answer is data with faults or a ``ValueError``, never another error."""

import json
import random
from functools import partial

import pytest

from m2f_mm.datasets.formats import recognise, summary, write_training_form
from tests.helpers import own_data

CASES = 24  # of each file, drawn at random
VALUES = (None, 'x', '', -1, 0, 3.7, 10**30, float('nan'), [], {}, [[]], True, '../../etc/passwd', [1, 2, 3], '5')


def places(value, path=()):
    """Every place in a JSON, without more than three items of a list."""
    yield path
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*path, key))
    elif isinstance(value, list):
        for index in range(min(3, len(value))):
            yield from places(value[index], (*path, index))


def damaged(content, path, value):
    content = json.loads(json.dumps(content))
    inner = content
    for key in path[:-1]:
        inner = inner[key]
    if value == 'gone':
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return content


def outcome(root, out):
    try:
        data = recognise(str(root))
        summary(data)
        write_training_form(data, str(out))
    except (ValueError, FileNotFoundError) as error:
        assert str(error)


JSONS = {
    'coco': (own_data.coco, 'annotations/all.json'),
    'counts': (own_data.coco_gaps, 'annotations/all.json'),
    'roboflow': (own_data.roboflow_coco, 'train/_annotations.coco.json'),
    'panoptic': (own_data.coco_panoptic, 'annotations/panoptic_val.json'),
    'videos': (own_data.youtube_vis, 'train/instances.json'),
    'labelme': (own_data.labelme, '0.json'),
    'label studio': (own_data.label_studio, 'project-1.json'),
    'label studio, short': (partial(own_data.label_studio, short=True), 'project-1.json'),
}


@pytest.mark.parametrize('write, name', JSONS.values(), ids=JSONS)
def test_json_with_any_value_anywhere(tmp_path, write, name):
    write(tmp_path / 'data')
    path = tmp_path / 'data' / name
    content = json.loads(path.read_text())
    draw = random.Random(0)
    cases = [(place, value) for place in places(content) if place for value in (*VALUES, 'gone')]
    for place, value in draw.sample(cases, min(len(cases), CASES)):
        path.write_text(json.dumps(damaged(content, place, value)))
        try:
            outcome(tmp_path / 'data', tmp_path / 'out')
        except Exception as error:
            raise AssertionError(f'{place} = {value!r}: {error!r}') from error


TEXTS = {
    'yolo': (own_data.yolo, 'labels/train/0.txt'),
    'yaml': (own_data.yolo, 'data.yaml'),
    'semantic yaml': (own_data.yolo_semantic, 'data.yaml'),
    'cvat': (own_data.cvat_xml, 'annotations.xml'),
    'voc boxes': (own_data.voc_boxes, 'Annotations/0.xml'),
    'labelme xml': (own_data.labelme_xml, 'Annotations/0.xml'),
    'labelmap': (own_data.cvat_masks, 'labelmap.txt'),
    'classes': (own_data.index_masks_with_classes, 'classes.txt'),
    'colors': (own_data.rgb_masks, 'colors.csv'),
    'sets': (own_data.voc, 'VOC2012/ImageSets/Segmentation/train.txt'),
}


@pytest.mark.parametrize('write, name', TEXTS.values(), ids=TEXTS)
def test_text_with_any_damage(tmp_path, write, name):
    write(tmp_path / 'data')
    path = tmp_path / 'data' / name
    content = path.read_bytes()
    draw = random.Random(0)
    for _ in range(CASES // 2):
        start = draw.randrange(len(content))
        length = draw.choice((1, 1, 3, 20))
        filling = draw.choice((b'', b'x', b'-9', b'1e400', b'\xff\xfe', b'"', b'<', b'\n', b': [', b'\0'))
        path.write_bytes(content[:start] + filling + content[start + length :])
        try:
            outcome(tmp_path / 'data', tmp_path / 'out')
        except Exception as error:
            replaced = content[start : start + length]
            raise AssertionError(f'{filling!r} in the place of {replaced!r}: {error!r}') from error
