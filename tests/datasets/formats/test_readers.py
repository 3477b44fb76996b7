"""Every format gives the same masks of the same scene, and what a format adds to them is honoured."""

from functools import partial

import numpy as np
import pytest
from PIL import Image

from m2f_mm.datasets.formats import recognise, summary
from tests.helpers import own_data
from tests.helpers.commands import output_of

WITH_RING = {
    'COCO instances': own_data.coco,
    'COCO instances, gaps in ids': own_data.coco_gaps,
    'COCO instances, compressed': partial(own_data.coco, form='compressed'),
    "Roboflow's COCO": own_data.roboflow_coco,
    'COCO panoptic': own_data.coco_panoptic,
    'labelme': own_data.labelme,
    'Pascal VOC': own_data.voc,
    "CVAT's segmentation masks": own_data.cvat_masks,
    "CVAT's XML": own_data.cvat_xml,
    'Label Studio': own_data.label_studio,
    'Label Studio, JSON_MIN': partial(own_data.label_studio, short=True),
    'Cityscapes': own_data.cityscapes,
}
RENAMED = {'Pascal VOC': ('cat', 'dog', 'sofa'), 'Cityscapes': ('person', 'car', 'bicycle')}


def check(data, index, record, ring=True, names=own_data.CLASSES):
    expected = [(names[own_data.CLASSES.index(name)], mask) for name, mask in own_data.expected(index, ring)]
    assert own_data.objects_of(data, record) == sorted(expected)
    assert record.size == own_data.SIZE


@pytest.mark.parametrize('name', WITH_RING)
def test_objects_are_equal_pixel_for_pixel(tmp_path, name):
    WITH_RING[name](tmp_path)
    data = recognise(str(tmp_path))
    assert data.format == name.split(',')[0] and not data.faults
    records = sorted(data.records, key=lambda record: record.image.rsplit('/', 1)[-1])
    assert len(records) == own_data.NUMBER
    for index, record in enumerate(records):
        check(data, index, record, names=RENAMED.get(name, own_data.CLASSES))
    assert 'instance' in data.tasks and data.format in summary(data)


@pytest.mark.parametrize(
    'write, form', [(own_data.yolo, 'YOLO segmentation'), (partial(own_data.labelme, ring=False), 'labelme')]
)
def test_polygons_are_exact_along_borders_of_pixels(tmp_path, write, form):
    write(tmp_path)
    data = recognise(str(tmp_path))
    assert data.format == form and data.tasks == ('instance', 'boxes') and not data.faults
    for index, record in enumerate(sorted(data.records, key=lambda record: record.image.rsplit('/', 1)[-1])):
        check(data, index, record, ring=False)


SEMANTIC = {
    'semantic label maps of a YAML': own_data.yolo_semantic,
    'Pascal VOC': own_data.voc,
    "CVAT's segmentation masks": own_data.cvat_masks,
    'index masks': own_data.index_masks_with_classes,
    'index masks, palette': own_data.palette_masks,
    'RGB masks': own_data.rgb_masks,
    'RGB masks, CamVid': own_data.camvid_colors,
    "Roboflow's masks": own_data.roboflow_masks,
    'ADE20K': own_data.ade20k,
    'Cityscapes': own_data.cityscapes,
    'COCO panoptic': own_data.coco_panoptic,
}


@pytest.mark.parametrize('name', SEMANTIC)
def test_label_maps_are_equal(tmp_path, name):
    SEMANTIC[name](tmp_path)
    data = recognise(str(tmp_path))
    assert data.format == name.split(',')[0] and 'semantic' in data.tasks and not data.faults
    names = RENAMED.get(name, own_data.CLASSES)
    for index, record in enumerate(sorted(data.records, key=lambda record: record.image.rsplit('/', 1)[-1])):
        labels = data.label_map(record)
        expected = own_data.label_map(index)
        if name == 'Pascal VOC':
            assert (labels[:2, :2] == data.ignore_index).all()
            labels[:2, :2] = data.background
        for number, class_name in enumerate(names, 1):
            assert np.array_equal(labels == data.classes.index(class_name), expected == number)
        rest = labels[expected == 0]
        nothing = data.ignore_index if name == 'ADE20K' else data.background
        if name in ('COCO panoptic', 'semantic label maps of a YAML'):
            nothing = data.classes.index('ground')
        if name == 'Cityscapes':
            nothing = data.classes.index('road')
        assert (rest == nothing).all()


