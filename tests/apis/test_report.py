"""``m2f report``: what is read of logs, what the page says, and that it stands alone."""

import json
import os
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from mmengine.config import Config

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')

from m2f_mm.apis import cli, config_path
from m2f_mm.apis.own_data import METRICS, prepare_training
from m2f_mm.apis.report import write_report
from m2f_mm.apis.report_charts import ticks
from m2f_mm.apis.report_curves import Curve, charts, read_history, thinned
from m2f_mm.apis.report_data import ValidationData
from m2f_mm.apis.report_queries import draw_view, query_views, recorded_layers
from m2f_mm.apis.segmenter import Segmenter
from m2f_mm.heads import head_of
from m2f_mm.mask_ops import attention_mask, resize_features
from tests.helpers import own_data
from tests.helpers.small_models import write_checkpoint

FORMATS = dict(instance=own_data.coco, panoptic=own_data.coco_panoptic, semantic=own_data.index_masks_with_classes)
NASTY = '<script>alert("x")</script> & \'ell\''
EMPTY = ('meta', 'img', 'path', 'circle', 'rect', 'polyline')  # elements that are not closed by a tag of their own


class Page(HTMLParser):
    """Checks that elements are closed in their order, and keeps texts, tags and addresses."""

    def __init__(self, html):
        super().__init__()
        self.open, self.texts, self.tags, self.addresses, self.ids = [], [], [], [], []
        self.feed(html)
        assert self.open == []
        self.text = ' '.join(self.texts)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.addresses += [value for name, value in attributes if name in ('href', 'src', 'xlink:href', 'data')]
        self.ids += [value for name, value in attributes if name == 'id']
        if tag not in ('meta', 'img'):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def page_of(path):
    html = path.read_text()
    page = Page(html)
    assert all(address.startswith(('data:image/', '#')) for address in page.addresses)
    assert {address[1:] for address in page.addresses if address.startswith('#')} <= set(page.ids)
    assert '://' not in re.sub(r'base64,[^"]*', '', html) and 'script' not in page.tags and '@import' not in html
    return page


def write_log(folder, run, lines):
    log = folder / run / 'vis_data' / 'scalars.json'
    log.parent.mkdir(parents=True)
    log.write_text('\n'.join(line if isinstance(line, str) else json.dumps(line) for line in lines) + '\n')


def step(number, loss, **more):
    return dict(lr=1e-3 / number, loss=loss, time=0.5, iter=number, step=number, **more)


def test_history_of_a_resumed_run(tmp_path):
    """What was logged after the checkpoint that was resumed is dropped; a run that only evaluated changes nothing."""
    parts = {'d0.loss_cls': 2.0, 'loss_cls': 1.0, 'enc_loss_cls': 3.0, 'dn_loss_cls': 0.5}
    first = [step(20, 5.0, **parts), {'coco/segm_mAP': 0.1, 'time': 9, 'step': 20}, step(40, 4.0), step(60, 99.0)]
    write_log(tmp_path, '20260101_1', first)
    write_log(tmp_path, '20260102_1', [{'coco/segm_mAP': 0.7, 'step': 0}][:0])
    (tmp_path / '20260102_2').mkdir()
    second = [step(50, 3.0), step(70, float('nan'), grad_norm=float('inf')), {'coco/segm_mAP': -1.0, 'step': 70}]
    write_log(tmp_path, '20260103_1', [*second, {'coco/segm_mAP': 0.2, 'step': 80}, '{"loss": 1.0, "it'])
    history = read_history(tmp_path)
    assert history.runs == ['20260101_1', '20260103_1'] and history.broken == 1 and history.last_step == 80
    assert history.training['loss'] == Curve('loss', [20, 40, 50], [5.0, 4.0, 3.0])
    assert history.validation == {'coco/segm_mAP': Curve('coco/segm_mAP', [20, 80], [0.1, 0.2])}
    assert history.not_finite == dict(loss=1, grad_norm=1)
    drawn = {chart.title: chart.curves for chart in charts(history)}
    assert [curve.name for curve in drawn['loss of each layer']] == ['d0', 'last', 'enc']
    last = next(curve for curve in drawn['loss of each layer'] if curve.name == 'last')
    assert last.values == [1.5]
    assert [curve.name for curve in drawn['parts of the loss, after the last layer']] == ['loss_cls', 'dn_loss_cls']
    assert 'norm of the gradients' not in drawn  # of which no value was finite
    assert drawn['validation: coco'][0].name == 'segm_mAP'


def test_history_of_epochs_and_segmentors(tmp_path):
    """Validations of trainings by epochs count these."""
    train = [{'decode.d0.loss_mask': 1.0, 'decode.loss_mask': 2.0, 'lr': 1, 'loss': 3.0}]
    lines = [dict(train[0], epoch=1, iter=30, step=30), dict(mIoU=10.0, step=1)]
    lines += [dict(train[0], epoch=2, iter=60, step=60), dict(mIoU=20.0, step=2)]
    write_log(tmp_path, '20260101', lines)
    history = read_history(tmp_path)
    assert history.validation['mIoU'] == Curve('mIoU', [30, 60], [10.0, 20.0])
    titles = {chart.title: [curve.name for curve in chart.curves] for chart in charts(history)}
    assert titles['loss of each layer'] == ['d0', 'last'] and titles['validation'] == ['mIoU']


