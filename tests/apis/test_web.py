"""The web page: over HTTP, as gradio's client and others ask, and clicked through in a headless Chromium."""

import http.client
import json
import os
import shutil
import socket
import urllib.error
import urllib.request

import numpy as np
import pytest
from PIL import Image

pytest.importorskip('gradio', reason='the web page: pip install -r requirements/web.txt')
pytest.importorskip('mmdet')
pytest.importorskip('mmseg')

import gradio_client

from m2f_mm.apis.web import running
from m2f_mm.apis.web_models import ServedModels
from m2f_mm.heads import head_of
from tests.helpers.small_models import SEGMENTOR, write_checkpoint

BROWSERS = ('chromium', 'chromium-browser', 'google-chrome')
FLAGS = ['--no-sandbox', '--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream']
MB = 0.25  # of the largest upload


@pytest.fixture(scope='module')
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp('models')
    paths = write_checkpoint(folder / 'detector.pth'), write_checkpoint(folder / 'segmentor.pth', SEGMENTOR)
    served = ServedModels(paths)
    served.runs = []
    model = served['detector.pth'].segmenter.model
    head_of(model).register_forward_hook(lambda *_: served.runs.append(1))
    served.paths = paths
    return served


@pytest.fixture(scope='module')
def address(models):
    with running(models, max_mb=MB) as address:
        yield address


@pytest.fixture(scope='module')
def client(address):
    return gradio_client.Client(address, verbose=False)


@pytest.fixture(scope='module')
def photo(tmp_path_factory):
    path = tmp_path_factory.mktemp('photos') / 'my photo.png'
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (48, 64, 3), np.uint8)).save(path)
    return str(path)


def file(path):
    return gradio_client.handle_file(path)


def ask(client, photo, task='panoptic', *, annotation=None, model='detector.pth', score=0.3, mask=0.0):
    """HTML, truth, rows of the table, classes, note."""
    annotation = None if annotation is None else file(annotation)
    predicted, truth, table, classes, note = client.predict(
        file(photo), annotation, model, task, score, mask, 0.0, api_name='/segment'
    )
    return predicted, truth, table['data'], classes, note


def test_thresholds_run_no_network(client, photo, models):
    models.runs.clear()
    predicted, truth, everything, classes, note = ask(client, photo)
    assert predicted.count('<g>') == len(everything) > 2 and note == '' and not truth['visible']
    assert len(classes['choices']) == len({row[0] for row in everything})
    assert len(ask(client, photo, mask=0.3)[2]) < len(everything)
    assert ask(client, photo, 'instance', score=1.0)[2] == []
    assert len(ask(client, photo, 'instance', score=0.0)[2]) > 2
    assert len(models.runs) == 1
    assert ask(client, photo, 'semantic', model='segmentor.pth')[2] and len(models.runs) == 1


def test_truth_beside_the_prediction(client, photo, tmp_path):
    Image.fromarray(np.full((48, 64), 4, np.uint8)).save(tmp_path / 'labels.png')
    truth = ask(client, photo, annotation=str(tmp_path / 'labels.png'))[1]
    assert truth['visible'] and '<title>sky</title>' in truth['value']
    (tmp_path / 'evil.pkl').write_bytes(b'cos\nsystem\n(S"touch /tmp/m2f_was_here"\ntR.')
    (tmp_path / 'evil.json').write_bytes(b'cos\nsystem\n')
    for name, said in (('evil.pkl', 'Invalid file type'), ('evil.json', 'evil.json is not valid JSON')):
        try:
            note = ask(client, photo, annotation=str(tmp_path / name))[4]
        except Exception as error:  # gradio's own refusal
            note = str(error)
        assert said in note and 'uploads' not in note


@pytest.mark.parametrize('kind, name', [('png', 'my_photo_drawn.png'), ('coco', 'my_photo_coco.json')])
def test_downloads(client, photo, kind, name):
    path = client.predict(file(photo), 'detector.pth', 'panoptic', 0.3, 0.0, 0.0, api_name=f'/download_{kind}')
    assert path.endswith(name)
    if kind == 'png':
        assert Image.open(path).size == (64, 48)
    else:
        with open(path) as content:
            assert json.load(content)['images'][0]['file_name'] == 'my_photo.png'


