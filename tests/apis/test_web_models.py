"""What the web page asks of models, without a web framework."""

import json
import zipfile

import cv2
import numpy as np
import pytest
from PIL import Image

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')

from m2f_mm.apis.hover import hover_html
from m2f_mm.apis.video_files import open_video
from m2f_mm.apis.web_models import (
    MAX_FRAMES,
    ServedModels,
    distinct_names,
    safe_name,
    short_names,
    without_classes,
    written,
)
from m2f_mm.heads import head_of
from tests.helpers.small_models import SEGMENTOR, write_checkpoint


@pytest.fixture(scope='module')
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp('models')
    models = write_checkpoint(folder / 'detector.pth'), write_checkpoint(folder / 'segmentor.pth', SEGMENTOR)
    return ServedModels(models)


@pytest.fixture
def detector(served):
    return served['detector.pth']


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / 'photo.png'
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (48, 64, 3), np.uint8)).save(path)
    return str(path)


def runs_of(model):
    """A list that grows whenever the network of a served model runs."""
    runs = []
    model.hook = head_of(model.segmenter.model).register_forward_hook(lambda *_: runs.append(1))
    return runs


def test_thresholds_and_tasks_run_the_network_once(detector, photo):
    assert detector.thresholds('panoptic') == dict(object_mask_thr=0.0, iou_thr=0.0)
    assert detector.thresholds('instance') == dict(score_thr=0.3) and detector.thresholds('semantic') == {}
    runs = runs_of(detector)
    numbers = [len(detector.result(photo, 'panoptic', dict(object_mask_thr=each))) for each in (0.0, 0.3, 0.99)]
    numbers.append(
        len(detector.result(photo, 'instance', dict(score_thr=0.0, iou_thr=0.3)))
    )  # the latter is of another task
    assert len(runs) == 1 and numbers[0] > numbers[2] and numbers[3] > 0
    assert detector.result(photo, 'semantic', {}).name == 'photo.png'
    Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(photo)  # another image in a file of the same name
    detector.result(photo, 'semantic', {})
    assert len(runs) == 2


def test_kept_outputs_are_bounded(detector, tmp_path, monkeypatch):
    from m2f_mm.apis import web_models

    detector._outputs.clear()
    for index in range(4):
        Image.fromarray(np.full((48, 64, 3), index, np.uint8)).save(tmp_path / f'{index}.png')
        detector.result(str(tmp_path / f'{index}.png'), 'panoptic', {})
        if index == 0:
            size = next(iter(detector._outputs.values())).num_bytes
            monkeypatch.setattr(web_models, 'KEPT_BYTES', 2 * size)
    assert [name for _, name in detector._outputs] == ['2.png', '3.png']


def test_segmentor(served, photo):
    model = served['segmentor.pth']
    assert model.thresholds('semantic') == {} and not model.tracks
    assert model.result(photo, 'semantic', dict(score_thr=0.5)).kind == 'semantic'
    with pytest.raises(ValueError, match='cannot track'):
        model.video(photo, True, 'semantic', {}, None, None)


def test_only_listed_models(served, tmp_path):
    assert served.names == ['detector.pth', 'segmentor.pth']
    with pytest.raises(ValueError, match='the page offers'):
        served['/etc/passwd']
    with pytest.raises(ValueError, match='m2f serve work_dirs/mine'):
        ServedModels([])
    with pytest.raises(ValueError, match='as many as models, 2, not 1'):
        ServedModels(['a', 'b'], ['c'])
    assert short_names(['/x/one/train', '/x/two/train']) == ['one/train', 'two/train']
    with pytest.raises(ValueError, match='named twice'):
        short_names(['a', 'a'])


@pytest.mark.parametrize(
    'name, safe',
    [
        ('../../etc/passwd', 'passwd'),
        ('C:\\secret\\..\\x y.png', 'x_y.png'),
        ('<img src=x>.png', 'img_src_x_.png'),
        ('.png', 'png'),
        ('..', 'image'),
        ('\u706b.jpg', 'image.jpg'),
        ('a' * 300 + '.png', 'a' * 100 + '.png'),
    ],
)
def test_names_of_uploads(name, safe):
    assert safe_name(name) == safe


