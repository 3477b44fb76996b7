"""Real folders are recognised without a word, and hold what their READMEs say."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from m2f_mm.datasets.formats import recognise, summary, write_training_form

DATA = Path(__file__).resolve().parents[4] / 'shared/data'
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f'needs {DATA}')
CAMVID = (
    'Sky', 'Building', 'Pole', 'Road', 'Pavement', 'Tree', 'SignSymbol', 'Fence', 'Car', 'Pedestrian', 'Bicyclist',
    'Unlabelled',
)  # fmt: skip


@pytest.mark.parametrize(
    'folder, images, form, tasks, splits, classes',
    [
        ('fruits_nuts', None, 'COCO instances', 'instance boxes', dict(train=13, val=5), 3),
        ('coco_instances', None, 'COCO instances', 'instance boxes', dict(train=12, val=10), 80),
        ('coco_panoptic', None, 'COCO panoptic', 'panoptic instance semantic', dict(train=58, val=31), 133),
        ('coco_panoptic_derived', 'coco_panoptic', 'COCO instances', 'instance boxes', dict(train=58, val=31), 80),
        ('camvid', None, 'index masks', 'semantic', dict(train=31, val=11), 12),
        ('davis', None, 'index masks', 'semantic', {'': 65}, 3),
        ('davis_ytvis_derived', 'davis', 'YouTube-VIS', 'video instance boxes', dict(train=44, val=21), 40),
        ('ade20k/ADEChallengeData2016', None, 'ADE20K', 'semantic', dict(train=1, val=3), 150),
        ('ade20k_derived', None, 'COCO panoptic', 'panoptic instance semantic', dict(train=4, val=1), 150),
    ],
)
def test_real_folders(folder, images, form, tasks, splits, classes):
    if not (DATA / folder).is_dir():
        pytest.skip(f'needs {DATA / folder}')
    data = recognise(str(DATA / folder), images=images and str(DATA / images))
    assert data.format == form and ' '.join(data.tasks) == tasks and len(data.classes) == classes
    assert {name: len(records) for name, records in data.splits.items()} == splits
    assert not data.faults and form in summary(data)


def test_masks_of_real_polygons_are_those_of_pycocotools(capsys):
    path = DATA / 'coco_instances/annotations/instances_val2017.json'
    coco = COCO(str(path))
    ids = {image['file_name']: image['id'] for image in json.loads(path.read_text())['images']}
    data = recognise(str(DATA / 'coco_instances'))
    for record in data.splits['val']:
        annotations = coco.loadAnns(coco.getAnnIds(ids[Path(record.image).name]))
        assert len(annotations) == len(record.objects)
        for annotation, each in zip(annotations, record.objects):
            assert np.array_equal(coco.annToMask(annotation).astype(bool), each.mask(record.size))
            assert coco.cats[annotation['category_id']]['name'] == data.classes[each.label]
            assert bool(annotation['iscrowd']) == each.is_crowd


def test_camvid_with_its_names(tmp_path):
    data = recognise(str(DATA / 'camvid'), classes=CAMVID)
    assert data.classes == list(CAMVID[:-1]) and not data.questions
    assert any("'Unlabelled' (the value 11, 3.0% of the pixels) is ignored" in note for note in data.notes)
    form = write_training_form(data, str(tmp_path))
    name = open(form.splits['val'].ann_file).read().splitlines()[0]
    written = np.array(Image.open(f'{form.splits["val"].seg_prefix}/{name}.png'))
    source = np.array(Image.open(DATA / 'camvid/valannot' / name))
    assert np.array_equal(written, np.where(source == 11, 255, source))


def test_davis_asks_what_255_is():
    data = recognise(str(DATA / 'davis'))
    assert 'beside 0 alone in 63 of 65 masks' in data.questions[-1].text
