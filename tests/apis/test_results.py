"""Results of images, and what other tools get of them."""

import base64
import io
import json

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData, PixelData
from PIL import Image
from pycocotools import mask as coco_masks

from m2f_mm.apis.result_formats import (
    brush_rle,
    coco_dataset,
    coco_panoptic,
    label_studio_task,
    labelme_record,
    polygons,
    yolo_lines,
)
from m2f_mm.apis.results import result_of_sample
from m2f_mm.datasets.id_map import rgb_to_id
from m2f_mm.datasets.rle_masks import RLEMasks

mmdet_structures = pytest.importorskip('mmdet.structures')
CLASSES = ('cat', 'dog', 'sky')
SIZE = (40, 60)


def scene():
    """A ring, an object of two parts, and the rest, as bool masks (3, H, W)."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    distance = (y - 15) ** 2 + (x - 14) ** 2
    ring = (distance < 100) & (distance > 20)
    parts = np.zeros(SIZE, bool)
    parts[5:15, 30:40] = parts[20:35, 35:55] = True
    return np.stack((ring, parts, ~(ring | parts)))


def sample(form='bitmap'):
    masks = scene()
    boxes = torch.tensor([[5.0, 6, 24, 25], [30, 5, 55, 35]])
    instances = InstanceData(bboxes=boxes, scores=torch.tensor([0.5, 0.75]), labels=torch.tensor([0, 1]))
    if form == 'bitmap':
        instances.masks = torch.from_numpy(masks[:2])
    elif form == 'rle':
        instances.masks = RLEMasks(
            [coco_masks.encode(np.asfortranarray(mask, np.uint8)) for mask in masks[:2]], masks.shape[1:]
        )
    panoptic = np.full(SIZE, 2)
    panoptic[masks[0]], panoptic[masks[1]] = 1000, 2001
    panoptic[0] = len(CLASSES)  # void
    found = mmdet_structures.DetDataSample()
    found.pred_instances = instances
    found.pred_panoptic_seg = PixelData(
        sem_seg=torch.from_numpy(panoptic)[None], metainfo=dict(scores={1000: 0.9, 2001: 0.8, 2: 0.7})
    )
    found.pred_sem_seg = PixelData(sem_seg=torch.from_numpy(masks.argmax(0))[None])
    return found


def result(kind, form='bitmap'):
    image = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    things = [True, True, False]
    return result_of_sample(sample(form), image, CLASSES, 'a/b.jpg', kind=kind, is_thing=things)


def test_instances_in_every_form():
    """Best first; bitmaps and RLE give the same."""
    bitmaps, rles, boxes = (
        result(kind, form) for kind, form in (('instance', 'bitmap'), ('instance', 'rle')) + (('boxes', ''),)
    )
    for found in (bitmaps, rles):
        assert [segment.name for segment in found] == ['dog', 'cat'] and found.segments[0].score == 0.75
        assert np.array_equal(found.masks(), scene()[[1, 0]])
        assert [segment.area for segment in found] == [scene()[1].sum(), scene()[0].sum()]
        assert found.segments[0].box == (30, 5, 55, 35) and found.segments[1].is_thing
    assert boxes.kind == 'boxes' and not boxes.segments[0].has_mask and boxes.segments[0].area == 25 * 30
    assert len(bitmaps.above(0.6)) == 1


def test_panoptic_and_semantic():
    found = result('panoptic')
    masks = scene()
    masks[:, 0] = False
    assert [segment.name for segment in found] == ['cat', 'dog', 'sky']
    assert [segment.score for segment in found] == [0.9, 0.8, 0.7]
    assert np.array_equal(found.masks(), masks) and (found.semantic[0] == 255).all()
    for segment in found:
        assert np.array_equal(found.panoptic == segment.id, segment.mask)
        assert np.array_equal(coco_masks.decode(segment.rle).astype(bool), segment.mask)
    assert found.segments[0].box == (5, 6, 24, 25) and found.segments[2].is_thing is False
    semantic = result('semantic')
    assert [segment.score for segment in semantic] == [None] * 3 and np.array_equal(semantic.masks(), scene())


def test_a_kind_that_there_is_not():
    empty = mmdet_structures.DetDataSample()
    with pytest.raises(ValueError, match='has no predictions, only nothing'):
        result_of_sample(empty, np.zeros((2, 2, 3), np.uint8), CLASSES)


@pytest.mark.parametrize('kind', ['panoptic', 'instance', 'semantic', 'boxes'])
def test_files(kind, tmp_path):
    """Drawing, JSON."""
    found = result(kind, '' if kind == 'boxes' else 'bitmap')
    assert found.plot().shape == found.image.shape and (found.plot() != found.image).any()
    path = found.save(tmp_path / 'out.png')
    assert np.array_equal(np.asarray(Image.open(path)), found.plot())
    with_legend = found.plot(legend=True)
    assert len(with_legend) > len(found.image) and np.array_equal(with_legend[: len(found.image)], found.plot())
    content = json.loads(found.to_json())
    assert content['kind'] == kind and len(content['segments']) == len(found)
    if kind != 'boxes':
        rle = content['segments'][0]['rle']
        assert np.array_equal(coco_masks.decode(rle).astype(bool), found.segments[0].mask)


def test_the_image_itself_is_not_written_over(tmp_path):
    found = result('instance')
    found.path = str(tmp_path / 'b.png')
    Image.fromarray(found.image).save(found.path)
    with pytest.raises(ValueError, match='is the image itself'):
        found.save(found.path)
    with pytest.raises(ValueError, match='no image format'):
        found.save(tmp_path / 'b.txt')


def test_coco_reads_it_back(tmp_path):
    from pycocotools.coco import COCO

    path = tmp_path / 'coco.json'
    path.write_text(json.dumps(coco_dataset([result('instance'), result('panoptic')])))
    coco = COCO(str(path))
    masks = [coco.annToMask(each).astype(bool) for each in coco.loadAnns(coco.getAnnIds(imgIds=[1]))]
    assert np.array_equal(masks, scene()[[1, 0]])
    assert coco.anns[1]['category_id'] == 2 and coco.anns[1]['bbox'] == [30, 5, 25, 30] and coco.anns[1]['area'] == 400
    assert [category.get('isthing') for category in coco.cats.values()] == [1, 1, 0]
    content, record = coco_panoptic(result('panoptic'))
    ids = rgb_to_id(np.asarray(Image.open(io.BytesIO(content))))
    assert np.array_equal(ids, result('panoptic').panoptic)
    assert [each['area'] for each in record['segments_info']] == [segment.area for segment in result('panoptic')]
    with pytest.raises(ValueError, match='needs panoptic'):
        coco_panoptic(result('instance'))


def test_yolo():
    """One outline for each object: parts are joined, the hole of the ring is lost."""
    height, width = SIZE
    filled = scene()[:2].copy()
    y, x = np.mgrid[:height, :width]
    filled[0] = (y - 15) ** 2 + (x - 14) ** 2 < 100
    for line, label, expected in zip(yolo_lines(result('instance')).splitlines(), (1, 0), filled[::-1]):
        number, *numbers = line.split()
        points = np.array(numbers, float).reshape(-1, 2) * (width, height) - 0.5
        drawn = cv2.fillPoly(np.zeros(SIZE, np.uint8), [points.round().astype(np.int32)], 1).astype(bool)
        assert int(number) == label and (drawn & expected).sum() == expected.sum()
        assert (drawn & ~expected).sum() < 30  # the bridge
    boxes = yolo_lines(result('boxes', ''), scores=True).splitlines()
    assert boxes[0].split() == ['1', *(f'{value:.6g}' for value in (42.5 / 60, 0.5, 25 / 60, 0.75)), '0.75']


def test_labelme():
    """Polygons where they say all, a mask for the ring."""
    record = labelme_record(result('instance'))
    assert (record['imageHeight'], record['imageWidth']) == SIZE and record['imagePath'] == 'b.jpg'
    *parts, ring = record['shapes']
    assert [part['group_id'] for part in parts] == [1, 1] and ring['shape_type'] == 'mask'
    drawn = np.zeros(SIZE, np.uint8)
    for part in parts:
        cv2.fillPoly(drawn, [np.array(part['points'], np.int32)], 1)
    assert np.array_equal(drawn.astype(bool), scene()[1])
    crop = np.asarray(Image.open(io.BytesIO(base64.b64decode(ring['mask'])))) > 0
    (x0, y0), (x1, y1) = np.array(ring['points'], int)
    whole = np.zeros(SIZE, bool)
    whole[y0 : y1 + 1, x0 : x1 + 1] = crop
    assert np.array_equal(whole, scene()[0])


def decoded_brush(code, number):
    """The numbers of Label Studio's code, bit by bit: the twin of ``brush_rle``."""
    bits = ''.join(f'{byte:08b}' for byte in code)
    place = 0

    def read(count):
        nonlocal place
        place += count
        return int(bits[place - count : place], 2)

    length, word = read(32), read(5) + 1
    sizes = [read(4) + 1 for _ in range(4)]
    values = []
    while len(values) < length:
        repeated = read(1)
        count = read(sizes[read(2)]) + 1
        values += [read(word)] * count if repeated else [read(word) for _ in range(count)]
    assert length == number
    return np.array(values[:length], np.uint8)


