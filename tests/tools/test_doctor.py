"""The doctor names each defect and its cure, and its exit status says whether there is one."""

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

TOOLS = Path(__file__).resolve().parents[2] / 'tools'
sys.path.insert(0, str(TOOLS))
import doctor  # noqa: E402


def examine_with(monkeypatch, versions: dict | None = None, broken: dict | None = None) -> dict[str, dict]:
    """Facts by name when the distributions have these versions and the modules fail with these reasons."""
    versions = (
        dict(
            numpy='2',
            scipy='1',
            pillow='12',
            pycocotools='2',
            torch='2',
            setuptools='80',
            **{'opencv-python-headless': '5', 'mask2former-mm': '0'},
        )
        if versions is None
        else versions
    )
    monkeypatch.setattr(doctor, 'version_of', versions.get)
    torch = SimpleNamespace(cuda=SimpleNamespace(is_available=lambda: False), version=SimpleNamespace(cuda=None))
    monkeypatch.setattr(
        doctor,
        'try_import',
        lambda name: (
            (None, broken[name]) if name in (broken or {}) else (torch if name == 'torch' else SimpleNamespace(), '')
        ),
    )
    monkeypatch.setattr(doctor, 'run_attention', lambda torch, device: 'right result')
    monkeypatch.setattr(doctor, 'driver_sees_gpu', lambda: False)
    return {fact['name']: fact for fact in doctor.examine().facts}


@pytest.mark.smoke
def test_this_environment(capsys):
    status = doctor.main(['--json'])
    report = json.loads(capsys.readouterr().out)
    facts = {fact['name']: fact for fact in report['facts']}
    assert status == (0 if report['healthy'] else 1)
    assert metadata.version('numpy') in facts['numpy']['value']
    assert facts['stack']['value'] in ('onedl', 'openmmlab')
    assert not facts['mmcv ops']['defect'] and 'right result' in facts['mmcv ops']['value']


def test_runs_where_nothing_is_installed():
    done = subprocess.run([sys.executable, '-I', '-S', str(TOOLS / 'doctor.py')], capture_output=True, text=True)
    assert done.returncode == 1 and not done.stderr
    assert 'torch: cannot be imported' in done.stdout and '-> tools/install.sh' in done.stdout


def test_mixed_stacks_are_a_defect(monkeypatch):
    facts = examine_with(monkeypatch, {'onedl-mmcv': '2.3.6', 'mmcv': '2.1.0', 'mmengine': '0.10.7'})
    assert 'mmcv from onedl and openmmlab' in facts['stack']['defect']
    assert 'mmengine from openmmlab' in facts['stack']['defect']


@pytest.mark.parametrize(
    'failing, reason, cure',
    [
        ('cv2', 'ImportError: libGL.so.1: cannot open shared object file', 'opencv-python-headless'),
        ('mmseg', "ModuleNotFoundError: No module named 'ftfy'", 'pip install ftfy regex'),
        ('mmdet.datasets', "ModuleNotFoundError: No module named 'imgaug'", '--no-deps imaug'),
        ('mmcv', "ModuleNotFoundError: No module named 'pkg_resources'", 'setuptools>=77,<82'),
        ('m2f_mm', "ModuleNotFoundError: No module named 'm2f_mm'", '-e .'),
        ('torch', "ModuleNotFoundError: No module named 'torch'", 'install.sh'),
    ],
)
def test_broken_module_comes_with_its_cure(monkeypatch, failing, reason, cure):
    stack = {'onedl-mmengine': '0', 'onedl-mmcv': '2', 'onedl-mmdetection': '3', 'onedl-mmsegmentation': '1'}
    facts = examine_with(monkeypatch, stack, {failing: reason})
    name = failing.split('.')[0]
    assert reason in facts[name]['defect'] and cure in facts[name]['cure']
    assert [fact for fact in facts if facts[fact]['defect']] == [name]


def test_original_releases_need_pkg_resources(monkeypatch):
    reason = "ModuleNotFoundError: No module named 'pkg_resources'"
    facts = examine_with(monkeypatch, {'mmengine': '0', 'mmcv': '2', 'setuptools': '84'}, {'pkg_resources': reason})
    assert reason in facts['setuptools']['defect'] and '<82' in facts['setuptools']['cure']
    facts = examine_with(monkeypatch, {'onedl-mmcv': '2', 'setuptools': '84'}, {'pkg_resources': reason})
    assert not facts['setuptools']['defect']


def test_mmcv_without_ops(monkeypatch):
    facts = examine_with(monkeypatch, None, {'mmcv._ext': "ModuleNotFoundError: No module named 'mmcv._ext'"})
    assert 'no usable compiled ops' in facts['mmcv ops']['defect'] and '.cache/wheels' in facts['mmcv ops']['cure']


def test_wrong_attention_is_noticed(monkeypatch):
    facts = examine_with(monkeypatch)
    assert not facts['mmcv ops']['defect']
    torch = pytest.importorskip('torch')
    op = SimpleNamespace(multi_scale_deformable_attn_pytorch=lambda *args: torch.zeros(1))
    monkeypatch.undo()
    monkeypatch.setattr(doctor, 'import_module', lambda name: op)
    with pytest.raises(RuntimeError, match='0.0 where 1 is right'):
        doctor.run_attention(torch, 'cpu')


def test_one_framework_is_enough_but_none_is_not(monkeypatch):
    missing = "ModuleNotFoundError: No module named 'x'"
    facts = examine_with(monkeypatch, broken={'mmdet': missing})
    assert not facts['mmdet']['defect'] and 'mmdet or mmseg' not in facts
    facts = examine_with(monkeypatch, broken={'mmdet': missing, 'mmseg': missing})
    assert facts['mmdet or mmseg']['defect']
