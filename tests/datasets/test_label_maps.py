"""Label maps of any depth are read whole; what is wrong with them is said before training, with file and cure."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.dataset import ConcatDataset
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from PIL import Image

from m2f_mm.apis.check_dataset import check_dataset
from m2f_mm.datasets.faults import summary
from m2f_mm.datasets.label_maps import default_ignore_index, label_map_faults, read_label_map, renumber
from m2f_mm.engine import ClassCountHook, check_class_counts
from tests.helpers import small_data

pytest.importorskip('mmseg')
from mmseg.datasets import BaseSegDataset  # noqa: E402
from mmseg.evaluation import IoUMetric as StockIoUMetric  # noqa: E402
from mmseg.structures import SegDataSample  # noqa: E402

from m2f_mm.integrations.mmseg import Mask2FormerSegHead, MaskDINOSegHead, MaskFormerSegHead, ignored_label  # noqa: E402
from m2f_mm.integrations.mmseg_metrics import IoUMetric  # noqa: E402
from m2f_mm.integrations.mmseg_per_pixel import PerPixelPlusSegHead, PerPixelSegHead  # noqa: E402

CLASSES = ('ground', 'disc', 'square')
LOADERS = [dict(type='m2f_mm.LoadImage'), dict(type='m2f_mm.LoadLabelMap')]


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmseg')


def dataset_of(root, classes=CLASSES, split='train', pipeline=None, **options):
    prefix = dict(img_path=f'img_dir/{split}', seg_map_path=f'ann_dir/{split}')
    return BaseSegDataset(
        data_root=str(root),
        data_prefix=prefix,
        metainfo=dict(classes=classes),
        pipeline=LOADERS if pipeline is None else pipeline,
        **options,
    )


def faults(root, *args, limit=None, **options):
    return list(label_map_faults(dataset_of(root, *args, **options), limit))


@pytest.mark.parametrize(
    'dtype, values', [(np.uint8, (0, 1, 2)), (np.uint16, (0, 1, 2)), (np.uint16, (0, 290, 255)), (bool, (0, 1, 1))]
)
def test_every_depth_is_read_whole(tmp_path, dtype, values):
    """Label 290 is 290, not 34."""
    small_data.semantic(tmp_path, 1, values=values, dtype=dtype)
    classes = tuple(f'c{k}' for k in range(300))
    results = dataset_of(tmp_path, classes)[0]
    assert np.array_equal(results['gt_seg_map'], small_data.label_map(values=values))
    assert not [fault for fault in faults(tmp_path, classes) if fault.fatal]


def test_palette_and_every_depth_of_integers(tmp_path):
    labels = small_data.label_map().astype(np.uint8)
    image = Image.fromarray(labels).convert('P')
    image.putpalette([7, 7, 7] * 256)
    image.save(tmp_path / 'p.png')
    Image.fromarray(labels.astype(np.int32)).save(tmp_path / 'i.tif')
    for name in ('p.png', 'i.tif'):
        assert np.array_equal(read_label_map(str(tmp_path / name)), labels)
    Image.fromarray(labels.astype(np.int32) - 1).save(tmp_path / 'i.tif')
    with pytest.raises(ValueError, match=r'i\.tif has values from -1 to 1, outside of 0\.\.65535'):
        read_label_map(str(tmp_path / 'i.tif'))


def test_renumbering_is_that_of_the_stock_loader(tmp_path):
    """reduce_zero_label, then label_map, all values at once: no label is renumbered twice."""
    from mmseg.datasets.transforms import LoadAnnotations

    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    Image.fromarray(values).save(tmp_path / 'a.png')
    for reduce_zero_label in (False, True):
        for label_map in (None, {0: 1, 1: 2, 2: 255, 254: 0}):
            results = dict(
                seg_map_path=str(tmp_path / 'a.png'),
                reduce_zero_label=reduce_zero_label,
                label_map=label_map,
                seg_fields=[],
            )
            stock = LoadAnnotations()(dict(results, seg_fields=[]))['gt_seg_map']
            assert np.array_equal(renumber(values, reduce_zero_label, label_map), stock)
    wide = renumber(np.array([0, 1, 256, 65535], np.uint16), True, None)
    assert wide.tolist() == [65535, 0, 255, 65535]


BAD_FILES = {
    'RGB': (lambda path, labels: Image.fromarray(labels).convert('RGB').save(path), 'image of mode RGB', 'table'),
    'RGBA': (lambda path, labels: Image.fromarray(labels).convert('RGBA').save(path), 'mode RGBA', 'table'),
    'LA': (lambda path, labels: Image.fromarray(labels).convert('LA').save(path), 'mode LA', 'color table'),
    'F': (lambda path, labels: Image.fromarray(labels.astype(np.float32)).save(path, format='TIFF'), 'mode F', 'table'),
    'JPEG': (lambda path, labels: Image.fromarray(labels).save(path, format='JPEG'), 'a JPEG file', 'as PNG'),
    'text': (lambda path, labels: path.write_text('no image'), 'cannot be read', 'replace the file'),
    'swapped': (
        lambda path, labels: Image.fromarray(labels.T.copy()).save(path),
        'has 64x48 pixels (HxW), but its image',
        'Export the label map',
    ),
    'smaller': (lambda path, labels: Image.fromarray(labels[::2, ::2].copy()).save(path), 'has 24x32 pixels', 'Export'),
}


@pytest.mark.parametrize('save, message, cure', BAD_FILES.values(), ids=BAD_FILES)
def test_bad_files_in_one_line_and_in_the_loader(tmp_path, save, message, cure):
    small_data.semantic(tmp_path, 4, save=save)
    lines = summary(faults(tmp_path))
    assert len(lines) == 1 and message in lines[0] and cure in lines[0] and '0.png' in lines[0]
    assert '4 times' in lines[0] and 'and 1 more' in lines[0]
    with pytest.raises(ValueError, match='png') as error:
        dataset_of(tmp_path)[0]
    assert message in str(error.value) and cure in str(error.value)


def test_missing_files(tmp_path):
    small_data.semantic(tmp_path, 3)
    (tmp_path / 'ann_dir/train/1.png').unlink()
    (tmp_path / 'img_dir/train/2.jpg').write_bytes(b'cut')
    lines = summary(faults(tmp_path))
    assert len(lines) == 2 and 'the label map of' in lines[0] and '1.png' in lines[0] and '2.jpg' in lines[1]


def test_turned_image_is_compared_as_it_is_loaded(tmp_path):
    small_data.semantic(tmp_path, 1)
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / 'img_dir/train/0.jpg'
    Image.open(path).save(path, exif=exif)
    (line,) = summary(faults(tmp_path))
    assert 'has 64x48, turned as its EXIF orientation 6 says: height and width are swapped' in line
    with pytest.raises(ValueError, match='has 48x64 pixels'):
        dataset_of(tmp_path)[0]


@pytest.mark.parametrize(
    'values, classes, options, fatal, message',
    [
        ((0, 1, 11), CLASSES[:2], {}, True, 'value 11 in all 3 files; there are 2 classes, 0 to 1, and 255 is ignored'),
        ((0, 1, 11), CLASSES[:2], dict(ignore_index=11), None, ''),
        (
            (0, 255, 255),
            ('background', 'lesion'),
            {},
            True,
            "no pixel of 3 label maps has the class 'lesion'; the files have the values 0, 255; 255 is ignored",
        ),
        ((0, 255, 255), ('background', 'lesion'), dict(test_mode=True), False, 'the files have the values 0, 255'),
        ((0, 1, 1), CLASSES, {}, False, "has the class 'square'; the files have the values 0, 1"),
        ((0, 1, 2), CLASSES, dict(ignore_index=1), True, "ignore_index=1 is the class 'disc' of 3"),
        ((1, 2, 3), CLASSES, dict(reduce_zero_label=True), None, ''),
        ((0, 1, 2), CLASSES, dict(reduce_zero_label=True), False, "has the class 'square'"),
        ((255, 255, 255), CLASSES[:1], {}, False, 'every pixel has the ignored label 255'),
        ((0, 1, 2), 'disc', {}, True, "classes='disc', a text instead of a list"),
    ],
)
def test_values_and_classes(tmp_path, values, classes, options, fatal, message):
    small_data.semantic(tmp_path, 3, values=values)
    result = faults(tmp_path, classes, **options)
    assert bool(result) == bool(message)
    if result:
        assert message in ' '.join(summary(result)) and any(fault.fatal == fatal for fault in result)


def test_one_ignored_value_has_one_line_and_its_cure(tmp_path):
    small_data.semantic(tmp_path, 5, values=(0, 1, 11))
    (line,) = summary(faults(tmp_path, CLASSES[:2]))
    assert 'value 11 in all 5 files' in line and 'ignore_index=11' in line


def test_stock_loader_keeps_8_bits(tmp_path):
    small_data.semantic(tmp_path, 1, values=(0, 290, 1), dtype=np.uint16)
    pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
    result = faults(tmp_path, tuple(f'c{k}' for k in range(300)), pipeline=pipeline)
    assert any(fault.fatal and '290' in str(fault) and 'm2f_mm.LoadLabelMap' in str(fault) for fault in result)


@pytest.mark.parametrize('dtype, refused', [(np.uint8, True), (np.uint16, False)])
def test_zero_of_eight_bits_becomes_no_class(tmp_path, dtype, refused):
    small_data.semantic(tmp_path, 1, dtype=dtype)
    result = faults(tmp_path, tuple(f'c{k}' for k in range(300)), reduce_zero_label=True)
    assert any(fault.fatal and "which is the class 'c255' of 300" in str(fault) for fault in result) is refused
    assert refused or dataset_of(tmp_path, CLASSES, reduce_zero_label=True)[0]['gt_seg_map'].max() == 65535


def test_label_maps_that_are_not_loaded_are_not_read(tmp_path):
    small_data.semantic(tmp_path, 2, save=lambda path, labels: path.write_text('colors of an own loader'))
    assert not faults(tmp_path, pipeline=LOADERS[:1])


@pytest.mark.parametrize('number, ignored', [(2, 255), (255, 255), (256, 65535), (847, 65535)])
def test_ignored_label_is_no_class(number, ignored):
    assert default_ignore_index(number) == ignored_label(number, None) == ignored
    with pytest.raises(ValueError, match=f'ignore_index=1 is one of the {number} classes'):
        ignored_label(number, 1)
    for wrong in (-100, 65536):
        with pytest.raises(ValueError, match=f'ignore_index={wrong} is no value of a label map'):
            ignored_label(number, wrong)


@pytest.mark.parametrize(
    'head', [Mask2FormerSegHead, MaskFormerSegHead, MaskDINOSegHead, PerPixelSegHead, PerPixelPlusSegHead]
)
def test_one_class_alone_is_refused_with_the_cure(head):
    with pytest.raises(ValueError, match=r"has 1 class: .*metainfo=dict\(classes=\('background', \.\.\.\)\)"):
        head(metainfo=dict(classes=('lesion',)), in_channels=(8, 8, 8, 8), feat_channels=32, out_channels=32)


def sample(prediction, target, path='a/x.jpg', **metainfo):
    result = SegDataSample(metainfo=dict(img_path=path, seg_map_path='x.png', **metainfo))
    result.pred_sem_seg, result.gt_sem_seg = (
        PixelData(data=torch.as_tensor(part)[None].long()) for part in (prediction, target)
    )
    return result.to_dict()


@pytest.mark.smoke
@pytest.mark.parametrize(
    'number, reduced, dtype',
    [(3, False, np.uint8), (256, False, np.uint8), (256, True, np.uint16), (300, False, np.uint16)],
)
def test_written_label_maps_are_what_the_model_says(tmp_path, number, reduced, dtype):
    metric = IoUMetric(output_dir=str(tmp_path), iou_metrics=['mIoU'])
    metric.dataset_meta = dict(classes=[f'c{k}' for k in range(number)])
    labels = np.array([[0, 1], [2, number - 1]])
    metric.process({}, [sample(labels, labels, reduce_zero_label=reduced)])
    with Image.open(tmp_path / 'x.png') as image:
        written = np.asarray(image)
    assert written.dtype == dtype and np.array_equal(written, labels + reduced)
    assert metric.compute_metrics(metric.results)['mIoU'] == 100
    with pytest.raises(ValueError, match=r'x\.png is the file of two images: a/x\.jpg and b/x\.jpg'):
        metric.process({}, [sample(labels, labels, path='b/x.jpg')])


@pytest.mark.parametrize(
    'number, ignored, value, message',
    [
        (3, None, 7, r'x\.png has the label 7, but there are 3 classes.*ignore_index=7'),
        (300, 255, 0, r'ignore_index=255 is one of the 300 classes'),
    ],
)
def test_metric_refuses_labels_without_class(number, ignored, value, message):
    metric = IoUMetric(ignore_index=ignored)
    metric.dataset_meta = dict(classes=[f'c{k}' for k in range(number)])
    with pytest.raises(ValueError, match=message):
        metric.process({}, [sample(np.zeros((2, 2)), np.full((2, 2), value))])


def runner_of(dataset, ignored=None, fill=255, metrics=(), classes=CLASSES, **slots):
    head = SimpleNamespace(num_classes=len(classes), ignore_index=ignored, class_names=classes)
    loader, loop = SimpleNamespace(dataset=dataset), SimpleNamespace(evaluator=SimpleNamespace(metrics=metrics))
    model = SimpleNamespace(decode_head=head, data_preprocessor=SimpleNamespace(seg_pad_val=fill), **slots)
    return SimpleNamespace(
        model=model,
        train_dataloader=loader,
        val_loop=loop,
        val_dataloader=loader,
        test_dataloader=loader,
        test_loop=loop,
    )


PAD = dict(type='Pad', size=(64, 64), pad_val=dict(img=128, seg=255))


@pytest.mark.parametrize(
    'number, ignored, values',
    [(3, 11, (0, 1, 11)), (3, 255, (0, 255, 2)), (300, 65535, (255, 299, 65535)), (300, 400, (0, 255, 400))],
)
def test_everything_follows_the_ignored_label_of_the_head(tmp_path, number, ignored, values):
    """It is said once: padding, crops, preprocessor, metric, data set and other heads change their default."""
    classes = tuple(f'c{k}' for k in range(number))
    small_data.semantic(tmp_path, 2, values=values, dtype=np.uint16)
    steps = [
        *LOADERS,
        dict(type='RandomCrop', crop_size=(4096, 4096), cat_max_ratio=0.75),
        dict(type='RandomChoice', transforms=[[dict(type='RandomRotate', prob=1.0, degree=30)]]),
        dict(PAD, size=(200, 300)),
    ]
    parts = [
        dataset_of(tmp_path, classes, pipeline=steps),
        dataset_of(tmp_path, classes, pipeline=steps, ignore_index=ignored),
    ]
    metrics = [IoUMetric(), StockIoUMetric()]
    other = SimpleNamespace(num_classes=number, ignore_index=255)
    runner = runner_of(ConcatDataset(parts), ignored, metrics=metrics, classes=classes, auxiliary_head=[other])
    for _ in range(2):  # again, as after each epoch
        ClassCountHook().before_train(runner)
        assert {
            runner.model.data_preprocessor.seg_pad_val,
            other.ignore_index,
            *(owner.ignore_index for owner in (*metrics, *parts, parts[0].pipeline.transforms[2])),
        } == {ignored}
    loaded = parts[0][0]['gt_seg_map']  # turned by 30 degrees and padded
    assert set(np.unique(loaded)) <= set(values) and (loaded[-50:, -50:] == ignored).all()


@pytest.mark.parametrize(
    'wrong, place',
    [
        (dict(fill=7), 'model.data_preprocessor.seg_pad_val = 7'),
        (dict(metrics=[7]), 'IoUMetric.ignore_index = 7'),
        (dict(ignored=2), 'model.decode_head.ignore_index = 2, which is a class'),
        (dict(auxiliary_head=SimpleNamespace(num_classes=3, ignore_index=7)), 'model.auxiliary_head.ignore_index = 7'),
    ],
)
def test_contradicting_ignored_labels_are_all_named(tmp_path, wrong, place):
    small_data.semantic(tmp_path, 2)
    dataset = dataset_of(tmp_path, pipeline=[*LOADERS, PAD])
    wrong = {key: [IoUMetric(ignore_index=7)] if key == 'metrics' else value for key, value in wrong.items()}
    with pytest.raises(ValueError, match='Not one label is ignored') as error:
        ClassCountHook().before_train(runner_of(dataset, **wrong))
    for said in (place, 'dataloader.dataset.ignore_index = 255', 'model.decode_head.ignore_index'):
        assert said in str(error.value)
    assert dataset.ignore_index == dataset.pipeline.transforms[2].pad_val['seg'] == 255, 'nothing was changed'


def test_eight_bits_are_too_few_for_the_ignored_label(tmp_path):
    small_data.semantic(tmp_path, 1)
    classes = tuple(f'c{k}' for k in range(300))
    stock = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), PAD]
    with pytest.raises(ValueError, match=r'ignore_index = 65535 needs 16 bits.*m2f_mm\.LoadLabelMap'):
        ClassCountHook().before_train(runner_of(dataset_of(tmp_path, classes, pipeline=stock), classes=classes))


def test_check_dataset_reads_the_ignored_label_of_the_model(tmp_path, monkeypatch):
    small_data.semantic(tmp_path, 2, values=(0, 1, 11))
    cfg = small_data.semantic_config(tmp_path, monkeypatch)
    assert any('value 11 in all 2 files' in str(fault) for fault in check_dataset(cfg, 'train', 0, False)[1])
    cfg.model.decode_head.ignore_index = 11
    assert not [fault for fault in check_dataset(cfg, 'train', 0, False)[1] if fault.fatal]


def test_hook_reads_label_maps(tmp_path):
    small_data.semantic(tmp_path, 2)
    dataset = dataset_of(tmp_path, pipeline=[*LOADERS, PAD])
    ClassCountHook().before_train(runner_of(dataset))
    small_data.semantic(tmp_path, 2, values=(0, 1, 9))
    for stage in ('train', 'val', 'test'):
        with pytest.raises(ValueError, match='value 9 in all 2 files'):
            getattr(ClassCountHook(), f'before_{stage}')(runner_of(dataset))


@pytest.mark.parametrize(
    'names, message',
    [
        (('ground', 'Disc', 'square'), "class 1: 'disc' and 'Disc'"),
        (('disc', 'ground', 'square'), 'the same names in another order'),
        ('disc', r"classes='disc', a text instead of a list"),
    ],
)
def test_names_are_compared_before_and_after_building(tmp_path, monkeypatch, names, message):
    small_data.semantic(tmp_path, 1)
    cfg = small_data.semantic_config(tmp_path, monkeypatch)
    check_class_counts(cfg)
    cfg.train_dataloader.dataset.metainfo = dict(classes=names)
    with pytest.raises(ValueError, match=message):
        check_class_counts(cfg)
    with pytest.raises(ValueError, match=message):
        ClassCountHook().before_train(runner_of(dataset_of(tmp_path, names)))


@pytest.mark.parametrize('seed', range(6))
def test_equal_label_maps_score_100(seed):
    """Whatever the number of classes, of which some never occur, and of ignored pixels; one wrong pixel is less."""
    rng = np.random.default_rng(seed)
    number = int(rng.choice([2, 3, 256, 1000]))
    ignored = 255 if number < 256 else 65535
    maps = [rng.choice(rng.integers(0, number, 3), rng.integers(1, 20, 2)) for _ in range(3)]
    for wrong in (0, 1):
        metric = IoUMetric()
        metric.dataset_meta = dict(classes=[f'c{k}' for k in range(number)])
        for labels in maps:
            target = np.where(rng.random(labels.shape) < 0.2, ignored, labels)
            target[0, 0] = (labels[0, 0] + wrong) % number
            metric.process({}, [sample(labels, target)])
        assert (metric.evaluate(3)['mIoU'] == 100) is not bool(wrong)


def test_no_label_map_replaces_what_is_read(tmp_path):
    metric = IoUMetric(output_dir=str(tmp_path))
    metric.dataset_meta = dict(classes=('a', 'b'))
    (tmp_path / 'x.png').write_bytes(b'truth')
    with pytest.raises(ValueError, match=r'output_dir would write .*x\.png, which is .* read as data'):
        metric.process({}, [dict(sample(np.zeros((2, 2)), np.zeros((2, 2))), seg_map_path=str(tmp_path / 'x.png'))])
    assert (tmp_path / 'x.png').read_bytes() == b'truth'


def test_label_maps_of_other_workers_are_compared(tmp_path, monkeypatch):
    metric = IoUMetric(output_dir=str(tmp_path))
    metric.dataset_meta = dict(classes=('a', 'b'))
    metric.process({}, [sample(np.zeros((2, 2)), np.zeros((2, 2)))])
    monkeypatch.setattr(
        'm2f_mm.integrations.mmseg_metrics.all_gather_object', lambda mine: [mine, {str(tmp_path / 'x.png'): 'b/x.jpg'}]
    )
    with pytest.raises(ValueError, match='file of two images: a/x.jpg and b/x.jpg'):
        metric.evaluate(1)
