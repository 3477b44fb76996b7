"""OpenMMLab's own inference interfaces on our configs: a picture without annotations."""
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import DefaultScope

CONFIGS = Path(__file__).resolve().parents[2] / 'configs' / 'demo'
PICTURE = np.random.RandomState(0).randint(0, 255, (48, 64, 3), np.uint8)


def test_mmdet_inference():
    apis = pytest.importorskip('mmdet.apis')
    config = Config.fromfile(CONFIGS / 'mask2former_r18_shapes-panoptic.py')
    model = apis.init_detector(config, device='cpu')
    result = apis.inference_detector(model, PICTURE)
    assert result.pred_panoptic_seg.sem_seg.shape == (1, 48, 64)
    assert result.pred_instances.masks.shape[1:] == (48, 64)


def test_mmseg_inference():
    apis = pytest.importorskip('mmseg.apis')
    config = Config.fromfile(CONFIGS / 'mask2former_r18_shapes-semantic.py')
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = apis.init_model(config, device='cpu')
        result = apis.inference_model(model, PICTURE)
    assert result.pred_sem_seg.data.shape == (1, 48, 64)


def test_metainfo_in_the_wrong_order_is_told(tmp_path):
    """Mask AP of MMDetection counts classes in the order of the JSON."""
    from m2f_mm.datasets import PanopticDataset
    from m2f_mm.datasets.shapes import STUFF, THINGS, ShapesSpec
    from m2f_mm.datasets.shapes_files import write_shapes
    write_shapes(str(tmp_path / 'shapes'), ShapesSpec(height=64, width=64), 0, 1, 1, progress=False)
    things = THINGS[::-1]
    with pytest.warns(UserWarning, match='not in the order of the category ids'):
        PanopticDataset(str(tmp_path / 'shapes' / 'annotations' / 'panoptic_train.json'), data_prefix=dict(
            img=str(tmp_path / 'shapes' / 'img_dir' / 'train'), seg=str(tmp_path)),
                        metainfo=dict(classes=things + STUFF, thing_classes=things, stuff_classes=STUFF))
