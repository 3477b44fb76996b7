"""Own data: from a folder of any format to a config, a training, a model that predicts."""

import json
from pathlib import Path

import pytest
from mmengine.config import Config

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')

from m2f_mm.apis import cli
from m2f_mm.apis.own_config import METRICS, SMALL
from m2f_mm.apis.own_data import prepare_training
from m2f_mm.apis.segmenter import Segmenter
from m2f_mm.datasets.formats import recognise, write_training_form
from tests.helpers import own_data

FORMATS = dict(
    instance=own_data.labelme,
    panoptic=own_data.coco_panoptic,
    semantic=own_data.index_masks_with_classes,
    boxes=own_data.voc_boxes,
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path / 'scenes'


@pytest.mark.parametrize('task', list(FORMATS))
def test_every_task_trains_and_predicts(task, folder, monkeypatch, capsys):
    """``m2f train`` on a folder; the result is a model for ``m2f predict``."""
    from m2f_mm.apis import own_data as own

    FORMATS[task](folder)
    text = own.training_config
    monkeypatch.setattr(own, 'training_config', lambda *parts: _thinned(text(*parts)))
    numbers = '--max-iters 2 --val-interval 1 --size 64 --batch-size 2 --workers 0'.split()
    assert cli.main(['train', 'scenes', '--work-dir', 'run', '--device', 'cpu', *numbers]) == 0
    told = capsys.readouterr().out
    assert f'scenes_{task}.py' in told and 'as given' in told and 'm2f predict run' in told
    model = Segmenter('run')
    assert model.tasks[0] == task and set(own_data.CLASSES[:2]) <= set(model.classes)
    assert model(next(folder.rglob('*.jpg'))).kind == task
    assert cli.main(['evaluate', 'run', '--device', 'cpu']) == 0
    assert METRICS[task].rsplit('/')[-1] in capsys.readouterr().out


def _thinned(text):
    head = 'decode_head' if 'decode_head' in text else 'panoptic_head'
    return f"""{text}
model['backbone'] = dict(init_cfg=None, norm_eval=False)
model['{head}'].update(
    pixel_decoder=dict(num_layers=1, feedforward_channels=16),
    transformer_decoder=dict(num_layers=1, feedforward_channels=16),
)
"""


def test_a_trained_model_trains_further(folder, monkeypatch):
    from m2f_mm.apis import own_data as own

    own_data.labelme(folder)
    text = own.training_config
    monkeypatch.setattr(own, 'training_config', lambda *parts: _thinned(text(*parts)))
    numbers = dict(max_iters=1, val_interval=1, size=64, batch_size=2, workers=0)
    first = own.train_prepared(prepare_training('scenes', 'first', device='cpu', **numbers))
    monkeypatch.setattr(own, 'training_config', text)
    second = Segmenter(first).train('scenes', 'second', **numbers)
    cfg = Config.fromfile(second.cfg.filename)
    assert cfg.load_from.startswith('first/') and second.classes == Segmenter(first).classes


@pytest.mark.parametrize('task', list(FORMATS))
@pytest.mark.parametrize('model', [SMALL, 'auto'])
def test_configs_are_complete(task, model, folder, monkeypatch):
    """Every number has a reason; the config builds data sets and, on a GPU, starts from published weights."""
    import torch

    FORMATS[task](folder)
    if model == 'auto':
        monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
        monkeypatch.setattr(torch.cuda, 'device_count', lambda: 1)
        monkeypatch.setattr(torch.cuda, 'mem_get_info', lambda *_: (24 * 2**30, 24 * 2**30))
    prepared = prepare_training('scenes', 'run', model=model)
    cfg = Config.fromfile(prepared.config)
    plan = prepared.plan
    assert all(plan.reasons.values()) and str(plan.max_iters) in plan.describe()
    if model == 'auto':
        assert cfg.load_from.startswith('m2f_mm://') and 'license' in plan.reasons['load_from']
        assert plan.batch_size * plan.accumulate <= 16
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        assert tuple(loader.dataset.metainfo.classes) == prepared.form.classes
        assert Path(loader.dataset.ann_file).is_file()
    head = cfg.model.get('panoptic_head') or cfg.model.decode_head
    assert set(head.metainfo.classes) == set(prepared.form.classes) and '_delete_' not in head.metainfo
    assert cfg.default_hooks.checkpoint.save_best == METRICS[task]
    assert {hook['type'] for hook in cfg.custom_hooks} == {'m2f_mm.ClassCountHook', 'EMAHook', 'EarlyStoppingHook'}


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(task='panoptic'), 'not for .panoptic'),
        (dict(sise=64), 'did you mean size'),
        (dict(model='mask2former_r50_coco'), 'Did you mean'),
        (dict(val_share=2), 'val_share must be between 0 and 1'),
    ],
)
def test_mistakes(options, message, folder):
    own_data.labelme(folder)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        prepare_training('scenes', 'run', device='cpu', **options)


def test_data_check(folder, capsys):
    own_data.coco(folder)
    assert cli.main(['data', 'check', 'scenes', '--samples', 'samples.png']) == 0
    told = capsys.readouterr().out
    assert 'COCO instances' in told and 'ring' in told and Path('samples.png').is_file()
    next(folder.rglob('*.jpg')).write_bytes(b'x')
    assert cli.main(['data', 'check', 'scenes']) == 1
    Path('empty').mkdir()
    assert cli.main(['data', 'check', 'empty']) == 2
    assert 'Looked for, in this order' in capsys.readouterr().err


def test_videos_are_for_configs(folder):
    own_data.youtube_vis(folder)
    with pytest.raises(ValueError, match=r'docs/videos.md'):
        prepare_training('scenes', 'run', device='cpu')


def test_an_image_without_objects_teaches(folder):
    """It stays in the training data."""
    own_data.coco(folder)
    content = json.loads(next(folder.rglob('*.json')).read_text())
    first = content['images'][0]['id']
    content['annotations'] = [each for each in content['annotations'] if each['image_id'] != first]
    next(folder.rglob('*.json')).write_text(json.dumps(content))
    data = recognise(str(folder))
    form = write_training_form(data, 'form', splits=dict(train=data.records))
    assert form.splits['train'].images == len(content['images'])
