"""Prediction of images from anywhere, by detectors and segmentors."""

import weakref

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')

from m2f_mm.apis.models import find_model, load_model
from m2f_mm.apis.segmenter import Segmenter
from tests.helpers.small_models import DETECTOR, SEGMENTOR, thin_config, write_checkpoint

CLASSES = ('disc', 'square', 'triangle', 'ring', 'sky', 'ground', 'water')


@pytest.fixture(scope='module')
def checkpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp('models')
    return {name: write_checkpoint(folder / f'{i}.pth', name) for i, name in enumerate((DETECTOR, SEGMENTOR))}


@pytest.fixture(scope='module')
def detector(checkpoints):
    return Segmenter(checkpoints[DETECTOR])


@pytest.fixture(scope='module')
def segmentor(checkpoints):
    return Segmenter(checkpoints[SEGMENTOR])


def image(seed, height=48, width=64):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture
def folder(tmp_path):
    for seed, size in enumerate(((48, 64), (64, 48), (48, 64), (50, 50), (48, 64))):
        Image.fromarray(image(seed, *size)).save(tmp_path / f'{seed}.png')
    return tmp_path


def test_every_task_of_a_detector(detector):
    assert detector.tasks == ('panoptic', 'instance', 'semantic') and detector.classes == CLASSES
    assert detector.is_thing == [True] * 4 + [False] * 3
    panoptic = detector(image(0))
    assert panoptic.kind == 'panoptic' and panoptic.panoptic.shape == (48, 64) and len(panoptic)
    assert all(0 < segment.score <= 1 for segment in panoptic)  # which MMDetection's form does not have
    assert sum(segment.area for segment in panoptic) == (panoptic.panoptic > 0).sum()
    instances = detector(image(0), 'instance', max_per_image=5)
    assert 0 < len(instances) <= 5 and instances.masks().shape[1:] == (48, 64)
    assert detector(image(0), 'semantic').semantic.max() < len(CLASSES)
    assert detector(image(0)).kind == 'panoptic'  # what another call has asked for is gone


def test_as_the_stack_predicts(detector, checkpoints, folder):
    """MMDetection's and MMSegmentation's own functions give the same numbers."""
    from mmdet.apis import inference_detector, init_detector

    path = str(folder / '1.png')
    cfg = thin_config()
    cfg.model.test_cfg.update(panoptic_on=True, instance_on=False)
    stock = init_detector(cfg, checkpoints[DETECTOR], device='cpu', palette='none')
    expected = inference_detector(stock, path).pred_panoptic_seg.sem_seg[0].numpy()
    found = detector(path)
    labels = np.where(expected % 1000 < len(CLASSES), expected % 1000, 255)
    assert np.array_equal(found.semantic, labels) and len(found) == len(np.unique(expected[labels < 255]))


def test_segmentor_as_the_stack(segmentor, checkpoints, folder):
    from mmseg.apis import inference_model, init_model

    stock = init_model(thin_config(SEGMENTOR), checkpoints[SEGMENTOR], device='cpu')
    expected = inference_model(stock, str(folder / '1.png')).pred_sem_seg.data[0].numpy()
    found = segmentor(folder / '1.png')
    assert segmentor.tasks == ('semantic',) and found.kind == 'semantic'
    assert np.array_equal(found.semantic, expected)


@pytest.mark.parametrize('model', ['detector', 'segmentor'])
def test_batches_change_nothing(model, folder, request):
    """Images of one size come together, in the order of the source."""
    model = request.getfixturevalue(model)
    single = list(model.predict(folder))
    together = list(model.predict(folder, batch_size=3))
    assert [result.name for result in single] == [f'{i}.png' for i in range(5)] == [each.name for each in together]
    for one, other in zip(single, together):
        differing = (one.semantic != other.semantic).mean()
        assert one.size == other.size and differing < 0.02  # rounding of matrix products


def test_bad_images_are_collected(detector, folder):
    (folder / '2.png').write_bytes(b'no image')
    predictions = detector.predict(folder)
    with pytest.warns(UserWarning, match=r'1 images could not be predicted: 2.png'):
        assert [result.name for result in predictions] == ['0.png', '1.png', '3.png', '4.png']
    assert [bad.name for bad in predictions.bad] == ['2.png'] and '2.png' in predictions.bad[0].error
    with pytest.raises(ValueError, match='2.png'):
        list(detector.predict(folder, on_error='raise'))