def test_many_images(client, photo, tmp_path):
    (tmp_path / 'broken.png').write_bytes(b'x')
    files = [file(photo), file(str(tmp_path / 'broken.png'))]
    archive, gallery, note = client.predict(files, None, 'detector.pth', 'panoptic', 0.3, 0.0, 0.0, api_name='/files')
    assert archive.endswith('.zip') and len(gallery) == 1
    assert note.startswith('1 images') and 'broken.png (it is not a readable image' in note and '/tmp' not in note


def test_only_listed_models_and_tasks(client, photo):
    for model, task in (('/etc/passwd', 'panoptic'), ('segmentor.pth', 'panoptic'), ('detector.pth', 'boxes')):
        with pytest.raises(Exception, match=r'not in the list of choices|predicts semantic'):
            ask(client, photo, task, model=model)


def answer(address, data=None, **headers):
    """Status and content."""
    request = urllib.request.Request(address, data, headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_files_of_the_server_cannot_be_read(address, models, photo):
    for path in ('/etc/passwd', models.paths[0], photo, __file__, 'pyproject.toml', '../../etc/passwd'):
        status, content = answer(f'{address}/gradio_api/file={urllib.request.quote(path)}')
        assert status in (403, 404) and b'root:' not in content, path
    assert answer(f'{address}/gradio_api/file=http://127.0.0.1:1/x')[0] == 403


@pytest.mark.parametrize('path', ['/etc/hostname', 'http://127.0.0.1:1/x.png', 'file:///etc/hostname'])
def test_files_that_were_not_uploaded(address, photo, path):
    """A request may name a path, or an address: neither is read."""
    given = dict(path=path, meta=dict(_type='gradio.FileData'))
    for data in ([given, None, *MODEL], [dict(path=photo, meta=given['meta']), given, *MODEL]):
        body = json.dumps(dict(data=data)).encode()
        status, content = answer(f'{address}/gradio_api/call/segment', body, **{'Content-Type': 'application/json'})
        if '://' in path:
            assert status == 403 and b'fetches no addresses' in content
            continue
        event = json.loads(content)['event_id']
        _, content = answer(f'{address}/gradio_api/call/segment/{event}')
        assert b'event: error' in content


MODEL = ('detector.pth', 'panoptic', 0.3, 0.0, 0.0)


def upload(size):
    """A browser's request with a file of so many bytes."""
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    return head + bytes(size) + b'\r\n--x--\r\n'


def test_sizes_are_bounded(address):
    boundary = {'Content-Type': 'multipart/form-data; boundary=x'}
    limit = int(MB * 2**20)
    for size, status in ((limit - 1000, 200), (limit + 1000, 413)):
        assert answer(f'{address}/gradio_api/upload', upload(size), **boundary)[0] == status
    connection = http.client.HTTPConnection(address.removeprefix('http://'), timeout=20)
    connection.request('POST', '/gradio_api/upload', headers={**boundary, 'Content-Length': str(21 * limit)})
    assert connection.getresponse().status == 413  # before any of it has come
    connection.close()
    assert answer(f'{address}/gradio_api/call/segment', b' ' * (2**20 + 1))[0] == 413


def test_nothing_is_left(models, photo):
    """Uploads and results are gone with the page."""
    before = os.environ.get('GRADIO_TEMP_DIR')
    with running(models) as address:
        uploads = os.environ['GRADIO_TEMP_DIR']
        ask(gradio_client.Client(address, verbose=False), photo)
        assert os.path.isdir(uploads)
    assert not os.path.exists(os.path.dirname(uploads)) and os.environ.get('GRADIO_TEMP_DIR') == before
    with pytest.raises(OSError), socket.create_connection(('127.0.0.1', int(address.rsplit(':')[-1])), 2):
        pass


# How many segments are shown, once image and table agree; 0 before.
SHOWN = """() => {
    const outlines = document.querySelectorAll('#m2f-predicted .m2f-hover g').length
    return `${outlines + 1}` === document.querySelector('#m2f-table [role=grid]')?.ariaRowCount ? outlines : 0
}"""


def wait_for_segments(page, condition):
    """The number of segments that are shown, once it fulfils a condition such as '> 2'."""
    page.wait_for_function(f'({SHOWN})() > 0 && ({SHOWN})() {condition}')
    return page.evaluate(SHOWN)


@pytest.fixture(scope='module')
def browser():
    playwright = pytest.importorskip('playwright.sync_api', reason='clicking through the page: pip install playwright')
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f'clicking through the page needs one of {", ".join(BROWSERS)}: apt-get install chromium')
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


