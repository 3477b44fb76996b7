"""Backbone weights by name: found locally, or refused with a message that helps."""

import hashlib
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.runner.checkpoint import CheckpointLoader

from m2f_mm.checkpoints import loading


def load(name):
    return CheckpointLoader.load_checkpoint(name, map_location='cpu')


def test_known_once_a_model_was_asked_for():
    code = (
        "from m2f_mm.registry import MODELS; MODELS.get('FrozenBN'); "
        'from mmengine.runner.checkpoint import CheckpointLoader as c; '
        "print(c._get_checkpoint_loader('m2f_mm://resnet50').__name__)"
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == 'load_named'


def test_local_folder_comes_first(tmp_path, monkeypatch):
    torch.save({'conv1.weight': torch.ones(2)}, tmp_path / 'resnet50-0676ba61.pth')
    monkeypatch.setenv(loading.FOLDER_VARIABLE, str(tmp_path))
    assert torch.equal(load('m2f_mm://resnet50')['state_dict']['conv1.weight'], torch.ones(2))


def test_message_names_file_and_option(tmp_path, monkeypatch):
    monkeypatch.setenv(loading.FOLDER_VARIABLE, str(tmp_path))
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))

    def offline(*args, **kwargs):
        raise OSError('no network')

    monkeypatch.setattr(torch.hub, 'download_url_to_file', offline)
    with pytest.raises(FileNotFoundError, match=r'resnet50-0676ba61\.pth.*no network.*init_cfg\.checkpoint='):
        load('m2f_mm://resnet50')


def test_unknown_name():
    with pytest.raises(
        ValueError, match='m2f_mm://resnet51 is not a name of weights; similar names: m2f_mm://resnet50'
    ):
        load('m2f_mm://resnet51')


def test_released_weights_by_the_name_of_a_config(tmp_path, monkeypatch):
    name = 'mask2former_r50_8xb2-lsj-50e_coco-panoptic'
    content = dict(model={'sem_seg_head.predictor.query_feat.weight': np.ones((2, 3), np.float32)})
    (tmp_path / 'model_final_94dc52.pkl').write_bytes(pickle.dumps(content))
    monkeypatch.setenv(loading.FOLDER_VARIABLE, str(tmp_path))
    assert torch.equal(
        load(f'm2f_mm://{name}')['state_dict']['sem_seg_head.predictor.query_feat.weight'], torch.ones(2, 3)
    )


def test_download_is_checked_and_whole_or_not_there(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    content = pickle.dumps(dict(model={'stem.conv1.weight': np.ones(3)}))
    right = f'model_final_{hashlib.md5(content).hexdigest()[:6]}.pkl'
    monkeypatch.setattr(torch.hub, 'download_url_to_file', lambda url, path: Path(path).write_bytes(content))
    assert torch.equal(load(f'https://somewhere/{right}')['state_dict']['conv1.weight'], torch.ones(3).double())
    with pytest.raises(ValueError, match='model_final_000000.pkl has the MD5'):
        load('https://somewhere/model_final_000000.pkl')
    assert [path.name for path in (tmp_path / 'checkpoints').iterdir()] == [right]


def test_swin_file_is_the_official_backbone_without_its_classifier(tmp_path, monkeypatch):
    """Loaded by MMDetection's module: same output as the official names say, output norms left alone."""
    pytest.importorskip('mmdet')
    from mmdet.models import SwinTransformer

    swin = SwinTransformer(
        embed_dims=12,
        depths=(1, 1, 1, 1),
        num_heads=(1, 2, 4, 8),
        window_size=2,
        init_cfg=ConfigDict(type='Pretrained', checkpoint='m2f_mm://swin_tiny_patch4_window7_224'),
    )
    theirs = {
        official_name(name): torch.randn_like(value) if value.is_floating_point() else value
        for name, value in swin.state_dict().items()
        if not name.startswith('norm')
    }
    extra = {'head.weight': torch.ones(3), 'norm.weight': torch.ones(3), 'layers.0.blocks.1.attn_mask': torch.ones(3)}
    torch.save(dict(model={**theirs, **extra}), tmp_path / 'swin_tiny_patch4_window7_224.pth')
    monkeypatch.setenv(loading.FOLDER_VARIABLE, str(tmp_path))
    swin.init_weights()
    for name, value in swin.state_dict().items():
        if name.startswith('norm'):
            assert torch.equal(value, torch.full_like(value, float(name.endswith('weight'))))
        elif 'downsample' in name:  # unfolded: channels before sub-grids, columns before rows
            groups = theirs[official_name(name)].unflatten(-1, (2, 2, -1))  # column, row, channel
            assert torch.equal(value, groups.movedim(-1, -3).transpose(-1, -2).flatten(-3))
        else:
            assert torch.equal(value, theirs[official_name(name)]), name


def official_name(name):
    for ours, official in (
        ('stages.', 'layers.'),
        ('patch_embed.projection', 'patch_embed.proj'),
        ('attn.w_msa', 'attn'),
        ('ffn.layers.0.0', 'mlp.fc1'),
        ('ffn.layers.1', 'mlp.fc2'),
    ):
        name = name.replace(ours, official)
    return name
