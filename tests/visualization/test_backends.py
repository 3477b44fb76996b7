"""The lines of docs/report.md for TensorBoard, Weights & Biases and MLflow: options exist, and the backends log."""

import inspect
import re
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.visualization import Visualizer

from m2f_mm.apis import config_path
from m2f_mm.registry import VISBACKENDS

PAGE = (Path(__file__).parents[2] / 'docs' / 'report.md').read_text()
LINES = re.findall(r'```python\n(.*?)```', PAGE, re.S)
PACKAGES = dict(TensorboardVisBackend='tensorboard', WandbVisBackend='wandb', MLflowVisBackend='mlflow')


def recipes():
    """The config of the demo with each line, by the package that it needs."""
    found = {}
    for line in LINES:
        cfg = Config.fromfile(config_path('demo/mask2former_r18_shapes-panoptic.py'))
        cfg.merge_from_dict(Config.fromstring(line, '.py').to_dict(), allow_list_keys=False)
        backends = cfg.visualizer.vis_backends
        if len(backends) > 1:
            found[PACKAGES[backends[1].type.rsplit('.')[-1]]] = cfg
    return found


def test_every_package_has_a_line():
    assert set(recipes()) == set(PACKAGES.values()) and len(LINES) == 4


@pytest.mark.parametrize('package', list(PACKAGES.values()))
def test_options_exist(package):
    for backend in recipes()[package].visualizer.vis_backends:
        with DefaultScope.overwrite_default_scope('mmdet'):
            known = inspect.signature(VISBACKENDS.get(backend.type)).parameters
        assert set(backend) - {'type'} <= set(known)


def test_the_line_for_images():
    drawing = Config.fromstring(LINES[-1], '.py').default_hooks.visualization
    for framework, name in (('mmdet', 'DetVisualizationHook'), ('mmseg', 'SegVisualizationHook')):
        hooks = pytest.importorskip(f'{framework}.engine.hooks')
        assert set(drawing) <= set(inspect.signature(getattr(hooks, name)).parameters)


@pytest.mark.parametrize('package', list(PACKAGES.values()))
def test_logging(package, tmp_path, monkeypatch):
    """Config, scalars, and two images of one name, as the hooks send them."""
    pytest.importorskip(package, reason=f'{package} is not installed')
    if package == 'mlflow':
        pytest.importorskip('sqlalchemy', reason='mlflow without a data base (mlflow-skinny)')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('WANDB_MODE', 'offline')
    cfg = recipes()[package]
    cfg.work_dir = str(tmp_path)
    with DefaultScope.overwrite_default_scope('mmdet'):
        visualizer = Visualizer('x', vis_backends=cfg.visualizer.vis_backends, save_dir=str(tmp_path))
    visualizer.add_config(cfg)
    for step in (3, 4):
        visualizer.add_scalars({'loss': 1.0, 'coco_panoptic/PQ': 60.0}, step=step)
        visualizer.add_image('val_img', np.zeros((20, 30, 3), np.uint8), step=step)
    visualizer.close()
    written = [path for path in tmp_path.rglob('*') if path.is_file()]
    assert any(path.name == 'scalars.json' for path in written)
    if package == 'tensorboard':
        assert any('tfevents' in path.name for path in written)
    elif package == 'wandb':
        assert any(path.suffix == '.wandb' for path in written)
    else:
        import mlflow

        (run,) = mlflow.search_runs(search_all_experiments=True, output_format='list')
        names = [each.path for each in mlflow.MlflowClient().list_artifacts(run.info.run_id)]
        assert {'val_img_3.png', 'val_img_4.png'} <= set(names) and run.data.metrics['coco_panoptic/PQ'] == 60
