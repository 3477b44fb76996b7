"""MMSegmentation alone: a segmentor needs no MMDetection, pycocotools or safetensors."""

from tests.helpers import small_data
from tests.helpers.commands import output_of

# Trains the config that the argument names for two steps and evaluates it, with the packages blocked.
TRAIN = """
import sys
for name in ('mmdet', 'pycocotools', 'safetensors'):
    sys.modules[name] = None  # its import fails
from mmengine.config import Config
from mmengine.runner import Runner

runner = Runner.from_cfg(Config.fromfile(sys.argv[1]))
runner.train()
print('mIoU', runner.test()['mIoU'])
"""


def test_segmentor_with_mmsegmentation_alone(tmp_path, monkeypatch):
    small_data.semantic(tmp_path)
    small_data.semantic(tmp_path, split='val')
    cfg = small_data.semantic_config(tmp_path, monkeypatch)
    cfg.train_cfg.update(max_iters=2, val_interval=2)
    cfg.dump(tmp_path / 'config.py')
    assert 'mIoU' in output_of('-c', TRAIN, tmp_path / 'config.py', cold=True)