def test_curves_are_thinned_by_means():
    curve = thinned(Curve('x', list(range(10)), [float(value) for value in range(10)]), 4)
    assert curve == Curve('x', [1, 4, 7, 9], [1.0, 4.0, 7.0, 9.0])


@pytest.mark.parametrize('low, high', [(0, 1), (-3, 8), (1e-6, 5e-5), (2, 2), (0.1, 0.7), (123, 45678)])
def test_ticks(low, high):
    found = ticks(low, high)
    assert 1 <= len(found) <= 7 and all(low - 1e-9 <= value <= high + 1e-9 for value in found)


@pytest.fixture(scope='module', params=list(FORMATS))
def run(request, tmp_path_factory):
    """The task and folder of a training: config, a log, a checkpoint. A class and an image have nasty names."""
    root = tmp_path_factory.mktemp(request.param)
    FORMATS[request.param](root / 'scenes')
    if request.param == 'instance':
        found = root / 'scenes/annotations/all.json'
        content = found.read_text().replace('"ell"', json.dumps(NASTY)).replace('1.jpg', "1'<b>&.jpg")
        found.write_text(content)
        os.rename(root / 'scenes/images/1.jpg', root / "scenes/images/1'<b>&.jpg")
    prepared = prepare_training(root / 'scenes', root / 'run', device='cpu', val_share=0.5, size=64, workers=0)
    cfg = Config.fromfile(prepared.config)
    cfg.model.backbone.update(init_cfg=None)
    head = cfg.model.get('panoptic_head') or cfg.model.decode_head
    head.pixel_decoder.update(num_layers=1, feedforward_channels=16)
    head.transformer_decoder.update(num_layers=2, feedforward_channels=16)
    if request.param == 'panoptic':
        cfg.model.test_cfg.update(object_mask_thr=0.0, iou_thr=0.0, filter_low_score=False)
    (root / 'run').mkdir(exist_ok=True)
    cfg.dump(root / 'run' / 'config.py')
    write_checkpoint(root / 'run' / 'best_x_iter_20.pth', cfg=cfg)
    write_log(root / 'run', '20260101', [step(20, 1.0), {METRICS[request.param]: 0.5, 'step': 20}])
    return request.param, root / 'run'


def test_the_page(run, capsys, monkeypatch):
    """Every section is there; it is well-formed, loads nothing, and its numbers are those of the evaluation."""
    task, folder = run
    assert cli.main(['report', str(folder), '--device', 'cpu']) == 0
    assert 'images predicted' in capsys.readouterr().out
    path = folder / 'report.html'
    page = page_of(path)
    expected = ['curves', 'classes', 'confusion', 'calibration', 'worst', 'queries']
    assert [name for name in page.ids if name in expected] == expected and path.stat().st_size < 15e6
    assert page.tags.count('img') >= 3 + 8  # panels of an image, and queries
    if task == 'instance':
        assert NASTY in page.text
    monkeypatch.chdir(folder.parent)
    metrics = Segmenter(str(folder), device='cpu').evaluate()
    name, digits = dict(panoptic=('PQ', 2), semantic=('mIoU', 2)).get(task, ('AP', 1))
    shown = float(re.search(rf'\b{name} (\d+\.\d+), [^<]* on all 2 images', page.text)[1])
    value = metrics[METRICS[task]] * (100 if name == 'AP' else 1)
    assert shown == pytest.approx(value, abs=0.6 * 10**-digits)


def test_truth_is_that_of_the_annotations(run):
    task, folder = run
    data = ValidationData(Segmenter(str(folder), device='cpu'))
    assert data.task == task and len(data) == 2
    for index in range(2):
        number = int(re.match(r'\d', data.name(index))[0])
        image = data.image(index)
        result = data.truth(index, image).result
        assert result.image is image and result.size == own_data.SIZE
        if task == 'semantic':
            assert (result.semantic == own_data.label_map(number)).all()
            continue
        names = {NASTY: 'ell'}
        found = sorted(
            (names.get(segment.name, segment.name), segment.mask.tobytes())
            for segment in result
            if segment.name != 'ground'
        )
        assert found == own_data.expected(number)
    if task == 'panoptic':
        assert (result.panoptic > 0).all()


