"""install.sh on an environment whose python has three made-up modules, and a pip that compares versions."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTHON = """#!/usr/bin/env bash
here=$(dirname "$0")/..
case "$*" in
    '-m pip --version') exit 0 ;;
    *tools/doctor.py) exit 0 ;;
    '-m pip '*) exec {python} "$here/pip.py" "$here" "${{@:3}}" ;;
esac
PYTHONPATH=$here/site exec {python} -S "$@"
"""
PIP = """
import os, sys
from importlib.metadata import distributions
from packaging.requirements import Requirement
here, command, *args = sys.argv[1:]
installed = {d.metadata['Name']: d.version for d in distributions(path=[here + '/site'])}
print('Collecting', *args)
if os.environ.get('FAIL') and any(os.environ['FAIL'] in arg for arg in args):
    sys.exit(os.environ['SAYS'])
lines = [line for flag, file in zip(args, args[1:]) if flag == '-c' and 'constraints' in file for line in open(file)]
for line in lines:
    wanted = Requirement(line.strip())
    if wanted.name in installed and not wanted.specifier.contains(installed[wanted.name], prereleases=True):
        print('  The user requested (constraint)', line)
        sys.exit('ERROR: Cannot install torch>=2.1 because these package versions have conflicting dependencies.')
"""
MODULES = {
    'torch/__init__.py': 'from types import SimpleNamespace as N\n__version__ = {module!r}\n{broken}\n'
    'version, cuda = N(cuda=None), N(is_available=lambda: False)\n',
    'mmcv/__init__.py': '',
    'mmcv/_ext.py': '',
    'mmcv/ops.py': 'MultiScaleDeformableAttention = 1\n',
    'cv2.py': '',
    'torch-1.dist-info/METADATA': 'Metadata-Version: 2.1\nName: torch\nVersion: {distribution}\n',
}


def install(tmp_path, distribution='2.13.0', module='2.13.0+cu130', broken='', **variables):
    """Exit status and output of install.sh."""
    venv = tmp_path / 'venv'
    files = {
        'bin/python': PYTHON.format(python=sys.executable),
        'pip.py': PIP,
        **{
            f'site/{name}': text.format(module=module, distribution=distribution, broken=broken)
            for name, text in MODULES.items()
        },
    }
    for name, text in files.items():
        (venv / name).parent.mkdir(parents=True, exist_ok=True)
        (venv / name).write_text(text)
    (venv / 'bin/python').chmod(0o755)
    environment = {
        **os.environ,
        'M2F_CACHE': str(tmp_path / 'cache'),
        'CXX': 'true',
        'TORCH_INDEX_URL': 'http://127.0.0.1:9',
        **variables,
    }
    done = subprocess.run(
        [str(ROOT / 'tools/install.sh'), '--venv', str(venv)],
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    return done.returncode, done.stdout, venv


@pytest.mark.parametrize(
    'distribution, module',
    [('2.13.0', '2.13.0+cu130'), ('2.13.0+cpu', '2.13.0+cpu'), ('2.13.0', '2.13.0'), ('2.13.0+cu130', '2.13.0')],
)
def test_torch_whose_module_and_distribution_differ(tmp_path, distribution, module):
    status, said, venv = install(tmp_path, distribution, module)
    assert status == 0 and 'ready' in said, said
    assert (venv / '.m2f_mm-constraints').read_text() == f'torch=={distribution}\n'
    assert not (venv / '.m2f_mm-failed').exists()


@pytest.mark.parametrize(
    'fail, says, step, cure',
    [
        (
            'runtime.txt',
            'ERROR: Cannot install a because these package versions have conflicting dependencies.',
            '4/4',
            '--venv DIR',
        ),
        ('build.txt', 'WARNING: Retrying\nERROR: NewConnectionError: [Errno 111] Connection refused', '1/4', 'proxy'),
        ('torch==', 'ERROR: No matching distribution found for torch==2.13.0', '2/4', 'TORCH_INDEX_URL'),
        (
            'mmengine',
            'ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device',
            '3/4',
            'make room',
        ),
        ('tests.txt', 'ERROR: something new', '4/4', 'goes on where it was'),
    ],
)
def test_a_failed_step_says_why_and_doctor_knows(tmp_path, fail, says, step, cure, monkeypatch):
    status, said, venv = install(tmp_path, FAIL=fail, SAYS=says)
    reason = says.splitlines()[-1]
    assert status == 1 and f'step [{step}]' in said and said.count(reason) == 2 and cure in said, said
    sys.path.insert(0, str(ROOT / 'tools'))
    import doctor

    monkeypatch.setattr(sys, 'prefix', str(venv))
    report = doctor.Report()
    doctor.check_installation(report)
    report.add('mmdet or mmseg', 'neither', 'no framework', doctor.INSTALL)
    assert f'step [{step}]' in report.defects[0]['defect'] and reason in report.defects[0]['defect']
    assert cure in report.defects[0]['cure'] and 'after the cure of the last installation' in report.text()


def test_a_torch_that_cannot_be_imported(tmp_path):
    status, said, _ = install(tmp_path, broken='raise OSError("libcudart.so.13: cannot open shared object file")')
    assert status == 1 and 'cannot be imported: OSError: libcudart.so.13' in said and '--force-reinstall' in said
