"""Where the shipped configs are, for projects that inherit from them.

Text configs (``configs/`` of the repository, ``m2f_mm/.mim/configs`` of an installed package) are the source. A
project has two ways to one, both of which work from a wheel and from an editable install:

    _base_ = __import__('m2f_mm').config_path('mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic.py')

    with read_base():
        from m2f_mm.configs.mask2former.mask2former_r50_8xb2_lsj_50e_coco_panoptic import *

The second way reads files that are generated from the text configs (:func:`write_pure_configs`), when the package is
built or installed: MMEngine opens a base by its path and imports nothing before. This module imports only the standard
library, since setup.py runs it where nothing else is installed.

MMEngine's third way, ``_base_ = 'package::….py'``, is not offered: it would bind every part to the scope ``m2f_mm``,
where the parts that a config takes from mmdet or mmseg are not found.
"""

import contextlib
import difflib
import os
import re
from pathlib import Path
from typing import Any

PACKAGE_ROOT = Path(__file__).resolve().parents[1]
TEXT_ROOT = PACKAGE_ROOT / '.mim' / 'configs'
PURE_ROOT = PACKAGE_ROOT / 'configs'
PURE_SOURCE = '"""{name} in pure Python."""\nglobals().update(__import__(\'m2f_mm.apis\').apis.pure_config(__file__))\n'


def config_path(name: str) -> str:
    """Absolute path of a shipped config, e.g. ``mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic.py``; the name
    in ``docs/model_zoo.md`` will do: the ending, and the folder if no other has a config of that name, may be left out.

    Raises FileNotFoundError, with the nearest names, when there is none.
    """
    relative = name.removeprefix('configs/')
    for file in (relative, f'{relative}.py'):
        if (TEXT_ROOT / file).is_file():
            return str((TEXT_ROOT / file).resolve())
    named = [shipped for shipped in shipped_configs() if Path(shipped).stem == relative.removesuffix('.py')]
    if len(named) == 1:
        return str((TEXT_ROOT / named[0]).resolve())
    near = nearest_configs(relative)
    hint = f'Did you mean {" or ".join(near)}?' if near else f'The configs are in {TEXT_ROOT}.'
    raise FileNotFoundError(f'm2f_mm ships no config {relative!r}. {hint}')


def nearest_configs(name: str, count: int = 3) -> list[str]:
    """The shipped configs whose names have most of the words of ``name``, the published ones before the demos."""
    words = _words(name)

    def name_similarity(shipped: str) -> float:
        known = _words(shipped)
        similarities = [max(difflib.SequenceMatcher(None, word, other).ratio() for other in known) for word in words]
        return sum(similarities) / len(similarities) - 0.01 * len(known)  # of names with the same words the shorter one

    if not words:
        return []
    scores = {shipped: name_similarity(shipped) for shipped in shipped_configs() if not shipped.startswith('_base_/')}
    near = [shipped for shipped, score in scores.items() if score > 0.6]
    published = {word for shipped in scores if not shipped.startswith('demo/') for word in _words(shipped)}
    demos = {word for shipped in scores if shipped.startswith('demo/') for word in _words(shipped)} - published
    wants_demo = not demos.isdisjoint(words)  # says a word that only demos have
    return sorted(near, key=lambda shipped: (shipped.startswith('demo/') is not wants_demo, -scores[shipped]))[:count]


def _words(name: str) -> list[str]:
    return [word for word in re.split(r'[^a-z0-9]+', name.lower().removesuffix('.py')) if word]


def shipped_configs() -> list[str]:
    """Names of all shipped configs, as :func:`config_path` takes them; those of ``_base_`` included."""
    # os.walk, because Path.glob does not follow the link that stands here in a source tree
    configs = []
    for folder, _, files in os.walk(TEXT_ROOT, followlinks=True):
        configs += [str((Path(folder) / file).relative_to(TEXT_ROOT)) for file in files if file.endswith('.py')]
    return sorted(configs)


def pure_name(name: str) -> str:
    """Path under ``m2f_mm/configs`` of a text config's pure-Python form: a module name has no dashes or dots."""
    stem, suffix = os.path.splitext(name)
    return stem.replace('-', '_').replace('.', '_') + suffix


def pure_config(module_file: str) -> dict[str, Any]:
    """Fields of the text config behind a module of ``m2f_mm.configs``, its bases merged in.

    Called by those modules, which have no other content: one source for both ways of inheriting.
    """
    from mmengine.config import Config

    name_of_module = Path(module_file).resolve().relative_to(PURE_ROOT.resolve()).as_posix()
    names = [name for name in shipped_configs() if pure_name(name) == name_of_module]
    if len(names) != 1:
        raise FileNotFoundError(
            f'{module_file} stands for {len(names)} text configs ({names}); it must be one. '
            'Run `python tools/write_pure_configs.py`'
        )
    return Config.fromfile(config_path(names[0])).to_dict()


def write_pure_configs() -> list[str]:
    """Make ``m2f_mm/configs`` match the text configs; returns the files that were written or removed.

    Each file is written whole, so that several processes may do this at once.
    """
    expected = {PURE_ROOT / pure_name(name): PURE_SOURCE.format(name=f'configs/{name}') for name in shipped_configs()}
    changed = []
    for path in set(PURE_ROOT.rglob('*.py')) - set(expected):
        if path.read_text(encoding='utf-8').endswith(PURE_SOURCE.partition('\n')[2]):  # a file of this function
            path.unlink(missing_ok=True)
            changed.append(str(path))
    for path, source in expected.items():
        if not path.is_file() or path.read_text(encoding='utf-8') != source:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(f'.{os.getpid()}.partial')
            partial.write_text(source, encoding='utf-8')
            partial.replace(path)
            changed.append(str(path))
    return sorted(changed)


def write_missing_pure_configs() -> None:
    """Generate ``m2f_mm/configs`` in a checkout that was never installed, as far as its folder can be written."""
    if TEXT_ROOT.is_symlink() and not any(PURE_ROOT.rglob('*.py')):
        with contextlib.suppress(OSError):
            write_pure_configs()
