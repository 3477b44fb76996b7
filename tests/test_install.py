"""What a wheel of the project holds, and how an outside project finds the configs in it."""

import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
STUB = 'stub/stub-net_8xb2-1e_toy.py'
needs_pkg_resources = pytest.mark.skipif(
    'pkg_resources' in Path(importlib.util.find_spec('mmengine.utils.package_utils').origin).read_text()
    and importlib.util.find_spec('pkg_resources') is None,
    reason='this MMEngine needs pkg_resources to find any package: setuptools>=77,<82',
)


@pytest.fixture(scope='module')
def source(tmp_path_factory) -> Path:
    """A checkout, in which nothing has been generated, with one more config."""
    source = tmp_path_factory.mktemp('source')
    for name in ('m2f_mm', 'configs', 'tools', 'requirements'):
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns('__pycache__'))
    for name in ('pyproject.toml', 'setup.py', 'MANIFEST.in', 'LICENSE', 'README.md'):
        shutil.copy(ROOT / name, source / name)
    for path in (source / 'm2f_mm/configs').rglob('*.py'):
        path.unlink()
    text = source / 'configs' / STUB
    text.parent.mkdir()
    text.write_text("_base_ = './base.py'\nmodel = dict(head=dict(queries=7))\n")
    (text.parent / 'base.py').write_text("model = dict(type='m2f_mm.Net', head=dict(type='m2f_mm.Head', queries=5))\n")
    return source


def build(source: Path, kind: str, folder: Path) -> Path:
    """The 'sdist', 'wheel' or 'editable' that pip would make of a folder."""
    code = f'from setuptools import build_meta; print(); print(build_meta.build_{kind}({str(folder)!r}))'
    return folder / run([sys.executable, '-c', code], source).split()[-1]


@pytest.fixture(scope='module')
def installed(source, tmp_path_factory) -> Path:
    """The folder into which a wheel made of the checkout was installed."""
    folder = tmp_path_factory.mktemp('site')
    copy = folder / 'source'
    shutil.copytree(source, copy, symlinks=True)
    options = ['--quiet', '--no-deps', '--no-build-isolation', '--no-index', '--target', str(folder / 'site')]
    run([sys.executable, '-m', 'pip', 'install', *options, str(copy)], copy)
    shutil.rmtree(copy)  # nothing may point back to it
    return folder / 'site'


def run(command: list[str], cwd: Path, path: Path | None = None) -> str:
    """Output of a command that must succeed; ``path`` is searched first for imports."""
    environment = {**os.environ, 'PYTHONPATH': str(path or cwd)}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def read_outside(installed: Path, folder: Path, config: str) -> str:
    """Read a config of another project in a fresh interpreter and print its model."""
    (folder / 'outside.py').write_text(config)
    code = (
        'from mmengine.config import Config\ncfg = Config.fromfile("outside.py")\n'
        'print(cfg.model.type, cfg.model.head.type, cfg.model.head.queries, cfg.model.extra)'
    )
    return run([sys.executable, '-W', 'ignore', '-c', code], folder, installed).strip()


def test_metadata(installed):
    metadata = next(installed.glob('*.dist-info/METADATA')).read_text()
    required = [line for line in metadata.splitlines() if line.startswith('Requires-Dist') and 'extra ==' not in line]
    assert not any('mm' in line for line in required), 'neither stack may be required'
    python = next(line for line in metadata.splitlines() if line.startswith('Requires-Python'))
    assert set(python.split(': ')[1].split(',')) == {'>=3.10', '<3.13'}
    for extra in ('onedl', 'openmmlab', 'small', 'video', 'tests', 'all-dev'):
        assert f'Provides-Extra: {extra}\n' in metadata
    # MMEngine takes site-packages/<name> for the package of a distribution so called: see pyproject.toml
    assert 'Name: mask2former-mm\n' in metadata