def test_queries_are_those_of_the_network(run):
    """Predictions of each layer, and the attention masks that follow from the layer before."""
    import torch

    _, folder = run
    segmenter = Segmenter(str(folder), device='cpu')
    data = ValidationData(segmenter)
    prepared = data.prepared(0)
    image, views = query_views(segmenter, prepared, 3)
    assert image.shape == (*prepared['inputs'].shape[-2:], 3) and len(views) == 3
    model, head = segmenter.model, head_of(segmenter.model)
    batch = model.data_preprocessor(dict(inputs=[prepared['inputs']], data_samples=[prepared['data_samples']]), False)
    with torch.no_grad():
        features = model.extract_feat(batch['inputs'])
        layers = head(features, every_layer=True).layers
        with recorded_layers(head) as kept:
            again = head(features).layers
    assert len(layers) == len(again) == 3 and [len(view.layers) for view in views] == [3, 3, 3]
    for view in views:
        for layer, shown in zip(layers, view.layers):
            values = layer.class_logits[0, view.number].softmax(-1)[:-1]
            assert shown.label == int(values.argmax()) and shown.score == pytest.approx(float(values.max()), abs=1e-5)
    assert len(kept.attention) == 2 and views[0].layers[-1].attention is None
    for layer, mask in zip(layers, kept.attention):
        resized = resize_features(layer.mask_features, mask.shape[-2:])
        expected = attention_mask(layer.mask_embeds, resized)[0, 0].view_as(mask)
        assert (mask == expected).float().mean() > 0.999
    best = layers[-1].class_logits[0].softmax(-1)[:, :-1].max(-1).values
    assert [view.number for view in views] == best.topk(3).indices.tolist()


@pytest.mark.parametrize('name', ['mask_dino_r18_shapes-panoptic', 'maskformer_r18_shapes-panoptic'])
def test_queries_without_masked_attention(name, tmp_path):
    cfg = Config.fromfile(config_path(f'demo/{name}.py'))
    segmenter = Segmenter(write_checkpoint(tmp_path / 'model.pth', cfg=cfg), device='cpu')
    pixels = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)
    image, views = query_views(segmenter, segmenter.prepare(pixels), 2)
    layers = cfg.model.panoptic_head.transformer_decoder.num_layers
    assert {len(view.layers) for view in views} <= {layers, layers + 1}
    for layer in views[0].layers:
        assert layer.mask.shape == image.shape[:2] and layer.attention is None
        drawn = draw_view(image, layer, 50)
        assert drawn.shape == (round(50 * image.shape[0] / image.shape[1]), 50, 3) and drawn.dtype == np.uint8
    output = segmenter(pixels, object_mask_thr=0.0)  # the network predicts as before
    assert output.kind == 'panoptic'


def test_videos_have_curves(tmp_path):
    write_log(tmp_path, '20260101', [step(20, 1.0)])
    (tmp_path / 'config.py').write_text("model = dict(track_head=dict(type='x'))")
    (tmp_path / 'last_checkpoint').write_text('gone.pth')
    assert 'for videos' in write_report(tmp_path).notes[0]


def test_curves_alone(tmp_path, capsys):
    """Without a checkpoint, and without a config that can be read."""
    write_log(tmp_path, '20260101', [step(20, 1.0, **{'<i>loss': 2.0})])
    assert cli.main(['report', str(tmp_path)]) == 0
    assert 'no checkpoint yet' in capsys.readouterr().err
    page = page_of(tmp_path / 'report.html')
    assert 'no checkpoint yet' in page.text and 'There was no validation yet' in page.text and 'img' not in page.tags
    (tmp_path / 'last_checkpoint').write_text('gone.pth')
    (tmp_path / 'config.py').write_text('x = 1')
    assert write_report(tmp_path, predict=False, out=tmp_path / 'a' / 'b.html').notes == []
    page_of(tmp_path / 'a' / 'b.html')


@pytest.mark.parametrize('run', ['instance'], indirect=True)
@pytest.mark.parametrize(
    'arguments, message',
    [
        (['nowhere'], "there is no folder 'nowhere'"),
        (['empty'], 'neither logs'),
        (['RUN', '--images', '0'], '--images 0'),
        (['RUN', '--out', 'empty'], 'is a folder'),
        (['RUN', '--weights', 'none.pth'], 'none.pth'),
        (['RUN', '--out', 'model.pth'], 'ends in .html'),
        (['RUN', '--out', 'IMAGES/x.html'], 'is read as data'),
        (['RUN', '--device', 'cuda:9'], 'cuda:9'),
    ],
)
def test_mistakes(run, arguments, message, tmp_path, monkeypatch, capsys):
    _, folder = run
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'empty').mkdir()
    image = next((folder.parent / 'scenes').rglob('0.jpg'))
    arguments = [text.replace('RUN', str(folder)).replace('IMAGES', str(image.parent)) for text in arguments]
    assert cli.main(['report', *arguments]) == 2
    assert message in capsys.readouterr().err and os.listdir(tmp_path) == ['empty']


@pytest.mark.parametrize('run', ['instance'], indirect=True)
def test_missing_data(run, tmp_path, capsys):
    _, folder = run
    own, moved = folder / 'own_data', tmp_path / 'own_data'
    os.rename(own, moved)
    try:
        assert cli.main(['report', str(folder), '--out', str(tmp_path / 'x.html')]) == 2
    finally:
        os.rename(moved, own)
    assert 'does not exist' in capsys.readouterr().err and not (tmp_path / 'x.html').exists()