def test_images_that_are_left_out(detector, folder):
    names = [result.name for result in detector.predict(folder, skip=lambda name: name < '3')]
    assert names == ['3.png', '4.png']


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(task='panoptc'), "did you mean 'panoptic'"),
        (dict(task='boxes'), 'predicts panoptic, instance, semantic'),
        (dict(scor_thr=0.5), 'did you mean score_thr'),
        (dict(score_thr=5), 'score_thr=5'),
        (dict(on_error='ignore'), "on_error='ignore'"),
        (dict(batch_size=0), 'batch_size=0'),
        (dict(tile=3), 'tile=3'),
        (dict(order='gbr'), "order='gbr'"),
    ],
)
def test_wrong_options(detector, options, message):
    with pytest.raises(ValueError, match=message):
        detector.predict(image(0), **options)


def test_options_of_a_segmentor(segmentor):
    with pytest.raises(ValueError, match='no option score_thr'):
        segmentor.predict(image(0), score_thr=0.5)


def test_memory_does_not_grow(detector):
    """Of many images at most a few are there at any time: what was read ahead, and the result in hand."""
    alive, most = 0, 0

    def freed():
        nonlocal alive
        alive -= 1

    def images():
        nonlocal alive, most
        for seed in range(40):
            pixels = image(seed % 3)
            weakref.finalize(pixels, freed)
            alive += 1
            most = max(most, alive)
            yield pixels

    for result in detector.predict(images()):
        del result
    assert most <= 6


@pytest.mark.parametrize('model', ['detector', 'segmentor'])
def test_tiles(model, request):
    """Large images in tiles: the whole image is covered."""
    model = request.getfixturevalue(model)
    found = model(image(3, 150, 200), tile=64, overlap=0.25)
    assert found.size == (150, 200) and found.semantic.shape == (150, 200)
    if found.kind == 'panoptic':
        assert {segment.id for segment in found} == set(np.unique(found.panoptic)) - {0}


def test_names_of_models(checkpoints, tmp_path, monkeypatch):
    """A shipped name, a folder of a training, a checkpoint; near misses are named."""
    monkeypatch.chdir(tmp_path)
    named = find_model('mask2former_r50_8xb2-lsj-50e_coco-panoptic')
    assert named.weights == 'm2f_mm://mask2former_r50_8xb2-lsj-50e_coco-panoptic'
    with pytest.raises(FileNotFoundError, match='mask2former_r50_8xb2-lsj-50e_coco-panoptic'):
        find_model('mask2former_r50_coco-panoptc')
    with pytest.raises(FileNotFoundError, match=r'no checkpoint .*nothing.pth'):
        find_model('nothing.pth')
    (tmp_path / 'run').mkdir()
    with pytest.raises(FileNotFoundError, match='holds no config'):
        find_model('run')
    thin_config().dump(tmp_path / 'run' / 'mine.py')
    with pytest.raises(ValueError, match='holds no checkpoint'):
        find_model('run')
    (tmp_path / 'run' / 'last_checkpoint').write_text('/moved/away/iter_2.pth')
    assert find_model('run').weights == 'run/iter_2.pth'
    (tmp_path / 'run' / 'best_x_iter_1.pth').touch()
    assert (
        find_model('run').weights == 'run/best_x_iter_1.pth' and find_model('run', 'other.pth').weights == 'other.pth'
    )
    torch.save(dict(state_dict={}), tmp_path / 'bare.pth')
    with pytest.raises(ValueError, match='does not hold the config'):
        find_model('bare.pth')
    with pytest.raises(ValueError, match='has no released weights'):
        Segmenter('demo/mask2former_r18_shapes-panoptic.py')


def test_missing_weights_are_named(checkpoints, tmp_path):
    content = torch.load(checkpoints[DETECTOR], weights_only=False)
    del content['state_dict']['backbone.bn1.running_mean']
    torch.save(content, tmp_path / 'part.pth')
    with pytest.raises(ValueError, match=r'1 \(backbone.bn1.running_mean\)'):
        Segmenter(tmp_path / 'part.pth')


def test_other_classes(checkpoints, tmp_path):
    content = torch.load(checkpoints[DETECTOR], weights_only=False)
    content['meta']['dataset_meta'] = dict(classes=('cat', 'dog'))
    torch.save(content, tmp_path / 'other.pth')
    with pytest.raises(ValueError, match='the model has 7 classes, but the checkpoint names 2'):
        Segmenter(tmp_path / 'other.pth')


def test_classes_of_the_data(checkpoints):
    """The head of a config takes those of its training data, and of a data set whose classes were replaced."""
    cfg = thin_config()
    del cfg.model.panoptic_head['metainfo']
    model = load_model(cfg, checkpoints[DETECTOR], 'cpu')
    assert model.panoptic_head.num_classes == 7 and model.panoptic_head.num_things_classes == 4


@pytest.mark.parametrize('device', ['cuda:99', 'gpu', '77'])
def test_devices_that_are_not_there(checkpoints, device):
    with pytest.raises(ValueError, match='device='):
        Segmenter(checkpoints[DETECTOR], device=device)