def test_wheel_holds_configs_and_tools(installed):
    package = installed / 'm2f_mm'
    for name in (
        f'.mim/configs/{STUB}',
        '.mim/tools/train.py',
        '.mim/tools/dist_train.sh',
        'configs/stub/stub_net_8xb2_1e_toy.py',
        'engine/hooks/class_count_hook.py',
    ):
        assert (package / name).is_file() and not (package / name).is_symlink(), name


def test_import_is_independent_of_both_frameworks(installed, tmp_path):
    out = run(
        [
            sys.executable,
            '-c',
            'import sys, m2f_mm; print([m for m in ("mmdet", "mmseg", "torchvision", '
            '"pkg_resources") if m in sys.modules])',
        ],
        tmp_path,
        installed,
    )
    assert out.strip() == '[]'


PURE = (
    'from mmengine.config import read_base\nwith read_base():\n'
    '    from m2f_mm.configs.stub.stub_net_8xb2_1e_toy import *\nmodel.update(dict(extra=1))\n'
)


@needs_pkg_resources
@pytest.mark.smoke
def test_pure_python_base(installed, tmp_path):
    assert read_outside(installed, tmp_path, PURE) == 'm2f_mm.Net m2f_mm.Head 7 1'


@needs_pkg_resources
def test_pure_python_base_of_an_editable_installation(source, tmp_path):
    with zipfile.ZipFile(build(source, 'editable', tmp_path)) as wheel:
        (finder,) = (name for name in wheel.namelist() if name.endswith('_finder.py'))
        assert f"'m2f_mm': {str(source / 'm2f_mm')!r}" in wheel.read(finder).decode()
    assert read_outside(source, tmp_path, PURE) == 'm2f_mm.Net m2f_mm.Head 7 1'


def test_a_wheel_of_the_source_distribution_is_complete(source, installed, tmp_path):
    with tarfile.open(build(source, 'sdist', tmp_path)) as archive:
        archive.extractall(tmp_path / 'unpacked')
    (unpacked,) = (tmp_path / 'unpacked').iterdir()
    with zipfile.ZipFile(build(unpacked, 'wheel', tmp_path)) as wheel:
        names = {name for name in wheel.namelist() if name.startswith('m2f_mm/')}
    files = {str(path.relative_to(installed)) for path in (installed / 'm2f_mm').rglob('*') if path.is_file()}
    assert names == {name for name in files if '__pycache__' not in name}


@pytest.mark.smoke
def test_base_string_through_config_path(installed, tmp_path):
    config = f"_base_ = __import__('m2f_mm').config_path('{STUB}')\nmodel = dict(extra=1)\n"
    assert read_outside(installed, tmp_path, config) == 'm2f_mm.Net m2f_mm.Head 7 1'


def test_every_config_has_its_pure_python_form():
    from m2f_mm.apis.configs import PURE_ROOT, PURE_SOURCE, pure_name, shipped_configs, write_pure_configs

    files = {PURE_ROOT / pure_name(name): PURE_SOURCE.format(name=f'configs/{name}') for name in shipped_configs()}
    assert {path: path.read_text() for path in PURE_ROOT.rglob('*.py')} == files and len(files) > 150
    assert write_pure_configs() == []


def test_a_checkout_without_generated_configs_gets_them(tmp_path, monkeypatch):
    """When one of our tools reads a config; what a wheel has stays as it is."""
    from m2f_mm.apis import command_line, configs

    texts = tmp_path / 'configs'
    texts.mkdir()
    (texts / 'net.py').touch()
    link = tmp_path / 'm2f_mm'
    link.symlink_to(texts)
    monkeypatch.setattr(configs, 'PURE_ROOT', tmp_path / 'pure')
    monkeypatch.setattr(configs, 'TEXT_ROOT', texts)
    command_line.config_file('net')
    assert not (tmp_path / 'pure').exists()  # no links: installed
    monkeypatch.setattr(configs, 'TEXT_ROOT', link)
    command_line.config_file('net')
    assert [path.name for path in (tmp_path / 'pure').iterdir()] == ['net.py']
    (texts / 'net.py').unlink()
    assert configs.write_pure_configs() == [str(tmp_path / 'pure/net.py')]
    (tmp_path / 'pure').rmdir()
    (texts / 'net.py').touch()
    (tmp_path / 'pure').touch()  # cannot be written
    command_line.config_file('net')