def test_yolo_without_a_yaml(tmp_path):
    """Label Studio's export: classes.txt, images and labels."""
    own_data.yolo(tmp_path)
    (tmp_path / 'data.yaml').unlink()
    own_data.write_text(tmp_path / 'classes.txt', 'box\nell\n')
    data = recognise(str(tmp_path))
    assert data.format == 'YOLO segmentation' and 'classes.txt' in data.reason and not data.faults
    for index, record in enumerate(sorted(data.records, key=lambda record: record.image.rsplit('/', 1)[-1])):
        check(data, index, record, ring=False)


def test_voc_colors_without_a_list(tmp_path):
    """CVAT leaves out labelmap.txt where the classes are VOC's."""
    from m2f_mm.datasets.formats.voc import VOID_COLOR, voc_color

    assert [voc_color(index) for index in (0, 1, 15, 20)] == [0, 0x800000, 0xC08080, 0x004080]
    own_data.voc(tmp_path)
    table = np.array([[0, 0, 0]] * 256, np.uint8)
    for index in range(21):
        table[index] = voc_color(index) >> 16, voc_color(index) >> 8 & 255, voc_color(index) & 255
    table[255] = VOID_COLOR >> 16, VOID_COLOR >> 8 & 255, VOID_COLOR & 255
    for path in (tmp_path / 'VOC2012').glob('Segmentation*/*.png'):
        own_data.save(path, table[np.array(Image.open(path))])
    data = recognise(str(tmp_path))
    assert not data.faults and not data.questions and data.palette[8] == (64, 0, 0)
    for index, record in enumerate(sorted(data.records, key=lambda record: record.image)):
        check(data, index, record, names=RENAMED['Pascal VOC'])
        assert (data.label_map(record)[:2, :2] == data.ignore_index).all()


def test_gray_masks_of_cvat_are_numbers_of_its_list(tmp_path):
    own_data.cvat_masks(tmp_path)
    for index in range(own_data.NUMBER):
        own_data.save(tmp_path / f'SegmentationClass/{index}.png', own_data.label_map(index).astype(np.uint8))
        own_data.save(tmp_path / f'SegmentationObject/{index}.png', own_data.object_map(index))
    data = recognise(str(tmp_path))
    assert data.classes == ['background', *own_data.CLASSES] and not data.faults
    check(data, 0, data.records[0])


def splits_of(data):
    return {name: len(records) for name, records in data.splits.items()}


@pytest.mark.parametrize(
    'write, splits',
    [
        (own_data.coco, {'': 4}),
        (own_data.roboflow_coco, dict(train=3, val=1)),
        (own_data.coco_panoptic, dict(val=4)),
        (own_data.yolo, dict(train=3, val=1)),
        (own_data.yolo_semantic, dict(train=3, val=1)),
        (own_data.voc, dict(train=3, val=1)),
        (own_data.cvat_masks, {'': 4}),
        (own_data.roboflow_masks, dict(train=3, val=1)),
        (own_data.ade20k, dict(train=3, val=1)),
        (own_data.cityscapes, dict(train=3, val=1)),
        (own_data.labelme, {'': 4}),
        (own_data.youtube_vis, dict(train=4)),
    ],
)
def test_splits_are_those_of_the_folder(tmp_path, write, splits):
    write(tmp_path)
    assert splits_of(recognise(str(tmp_path))) == splits


