"""MMDetection's and MMSegmentation's own scripts on our configs, as their wheels install them."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers import small_data
from tests.helpers.tiny_models import fill

mmdet = pytest.importorskip('mmdet')


@pytest.fixture
def run(monkeypatch):
    """``main()`` of a script with arguments."""

    def call(package, name, *arguments):
        path = Path(package.__file__).parent / '.mim' / 'tools' / name
        if not path.is_file():
            pytest.skip(f'{package.__name__} is installed without {name}')
        spec = importlib.util.spec_from_file_location(path.stem, path)
        script = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(script)
        monkeypatch.setattr(sys, 'argv', [str(path), *map(str, arguments)])
        script.main()

    return call


def written(cfg, folder):
    """The config with one worker-free loader and a small model, as a file."""
    cfg.dump(folder / 'config.py')
    return folder / 'config.py'


@pytest.fixture
def configs(tmp_path, monkeypatch):
    def make(kind, form='polygon'):
        for split in ('train', 'val', 'test'):
            if kind == 'instance':
                small_data.coco(tmp_path, 2, split, form=form)
            elif kind == 'video':
                small_data.video(tmp_path, 2, 3, split)
            elif kind == 'semantic':
                small_data.semantic(tmp_path, 2, split)
            else:
                small_data.panoptic(tmp_path, 2, split)
        return getattr(small_data, f'{kind}_config')(tmp_path, monkeypatch)

    return make


@pytest.mark.parametrize('kind, form', [('instance', 'polygon'), ('instance', 'rle'), ('panoptic', ''), ('video', '')])
def test_browse_dataset(run, configs, tmp_path, monkeypatch, kind, form):
    from PIL import Image

    name = 'analysis_tools/' + ('mot/' if kind == 'video' else '') + 'browse_dataset.py'
    options = ['--output-dir', tmp_path / 'out']
    cfg = configs(kind, form)
    if kind == 'video':  # where a window is always opened
        from m2f_mm.visualization import PanopticVisualizer

        monkeypatch.setattr(PanopticVisualizer, 'show', lambda *args, **kwargs: None)
        run(mmdet, name, written(cfg, tmp_path), *options)
    else:
        run(mmdet, name, written(cfg, tmp_path), *options, '--not-show')
    drawn = sorted((tmp_path / 'out').rglob('*.*g'))
    assert len(drawn) == (4 if kind == 'video' else 2)
    for path in drawn:
        assert np.asarray(Image.open(path)).std() > 1


def test_browse_dataset_of_mmsegmentation(run, configs, tmp_path):
    """Which takes names and colors from the class of a data set."""
    mmseg = pytest.importorskip('mmseg')
    small_data.skip_unless_mmseg_draws()
    cfg = configs('semantic')
    cfg.train_dataloader.dataset.update(type='ADE20KDataset', metainfo=None)
    run(mmseg, 'misc/browse_dataset.py', written(cfg, tmp_path), '--output-dir', tmp_path / 'out', '--not-show')
    assert len(list((tmp_path / 'out').rglob('*.png'))) == 2


@pytest.mark.parametrize('masks', ['bitmap', 'rle'])
def test_results_in_a_file(run, configs, tmp_path, masks, capsys):
    """What ``test.py --out`` writes goes through analyze_results.py, confusion_matrix.py and eval_metric.py."""
    from mmengine.registry import DATASETS, MODELS, DefaultScope

    from m2f_mm.integrations import DumpDetResults

    cfg = configs('instance')
    cfg.model.test_cfg.instance_masks = masks
    cfg.model.backbone.init_cfg = None
    metric = DumpDetResults(out_file_path=str(tmp_path / 'results.pkl'))
    with DefaultScope.overwrite_default_scope('mmdet'), torch.no_grad():
        data = DATASETS.build(cfg.test_dataloader.dataset)
        model = fill(MODELS.build(cfg.model)).eval()
        for item in (data[i] for i in range(len(data))):
            results = model.test_step({key: [value] for key, value in item.items()})
            metric.process({}, [result.to_dict() for result in results])
    metric.evaluate(len(data))
    config = written(cfg, tmp_path)
    capsys.readouterr()
    run(mmdet, 'analysis_tools/eval_metric.py', config, tmp_path / 'results.pkl')
    assert 'coco/segm_mAP' in capsys.readouterr().out
    run(mmdet, 'analysis_tools/confusion_matrix.py', config, tmp_path / 'results.pkl', tmp_path / 'matrix')
    assert (tmp_path / 'matrix' / 'confusion_matrix.png').is_file()
    if masks == 'bitmap':
        run(mmdet, 'analysis_tools/analyze_results.py', config, tmp_path / 'results.pkl', tmp_path / 'shown')
        assert len(list((tmp_path / 'shown').rglob('*.png'))) == 2


def test_loading_pipelines_are_recognised():
    from mmdet.datasets import get_loading_pipeline
    from mmdet.datasets.transforms import LoadAnnotations, LoadPanopticAnnotations

    from m2f_mm import datasets

    for kind in ('LoadPanopticSegments', 'LoadPanopticAnnotations', 'LoadAnnotations'):
        steps = [dict(type='m2f_mm.LoadImage'), dict(type=f'm2f_mm.{kind}'), dict(type='RandomFlip')]
        assert get_loading_pipeline(steps) == steps[:2]
    assert datasets.LoadPanopticSegments == LoadPanopticAnnotations != datasets.LoadImage
    assert datasets.LoadImage != LoadAnnotations and len({datasets.LoadImage, datasets.LoadPanopticSegments}) == 2