@pytest.mark.parametrize('mask', [*scene(), np.zeros(SIZE, bool), np.ones((300, 400), bool)])
def test_label_studio_brush(mask):
    pixels = decoded_brush(brush_rle(mask), mask.size * 4).reshape(*mask.shape, 4)
    assert np.array_equal(pixels[..., 3] > 0, mask)


def test_label_studio_converter_reads_the_brush():
    brush = pytest.importorskip('label_studio_converter.brush', reason='optional: label_studio_converter')
    pixels = brush.decode_rle(brush_rle(scene()[0])).reshape(*SIZE, 4)
    assert np.array_equal(pixels[..., 3] > 0, scene()[0])


def test_label_studio_task():
    task = label_studio_task(result('instance'), 'http://images/b.jpg')
    (prediction,) = task['predictions']
    assert task['data']['image'] == 'http://images/b.jpg' and prediction['score'] == 0.625
    assert prediction['result'][0]['value']['brushlabels'] == ['dog']
    outlines = label_studio_task(result('instance'), brush=False)['predictions'][0]['result']
    assert [each['type'] for each in outlines] == ['polygonlabels'] * 3
    (box, _) = label_studio_task(result('boxes', ''))['predictions'][0]['result']
    assert box['value']['x'] == 50 and box['value']['height'] == 75
    json.dumps(task)


def test_polygons_say_whether_they_are_exact():
    mask = np.zeros(SIZE, bool)
    mask[3, 3] = True
    assert polygons(mask) == ([], False)
    assert polygons(np.zeros(SIZE, bool)) == ([], True)


def test_tables_and_other_packages():
    pandas = pytest.importorskip('pandas', reason='pandas is not installed')
    table = result('instance').to_pandas()
    assert isinstance(table, pandas.DataFrame) and list(table.name) == ['dog', 'cat'] and table.x1[0] == 55


def test_missing_package(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, 'pandas', None)
    with pytest.raises(ImportError, match='pip install pandas'):
        result('instance').to_pandas()


def test_supervision():
    pytest.importorskip('supervision', reason='supervision is not installed')
    found = result('panoptic').to_supervision()
    assert list(found.data['class_name']) == ['cat', 'dog', 'sky'] and found.mask.shape == (3, *SIZE)
