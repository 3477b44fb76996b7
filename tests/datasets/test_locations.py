"""A data set that is not there comes with what makes it."""

from pathlib import Path

import pytest
from mmengine.config import Config

from m2f_mm.apis.check_dataset import check_dataset
from m2f_mm.apis.configs import config_path, shipped_configs
from m2f_mm.datasets.locations import LOCATIONS, require_files

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    'name, variable, said',
    [
        ('demo/mask2former_r18_shapes-panoptic', 'SHAPES_ROOT', 'make_shapes.py --out data/shapes`'),
        ('demo/mask2former_r18_shapes-semantic', 'SHAPES_ROOT', 'make_shapes.py --out data/shapes`'),
        ('demo/mask2former_r18_shape-videos', 'SHAPE_VIDEOS_ROOT', 'make_shape_videos.py --out data/shape_videos`'),
        (
            'mask2former_r50_8xb2-160k_ade20k-panoptic',
            'ADE_ROOT',
            'converters/ade20k.py data/ade/ADEChallengeData2016`',
        ),
        ('mask2former_r50_8xb2-lsj-50e_coco', 'COCO_ROOT', 'Put the download into data/coco'),
    ],
)
@pytest.mark.parametrize('part', ['train', 'test'])
def test_missing_data_of_shipped_configs(name, variable, said, part, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(variable, raising=False)
    with pytest.raises(FileNotFoundError) as error:
        require_files(Config.fromfile(config_path(name)), (part,))
    assert said in str(error.value) and variable in str(error.value) and f'{part}_dataloader' in str(error.value)


def test_missing_parts_of_data(tmp_path, monkeypatch):
    monkeypatch.setenv('SHAPES_ROOT', f'{tmp_path}/')
    cfg = Config.fromfile(config_path('demo/mask2former_r18_shapes-instance'))
    with pytest.raises(FileNotFoundError, match=f'ann_file: {tmp_path}/annotations/instances_val.json.*make_shapes'):
        require_files(cfg, ('val',))
    cfg.merge_from_dict(dict(val_dataloader=dict(dataset=dict(data_root=f'{tmp_path}/own/'))))
    monkeypatch.delenv('SHAPES_ROOT')
    with pytest.raises(FileNotFoundError, match=r'val_dataloader.dataset.data_root: .*/own does.*Check data_root'):
        require_files(cfg, ('val',))
    cfg.val_dataloader.dataset.backend_args = dict(backend='petrel')
    cfg.val_evaluator = None
    require_files(cfg, ('val',))


def test_every_root_of_the_configs_and_of_the_docs_is_known():
    texts = [(ROOT / 'configs' / name).read_text() for name in shipped_configs()]
    page = (ROOT / 'docs/data.md').read_text()
    for text in texts:
        for part in text.split('{{$')[1:]:
            variable, default = part.split('}}')[0].split(':')
            known = [location for location in LOCATIONS if location.variable == variable]
            assert [location.default for location in known] == [default], variable
    for location in LOCATIONS:
        command = location.command.split(' --out')[0].replace('{}', location.default)
        assert command in page and (not command or (ROOT / command.split()[1]).is_file()), location


def test_check_dataset_names_the_command(monkeypatch, tmp_path):
    pytest.importorskip('mmdet')
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv('SHAPES_ROOT', raising=False)
    cfg = Config.fromfile(config_path('demo/mask2former_r18_shapes-panoptic'))
    [fault] = check_dataset(cfg, 'train', 0, False)[1]
    assert 'panoptic_train.json do not exist' in fault.detail and 'make_shapes.py --out data/shapes`' in fault.cure