def test_equal_names_get_numbers():
    assert distinct_names(['a/x.png', 'b/x.png', 'c/x.png', 'x_2.png']) == ['x.png', 'x_2.png', 'x_3.png', 'x_2_2.png']


def test_many_images(detector, photo, tmp_path):
    """An archive of drawn images and one COCO JSON; files that are no images are named."""
    (tmp_path / 'other').mkdir()
    (tmp_path / 'other' / 'photo.png').write_bytes((tmp_path / 'photo.png').read_bytes())
    (tmp_path / 'broken.png').write_bytes(b'no image')
    (tmp_path / 'model.pkl').write_bytes(b'a pickle')
    paths = [photo, *(str(tmp_path / name) for name in ('other/photo.png', 'broken.png', 'model.pkl'))]
    (tmp_path / 'out').mkdir()
    told = []
    archive, drawn, bad = detector.files(paths, 'panoptic', {}, tmp_path / 'out', lambda *args: told.append(args))
    assert (
        len(drawn) == 2 and {each.name for each in bad} == {'broken.png', 'model.pkl'} and told[-1][1] == 'broken.png'
    )
    with zipfile.ZipFile(archive) as content:
        assert sorted(content.namelist()) == ['coco.json', 'drawn/photo.png', 'drawn/photo_2.png']
        coco = json.loads(content.read('coco.json'))
    assert [each['file_name'] for each in coco['images']] == ['photo.png', 'photo_2.png'] and coco['annotations']
    with pytest.raises(ValueError, match='no image among the 1 files'):
        detector.files([paths[-1]], 'panoptic', {}, tmp_path / 'out', None)


@pytest.fixture
def video(tmp_path, photo):
    frame = cv2.imread(photo)
    path = str(tmp_path / 'my video.mp4')
    writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*'mp4v'), 5, frame.shape[1::-1])
    for shift in range(6):
        writer.write(np.roll(frame, shift, 1))
    writer.release()
    return path


@pytest.mark.parametrize('join', [True, False])
def test_video(detector, video, tmp_path, join, monkeypatch):
    """Tracks, or every frame alone; a long video is cut."""
    from m2f_mm.apis import web_models

    assert detector.tracks and MAX_FRAMES >= 100
    monkeypatch.setattr(web_models, 'MAX_FRAMES', 4)
    (tmp_path / 'out').mkdir()
    told = []
    thresholds = dict(score_thr=0.0, object_mask_thr=0.0, iou_thr=0.0)
    drawn, tracks, said = detector.video(
        video, join, 'panoptic', thresholds, tmp_path / 'out', lambda *args: told.append(args)
    )
    assert drawn.endswith('my_video.mp4') and len(list(open_video(drawn))) == 4
    assert said.startswith('4 frames, the first of 6: ') and told and all(0 <= share <= 1 for share, _ in told)
    if join:
        with open(tracks) as file:
            content = json.load(file)
        assert content['video']['path'] == 'my_video.mp4' and content['video']['length'] == 4 and content['segments']
    else:
        assert tracks is None


def test_switched_off_classes_and_files(detector, photo, tmp_path):
    result = detector.result(photo, 'panoptic', {})
    off = result.segments[0].label
    shown = without_classes(result, [off])
    assert 0 < len(shown) < len(result) and all(segment.label != off for segment in shown)
    assert np.array_equal(np.asarray(Image.open(written(shown, 'PNG', tmp_path))), shown.plot())
    with open(written(shown, 'COCO JSON', tmp_path)) as file:
        assert len(json.load(file)['annotations']) == len(shown)
    with open(written(shown, 'labelme', tmp_path)) as file:
        labelme = json.load(file)
    assert labelme['imagePath'] == 'photo.png'
    assert {shape['label'] for shape in labelme['shapes']} == {segment.name for segment in shown}


def test_hover(detector, photo):
    """An outline with class and score for each segment; names are text."""
    result = detector.result(photo, 'instance', dict(score_thr=0.0))
    result.segments[0].name = '<b>${1}{{x}}"'
    page = hover_html(result)
    assert page.count('<g>') == page.count('<title>') == len(result)
    assert f'{result.segments[1].name} {result.segments[1].score:.2f}</title>' in page
    assert '&lt;b&gt;&#36;&#123;1}&#123;&#123;x}}&quot;' in page and '<b>' not in page and '${' not in page