def test_clicked_through(browser, address, models, photo, tmp_path):
    """Upload, table, slider, task, classes, truth, downloads, many images, a mistake."""
    page = browser.new_page(viewport=dict(width=1280, height=1000))
    page.set_default_timeout(30000)
    foreign, wrong = [], []
    page.on(
        'request', lambda each: foreign.append(each.url) if not each.url.startswith((address, 'data:', 'blob:')) else 0
    )
    page.on('pageerror', lambda error: wrong.append(str(error)))
    page.goto(address)
    models.runs.clear()
    shutil.copy(photo, tmp_path / 'other.png')  # of a name that no other test has shown
    page.set_input_files('#m2f-image input[type=file]', str(tmp_path / 'other.png'))
    number = wait_for_segments(page, '> 2')
    assert len(models.runs) == 1

    # The mouse over a segment says class and score.
    page.mouse.move(0, 0)
    assert page.locator('#m2f-predicted .m2f-hover text:visible').count() == 0
    box = page.locator('#m2f-predicted .m2f-hover').bounding_box()
    page.mouse.move(box['x'] + box['width'] / 2, box['y'] + box['height'] / 2)
    hovered = page.locator('#m2f-predicted .m2f-hover g:hover text:visible')
    assert hovered.text_content().split()[-1].startswith('0.')

    # A threshold and another task run no network.
    page.locator('#m2f-object_mask_thr input[type=range]').focus()
    for _ in range(22):
        page.keyboard.press('ArrowRight')
    wait_for_segments(page, f'< {number}')
    page.locator('#m2f-task label', has_text='instance').click()
    page.locator('#m2f-score_thr').wait_for(state='visible')
    page.locator('#m2f-score_thr input[type=number]').fill('0')
    before = wait_for_segments(page, '> 5')
    assert page.locator('#m2f-iou_thr').is_hidden() and len(models.runs) == 1

    # A class is switched off.
    page.locator('#m2f-classes input').first.click()
    after = wait_for_segments(page, f'< {before}')

    # What is shown is saved.
    for kind, name in (('PNG', 'other_drawn.png'), ('COCO', 'other_coco.json'), ('labelme', 'other.json')):
        with page.expect_download() as saved:
            page.click(f'#m2f-{kind}')
        assert saved.value.suggested_filename == name
        content = open(saved.value.path(), 'rb').read()
        if kind == 'COCO':
            assert len(json.loads(content)['annotations']) == after
    assert len(models.runs) == 1

    # Truth beside the prediction.
    Image.fromarray(np.full((48, 64), 5, np.uint8)).save(tmp_path / 'labels.png')
    page.set_input_files('#m2f-annotation input[type=file]', str(tmp_path / 'labels.png'))
    page.locator('#m2f-truth .m2f-hover g').first.wait_for(state='attached')
    assert page.locator('#m2f-truth title').all_text_contents() == ['ground']

    # Another model.
    page.locator('#m2f-model input').click()
    page.get_by_role('option', name='segmentor.pth').click()
    page.locator('#m2f-task label', has_text='panoptic').wait_for(state='detached')
    title = 'document.querySelector("#m2f-predicted .m2f-hover title")'
    page.wait_for_function(f'!{title}.textContent.includes(".")')  # label maps have no scores
    assert page.locator('#m2f-score_thr').is_hidden() and len(models.runs) == 1

    # Several images become an archive.
    page.get_by_role('tab', name='images or folder').click()
    page.set_input_files('#m2f-several input[type=file]', [photo, str(tmp_path / 'other.png')])
    page.locator('#m2f-several').get_by_text('other.png').first.wait_for()
    page.click('#m2f-run-files')
    page.locator('#m2f-archive a').first.wait_for()
    assert '2 images are predicted' in page.locator('#m2f-files-note').inner_text()

    # A mistake is said.
    page.get_by_role('tab', name='video').click()
    page.click('#m2f-run-video')
    page.get_by_text('choose a video first').first.wait_for()
    assert not wrong and not foreign
    page.close()


def test_camera(browser, address):
    """Chromium's moving test picture in the place of a camera's."""
    page = browser.new_page(permissions=['camera'])
    page.set_default_timeout(30000)
    page.goto(address)
    page.get_by_label('Capture from camera').first.click()
    page.get_by_title('grant webcam access').first.get_by_role('button').click()
    page.wait_for_function('document.querySelector("#m2f-image video")?.readyState >= 3')
    page.wait_for_timeout(1000)
    page.get_by_label('capture photo').first.click()
    page.locator('#m2f-predicted .m2f-hover g').first.wait_for(state='attached')
    page.close()
