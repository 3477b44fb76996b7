"""Say what is installed, what is broken and how to mend it.

    python tools/doctor.py [--json]

Exit status 1 when something that m2f_mm needs is broken or missing. Only the standard library is needed to start.
"""

import argparse
import contextlib
import io
import json
import platform
import re
import subprocess
import sys
import warnings
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

INSTALL = 'tools/install.sh (or `make install`)'
FAILED = '.m2f_mm-failed'  # where install.sh leaves the reason in the environment
# Import name -> the distributions that provide it: the maintained one, then the original one.
STACK_MODULES = {
    'mmengine': ('onedl-mmengine', 'mmengine'),
    'mmcv': ('onedl-mmcv', 'mmcv'),
    'mmdet': ('onedl-mmdetection', 'mmdet'),
    'mmseg': ('onedl-mmsegmentation', 'mmsegmentation'),
}
# mmdet serves the detectors, mmseg the segmentors: a project may have either alone.
# What a config uses of them; mmdet and mmseg themselves can be imported when these cannot.
PARTS = {'mmdet': ('mmdet.datasets', 'mmdet.models'), 'mmseg': ('mmseg.datasets', 'mmseg.models')}
REQUIRED = ('numpy', 'scipy', 'PIL', 'pycocotools', 'cv2', 'torch', 'mmengine', 'mmcv', 'm2f_mm')
OTHER_DISTRIBUTIONS = {'PIL': 'pillow', 'm2f_mm': 'mask2former-mm'}


class Report:
    """Facts in the order they were found, and the defects among them."""

    def __init__(self):
        self.facts: list[dict[str, Any]] = []

    def add(self, name: str, value: Any, defect: str = '', cure: str = '') -> None:
        """Note one fact; with ``defect`` it counts as broken, and ``cure`` says what to do about it."""
        self.facts.append(dict(name=name, value=value, defect=defect, cure=cure))

    @property
    def defects(self) -> list[dict[str, Any]]:
        return [fact for fact in self.facts if fact['defect']]

    def text(self) -> str:
        """A table, then every defect with its cure."""
        lines = []
        for fact in self.facts:
            lines.append(f'{"BROKEN" if fact["defect"] else "ok":<7}{fact["name"]:<24}{fact["value"]}')
        failed = any(fact['name'] == 'last installation' for fact in self.defects)
        for fact in self.defects:
            again = f'after the cure of the last installation: {INSTALL}' if failed and fact['cure'] == INSTALL else ''
            lines.append(f'\n{fact["name"]}: {fact["defect"]}\n    -> {again or fact["cure"]}')
        if not self.defects:
            lines.append('\nNothing is broken.')
        return '\n'.join(lines)