def test_unknown_config_names_the_nearest(monkeypatch, tmp_path):
    from m2f_mm.apis import configs

    monkeypatch.setattr(configs, 'TEXT_ROOT', tmp_path)
    (tmp_path / 'net').mkdir()
    (tmp_path / 'net' / 'net_r50.py').touch()
    assert configs.config_path('net/net_r50.py') == str(tmp_path / 'net' / 'net_r50.py')
    assert configs.config_path('net_r50') == str(tmp_path / 'net' / 'net_r50.py')  # the name alone
    with pytest.raises(FileNotFoundError, match="no config 'net/net_r51.py'. Did you mean net/net_r50.py"):
        configs.config_path('net/net_r51.py')


@pytest.mark.parametrize(
    'name, first',
    [
        ('mask2former_r50_coco', 'mask2former/mask2former_r50_8xb2-lsj-50e_coco.py'),
        ('mask2former/mask2former_r50_coco.py', 'mask2former/mask2former_r50_8xb2-lsj-50e_coco.py'),
        ('maskformer_r50_ade20k', 'maskformer/maskformer_r50_8xb2-160k_ade20k-512x512.py'),
        ('mask-dino_r50_coco', 'mask_dino/mask-dino-3scale_r50_8xb2-lsj-50e_coco.py'),
        ('mask2former_shapes', 'demo/mask2former_r18_shapes-instance.py'),
    ],
)
def test_near_misses_get_the_published_names(name, first):
    from m2f_mm.apis.configs import config_path, nearest_configs

    assert nearest_configs(name)[0] == first
    with pytest.raises(FileNotFoundError, match=f'Did you mean {first}'):
        config_path(name)
    assert nearest_configs('zzz') == nearest_configs('') == []


def test_the_ending_may_be_left_out():
    from m2f_mm.apis.configs import config_path

    name = 'demo/mask2former_r18_shapes-panoptic'
    paths = {config_path(each) for each in (name, f'{name}.py', f'configs/{name}', Path(name).name, f'{name}.py'[5:])}
    assert len(paths) == 1


def test_tested_versions_lie_in_the_declared_ranges():
    from packaging.requirements import Requirement

    lines = (ROOT / 'requirements/tested.txt').read_text().splitlines()
    tested = dict(line.split('==') for line in lines if '==' in line)
    for stack in ('onedl', 'openmmlab'):
        for line in (ROOT / f'requirements/{stack}.txt').read_text().splitlines():
            if line and not line.startswith('#') and not line.startswith('setuptools'):
                requirement = Requirement(line)
                assert requirement.specifier.contains(tested.pop(requirement.name))
    assert set(tested) == {'imaug'}  # needed by onedl-mmdetection alone


def test_files_of_others_among_the_generated_configs_stay(monkeypatch, tmp_path):
    from m2f_mm.apis import configs

    monkeypatch.setattr(configs, 'PURE_ROOT', tmp_path)
    configs.write_pure_configs()
    generated = len(list(tmp_path.rglob('*.py')))
    old, mine = tmp_path / 'demo' / 'old.py', tmp_path / 'demo' / 'mine.py'
    old.write_text(configs.PURE_SOURCE.format(name='configs/demo/old.py'))
    mine.write_text('model = dict()\n')
    assert configs.write_pure_configs() == [str(old)]
    assert not old.exists() and mine.exists() and len(list(tmp_path.rglob('*.py'))) == generated + 1
