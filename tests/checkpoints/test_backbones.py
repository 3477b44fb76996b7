"""Backbone weights by name: found locally, or refused with a message that helps."""
import subprocess
import sys

import pytest
import torch
from mmengine.runner.checkpoint import CheckpointLoader

import m2f_mm.checkpoints.backbones as backbones


def load(name):
    return CheckpointLoader.load_checkpoint(name, map_location='cpu')


def test_known_once_a_model_was_asked_for():
    code = ("from m2f_mm.registry import MODELS; MODELS.get('FrozenBN'); "
            "from mmengine.runner.checkpoint import CheckpointLoader as c; "
            "print(c._get_checkpoint_loader('m2f_mm://resnet50').__name__)")
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == 'load_backbone'


def test_local_folder_comes_first(tmp_path, monkeypatch):
    torch.save({'conv1.weight': torch.ones(2)}, tmp_path / backbones.SOURCES['resnet50'].file_name)
    monkeypatch.setenv(backbones.FOLDER_VARIABLE, str(tmp_path))
    assert torch.equal(load('m2f_mm://resnet50')['conv1.weight'], torch.ones(2))


def test_message_names_file_and_option(tmp_path, monkeypatch):
    monkeypatch.setenv(backbones.FOLDER_VARIABLE, str(tmp_path))
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))

    def offline(*args, **kwargs):
        raise OSError('no network')

    monkeypatch.setitem(CheckpointLoader._schemes, 'https://', offline)
    with pytest.raises(FileNotFoundError, match=r'resnet50-0676ba61\.pth.*no network.*init_cfg\.checkpoint='):
        load('m2f_mm://resnet50')


def test_unknown_name():
    with pytest.raises(ValueError, match='m2f_mm://resnet50, m2f_mm://resnet101'):
        load('m2f_mm://resnet51')