def version_of(distribution: str) -> str | None:
    """Installed version of a distribution, None when it is not installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def try_import(name: str) -> tuple[Any, str]:
    """Import a module; returns it and '', or None and the reason in one line."""
    try:
        # Some of the modules print when they are imported, which has no place in the report.
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter('ignore')  # deprecations of others, pkg_resources first of all
            return import_module(name), ''
    except Exception as error:  # a broken binary raises anything: OSError, RuntimeError, AttributeError ...
        return None, f'{type(error).__name__}: {error}'.splitlines()[0]


def check_python(report: Report) -> None:
    version = platform.python_version()
    fits = (3, 10) <= sys.version_info[:2] <= (3, 12)
    report.add(
        'python',
        f'{version} ({sys.executable})',
        '' if fits else f'Python {version} is outside 3.10 to 3.12',
        f'make a new environment: PYTHON=/path/to/python3.11 {INSTALL}',
    )


def check_installation(report: Report) -> None:
    """The last run of install.sh in this environment, where it did not come to its end."""
    try:
        said = (Path(sys.prefix) / FAILED).read_text(encoding='utf-8').strip()
    except OSError:
        return
    reason, _, cure = said.partition('\n')
    report.add('last installation', 'failed', reason, cure.replace('\n', '\n       ') or 'see the defects below')


def check_stacks(report: Report) -> str | None:
    """Which of the two sets of releases is there; returns 'onedl', 'openmmlab', 'mixed' or None."""
    stacks_of = {}
    for module, distributions in STACK_MODULES.items():
        stacks_of[module] = [stack for stack, name in zip(('onedl', 'openmmlab'), distributions) if version_of(name)]
    stacks = {stack for names in stacks_of.values() for stack in names}
    stack = stacks.pop() if len(stacks) == 1 else ('mixed' if stacks else None)
    if stack == 'mixed':
        names = ', '.join(f'{module} from {" and ".join(names)}' for module, names in stacks_of.items() if names)
        report.add(
            'stack',
            'mixed',
            f'two sets of releases provide the same import names: {names}',
            f'use an environment of its own for each: {INSTALL}',
        )
    elif stack is None:
        report.add('stack', 'none', 'neither the onedl-* releases nor the original ones are installed', INSTALL)
    else:
        report.add('stack', stack)
    return stack


def check_imports(report: Report) -> dict[str, Any]:
    """Import what m2f_mm needs and note versions and origins; returns the modules that could be imported."""
    modules = {}
    for name in (*REQUIRED, 'mmdet', 'mmseg'):
        module, reason = try_import(name)
        for part in PARTS.get(name, ()):
            if module is not None and (problem := try_import(part)[1]):
                module, reason = None, f'{part}: {problem}'
        if module is not None:
            modules[name] = module
        candidates = STACK_MODULES.get(name) or (OTHER_DISTRIBUTIONS.get(name, name),)
        if name == 'cv2':
            candidates = (
                'opencv-python-headless',
                'opencv-python',
                'opencv-contrib-python',
                'opencv-contrib-python-headless',
            )
        origins = [f'{dist} {version_of(dist)}' for dist in candidates if version_of(dist)]
        value = ', '.join(origins) or getattr(module, '__version__', 'not installed')
        if module is None and (origins or name in REQUIRED):
            report.add(
                name,
                value,
                f'cannot be imported ({reason})',
                cure_of(name, reason, origins[0].replace(' ', '==') if origins else ''),
            )
        elif module is None:
            report.add(name, f'{value} (optional: needed for its own configs)')
        else:
            report.add(name, value)
    if 'mmdet' not in modules and 'mmseg' not in modules:
        report.add('mmdet or mmseg', 'neither', 'no framework to plug into can be imported', INSTALL)
    return modules


def cure_of(name: str, reason: str, installed: str = '') -> str:
    """What to do about a module that cannot be imported; ``installed`` is its distribution, name==version."""
    if 'pkg_resources' in reason:
        return "pip install 'setuptools>=77,<82' (82 dropped pkg_resources, which the original releases import)"
    if 'libGL' in reason or 'libgthread' in reason:
        return (
            'this OpenCV needs a display library: pip uninstall -y opencv-python && pip install opencv-python-headless'
        )
    if name == 'mmseg' and ('ftfy' in reason or 'regex' in reason):
        return 'pip install ftfy regex (mmseg imports them always, but does not require them)'
    if 'imgaug' in reason or 'skimage' in reason:
        return 'pip install --no-deps imaug && pip install scikit-image imageio (onedl-mmdetection imports imgaug)'
    if name == 'm2f_mm':
        return 'pip install --no-deps --no-build-isolation -e . (in the project folder)'
    missing = re.search(r"No module named '(\w+)", reason)
    if missing and missing[1] != name and missing[1] not in (*REQUIRED, *STACK_MODULES):
        return (
            f'{sys.executable} -m pip install {missing[1]} ({name} imports it; its distribution may have another name)'
        )
    if installed and not missing:  # it is there and does not work: the script would leave it as it is
        return f'{sys.executable} -m pip install --force-reinstall --no-deps {installed}'
    return INSTALL


def check_setuptools(report: Report, stack: str | None) -> None:
    version = version_of('setuptools') or 'not installed'
    module, reason = try_import('pkg_resources') if stack == 'openmmlab' else (True, '')
    defect = '' if module is not None else f'the original releases import pkg_resources, which is missing ({reason})'
    report.add('setuptools', version, defect, "pip install 'setuptools>=77,<82'")


def check_gpu(report: Report, torch: Any) -> None:
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            gpu = torch.cuda.get_device_properties(index)
            report.add(f'GPU {index}', f'{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB, sm_{gpu.major}{gpu.minor}')
        report.add('CUDA of torch', torch.version.cuda)
    elif torch.version.cuda is None and driver_sees_gpu():
        report.add(
            'GPU',
            'not used',
            'this computer has an NVIDIA GPU, but torch is a CPU build',
            'TORCH_INDEX_URL=https://download.pytorch.org/whl/cu130 tools/install.sh --venv NEW_FOLDER',
        )
    else:
        report.add('GPU', f'none (CUDA of torch: {torch.version.cuda}); the CPU is used')


def driver_sees_gpu() -> bool:
    """Whether NVIDIA's driver lists a GPU."""
    try:
        answer = subprocess.run(['nvidia-smi', '-L'], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0 and 'GPU' in answer.stdout


def check_ops(report: Report, torch: Any) -> None:
    """Import mmcv's compiled ops and run a tiny deformable attention on every kind of device."""
    rebuild = f'remove .cache/wheels and the environment, then {INSTALL}: mmcv is compiled again'
    _, reason = try_import('mmcv._ext')
    if reason:
        report.add(
            'mmcv ops',
            'missing',
            f'mmcv has no usable compiled ops ({reason}); it was built without torch, or for another torch',
            rebuild,
        )
        return
    ops, reason = try_import('mmcv.ops')
    if ops is None:
        report.add('mmcv ops', 'broken', f'mmcv.ops cannot be imported ({reason})', rebuild)
        return
    try:
        report.add('mmcv ops', f'compiled; deformable attention on the CPU: {run_attention(torch, "cpu")}')
    except Exception as error:
        report.add('mmcv ops', 'broken', f'deformable attention fails: {error}', rebuild)
    if not torch.cuda.is_available():
        return
    try:
        report.add('mmcv CUDA ops', f'deformable attention on the GPU: {run_attention(torch, "cuda")}')
    except Exception as error:
        # Not a defect: m2f_mm then samples with PyTorch on the GPU, with the same results, slower.
        report.add(
            'mmcv CUDA ops',
            f'none ({str(error).splitlines()[0]}); PyTorch does their work, slower. For speed '
            f'install the CUDA {torch.version.cuda} toolkit (nvcc), set CUDA_HOME, {rebuild}',
        )


def run_attention(torch: Any, device: str) -> str:
    """One level of 2x2 pixels that all hold 1, sampled at the centre with weight 1: the answer is 1 everywhere."""
    attention = import_module('mmcv.ops.multi_scale_deform_attn')
    value = torch.ones(1, 4, 1, 8, device=device)
    shapes = torch.tensor([[2, 2]], device=device)
    locations = torch.full((1, 3, 1, 1, 1, 2), 0.5, device=device)
    weights = torch.ones(1, 3, 1, 1, 1, device=device)
    if device == 'cpu':
        out = attention.multi_scale_deformable_attn_pytorch(value, shapes, locations, weights)
    else:
        starts = torch.zeros(1, dtype=torch.long, device=device)
        out = attention.MultiScaleDeformableAttnFunction.apply(value, shapes, starts, locations, weights, 1)
    if not torch.allclose(out, torch.ones_like(out)):
        raise RuntimeError(f'it gives {out.flatten()[0].item()} where 1 is right')
    return 'right result'


def examine() -> Report:
    """Run all checks that what is installed allows."""
    report = Report()
    check_python(report)
    check_installation(report)
    stack = check_stacks(report)
    check_setuptools(report, stack)
    modules = check_imports(report)
    if 'torch' in modules:
        check_gpu(report, modules['torch'])
        if 'mmcv' in modules:
            check_ops(report, modules['torch'])
    return report


def main(args: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--json', action='store_true', help='print the facts as JSON')
    options = parser.parse_args(args)
    report = examine()
    if options.json:
        print(json.dumps(dict(healthy=not report.defects, facts=report.facts), indent=2, default=str))
    else:
        print(report.text())
    return 1 if report.defects else 0


if __name__ == '__main__':
    sys.exit(main())
