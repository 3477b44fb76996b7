"""Ground truth beside a prediction: from files of a user, and from the data of a model's config."""

import json

import numpy as np
import pytest
from PIL import Image

pytest.importorskip('mmdet')

from m2f_mm.apis.result_formats import coco_dataset, labelme_record
from m2f_mm.apis.results import Result, ResultSegment
from m2f_mm.apis.truth import KnownImages, truth_of_file
from m2f_mm.datasets.converters.shapes import write_shapes
from m2f_mm.datasets.shapes import ShapesSpec
from tests.helpers.small_models import DETECTOR, SEGMENTOR, thin_config

CLASSES = ('disc', 'square', 'triangle', 'ring', 'sky', 'ground', 'water')
SIZE = (40, 60)
IMAGE = np.zeros((*SIZE, 3), np.uint8)


class Model:
    """What truth needs of a Segmenter."""

    classes, palette, is_thing = CLASSES, None, [True] * 4 + [False] * 3
    name = weights = 'model'
    tasks = ('panoptic', 'semantic')

    def __init__(self, cfg=None):
        self.cfg = cfg


def given(names=CLASSES, file='a b.jpg'):
    """A result with two masks, as if somebody had annotated the image."""
    ids = np.zeros(SIZE, np.int32)
    ids[5:20, 10:30], ids[25:35, 40:55] = 1, 2
    result = Result(file, IMAGE, 'instance', [], names)
    for value, label in ((1, 0), (2, 3)):
        result.segments.append(
            ResultSegment(label, names[label], None, True, value, (0, 0, 1, 1), SIZE, ids=ids, value=value)
        )
    return result


def write(path, content):
    path.write_text(json.dumps(content))
    return str(path)


def masks_of(result):
    return {segment.name: segment.mask.sum() for segment in result}


def test_coco(tmp_path):
    """The image is found among others by its name, also by the one that it has once a browser has sent it."""
    others = [given(file='x/other.jpg'), given(file='train/a b.jpg')]
    path = write(tmp_path / 'instances.json', coco_dataset(others))
    for name in ('a b.jpg', 'a_b.jpg'):
        truth = truth_of_file(path, IMAGE, name, Model())
        assert masks_of(truth) == dict(disc=300, ring=150) and truth.classes is CLASSES
    with pytest.raises(ValueError, match=r'instances.json has no images of the name c.jpg, among 2'):
        truth_of_file(path, IMAGE, 'c.jpg', Model())
    single = write(tmp_path / 'one.json', coco_dataset(others[:1]))
    assert len(truth_of_file(single, IMAGE, 'c.jpg', Model())) == 2  # there is no other


def test_other_classes_and_labelme(tmp_path):
    """Classes that the model does not have stay what they are."""
    record = labelme_record(given(('cat', 'x', 'x', 'dog')))
    truth = truth_of_file(write(tmp_path / 'a.json', record), IMAGE, 'a.jpg', Model())
    assert set(masks_of(truth)) == {'cat', 'dog'} and list(truth.classes) == ['cat', 'dog']


def test_label_map(tmp_path):
    labels = np.full(SIZE, 255, np.uint8)
    labels[:10], labels[30:] = 4, 6
    Image.fromarray(labels).save(tmp_path / 'a.png')
    truth = truth_of_file(str(tmp_path / 'a.png'), IMAGE, 'a.jpg', Model())
    assert masks_of(truth) == dict(sky=600, water=600) and truth.kind == 'semantic'
    labels[0, 0] = 9
    Image.fromarray(labels).save(tmp_path / 'a.png')
    with pytest.raises(ValueError, match='a.png has the value 9, but the labels of the model are 0 to 6'):
        truth_of_file(str(tmp_path / 'a.png'), IMAGE, 'a.jpg', Model())


@pytest.mark.parametrize(
    'name, content, message',
    [
        ('a.json', b'{', 'a.json is not valid JSON'),
        ('a.json', b'[]', 'a.json is neither a COCO JSON nor one of labelme'),
        ('a.json', b'{}', 'a.json has no annotation of a.jpg'),
        ('a.png', b'x', 'a.png cannot be read as a label map'),
        ('a.pkl', b'x', 'a.pkl is no annotation'),
    ],
)
def test_what_is_no_truth(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        truth_of_file(str(tmp_path / name), IMAGE, 'a.jpg', Model())
    assert str(tmp_path) not in str(error.value) and 'm2f_truth' not in str(error.value)


def test_of_another_size(tmp_path):
    path = write(tmp_path / 'a.json', coco_dataset([given()]))
    with pytest.raises(ValueError, match='a.json has no annotation'):
        truth_of_file(path, IMAGE[:30], 'a b.jpg', Model())
    Image.fromarray(IMAGE[:30, :, 0]).save(tmp_path / 'a.png')
    with pytest.raises(ValueError, match=r'a.png has \(30, 60\) pixels'):
        truth_of_file(str(tmp_path / 'a.png'), IMAGE, 'a.jpg', Model())


def test_files_elsewhere_are_not_read(tmp_path):
    """Names in an uploaded JSON lead nowhere."""
    Image.fromarray(IMAGE[..., 0]).save(tmp_path / 'secret.png')
    content = coco_dataset([given()])
    content['images'][0]['file_name'] = str(tmp_path / 'secret.png')
    segment = dict(id=1, category_id=1, iscrowd=0, area=1, bbox=[0, 0, 1, 1])
    panoptic = dict(
        content, annotations=[dict(image_id=1, file_name=str(tmp_path / 'secret.png'), segments_info=[segment])]
    )
    (tmp_path / 'up').mkdir()
    with pytest.raises(ValueError, match='has no annotation of a.jpg'):
        truth_of_file(write(tmp_path / 'up' / 'p.json', panoptic), IMAGE, 'a.jpg', Model())
    truth = truth_of_file(write(tmp_path / 'up' / 'c.json', content), IMAGE, 'a.jpg', Model())
    assert len(truth) == 2 and truth.path is None


@pytest.mark.parametrize('name', [DETECTOR, SEGMENTOR])
def test_validation_data(tmp_path, name, monkeypatch):
    """Images of the validation data are known by name and size."""
    pytest.importorskip('mmseg')
    write_shapes(str(tmp_path), ShapesSpec(height=64, width=64), train=1, val=2, progress=False)
    monkeypatch.setenv('SHAPES_ROOT', f'{tmp_path}/')
    data = KnownImages(Model(thin_config(name)))
    image = np.asarray(Image.open(tmp_path / 'img_dir/val/000000.jpg'))
    truth = data.truth(image, '000000.jpg')
    assert truth.kind == ('panoptic' if name == DETECTOR else 'semantic') and len(truth) > 2
    labels = np.asarray(Image.open(tmp_path / 'ann_dir/val/000000.png'))
    assert {segment.name for segment in truth} == {CLASSES[label] for label in np.unique(labels)}
    assert sum(segment.area for segment in truth) == labels.size
    assert data.truth(image, 'other.jpg') is None and data.truth(image[:50], '000000.jpg') is None


def test_validation_data_that_are_not_here(tmp_path):
    cfg = thin_config()
    cfg.val_dataloader.dataset.data_root = str(tmp_path / 'nowhere')
    assert KnownImages(Model(cfg)).truth(IMAGE, '000000.jpg') is None