def test_videos(tmp_path):
    own_data.youtube_vis(tmp_path)
    data = recognise(str(tmp_path))
    assert data.tasks == ('video', 'instance', 'boxes') and len({record.video for record in data.records}) == 1
    first, second = data.records[:2]
    assert own_data.objects_of(data, first) == own_data.expected(0)
    assert [each.track for each in first.objects] == [0, 1, 2, 3] and [each.track for each in second.objects] == [
        0,
        1,
        3,
    ]


@pytest.mark.parametrize(
    'write, form',
    [
        (partial(own_data.coco, form='boxes'), 'COCO instances'),
        (partial(own_data.yolo, boxes=True), 'YOLO boxes'),
        (own_data.voc_boxes, 'VOC boxes'),
    ],
)
def test_boxes_alone(tmp_path, write, form):
    write(tmp_path)
    data = recognise(str(tmp_path))
    assert data.format == form and data.tasks == ('boxes',) and not data.faults
    record = next(each for each in data.records if each.image.endswith('0.jpg'))
    for (name, _, mask), each in zip(own_data.scene(0, ring=form == 'COCO instances'), record.objects):
        y, x = np.nonzero(mask)
        assert data.classes[each.label] == name and not each.has_mask
        assert each.bounds(record.size) == pytest.approx((x.min(), y.min(), x.max() + 1, y.max() + 1))


def test_polygons_of_labelme_xml(tmp_path):
    own_data.labelme_xml(tmp_path)
    data = recognise(str(tmp_path))
    assert data.format == 'LabelMe XML' and data.tasks == ('instance', 'boxes')
    masks = [each.mask(own_data.SIZE) for each in data.records[0].objects]
    assert np.array_equal(masks, [own_data.filled(own_data.BOX), own_data.filled(own_data.ELL)])


def test_label_studio_run_lengths_are_those_of_its_converter():
    """The bytes are what ``label_studio_converter.brush.encode_rle`` makes of RGBA pixels, see its version 0.0.59."""
    from m2f_mm.datasets.formats.label_studio import decode_rle

    mask = np.zeros((3, 5), bool)
    mask[0, 2:] = mask[2, 1] = True
    assert np.array_equal(decode_rle(CONVERTER_BYTES, 3, 5), mask)
    assert np.array_equal(decode_rle(own_data.studio_rle(mask), 3, 5), mask)


CONVERTER_BYTES = [0, 0, 0, 60, 57, 27, 252, 224, 22, 255, 240, 184, 4, 127, 246, 192, 0]  # fmt: skip


def test_subsets_of_a_project_of_cvat(tmp_path):
    own_data.cvat_xml(tmp_path)
    path = tmp_path / 'annotations.xml'
    path.write_text(path.read_text().replace('name="3.jpg"', 'name="3.jpg" subset="Validation"'))
    (tmp_path / 'images/Validation').mkdir()
    (tmp_path / 'images/3.jpg').rename(tmp_path / 'images/Validation/3.jpg')
    data = recognise(str(tmp_path))
    assert splits_of(data) == {'val': 1, '': 3} and not data.faults


ALONE = """
import sys
for name in ('mmdet', 'pycocotools'):
    sys.modules[name] = None  # its import fails
from m2f_mm.datasets.formats import recognise, write_training_form
for folder in sys.argv[2:]:
    data = recognise(folder)
    write_training_form(data, sys.argv[1])
    print(data.format, data.tasks, data.notes[-1])
"""


def test_label_maps_need_no_pycocotools(tmp_path):
    writers = dict(masks=own_data.index_masks_with_classes, voc=own_data.voc, cityscapes=own_data.cityscapes)
    for name, write in writers.items():
        write(tmp_path / name)
    output = output_of('-c', ALONE, tmp_path / 'out', *(tmp_path / name for name in writers), cold=True)
    assert output.count("('semantic',)") == 3 and output.count('pycocotools is not installed') == 2
