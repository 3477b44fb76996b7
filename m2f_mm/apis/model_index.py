"""The model index: configs, published numbers and where the weights lie (``model-index.yml`` and its metafiles).

OpenMMLab's format. A result says whose numbers it has: ``Numbers: published`` by the authors, or ``ours``, of a run
that is documented in ``docs``.
"""

from pathlib import Path
from typing import NamedTuple

import yaml

from .configs import PACKAGE_ROOT

INDEX = PACKAGE_ROOT / '.mim' / 'model-index.yml'


ABOUT = """<!-- Written by `python tools/write_model_zoo.py` from the metafiles in configs. -->
# Model zoo

Published numbers are the authors', with their code and weights, single scale unless a column says otherwise. What we
have not run ourselves is "not run". Parameters are those that are trained; the tests count them. The weights are the
authors': Mask2Former's and MaskFormer's under CC BY-NC 4.0; Mask DINO's come without a licence, its code is
under the Apache License 2.0.

A config's name loads its released weights, which are fetched from where the table links to:

    python tools/test.py CONFIG m2f_mm://NAME

and `load_from='m2f_mm://NAME'` starts a training from them. Without a network, put the file into a folder that the
variable `M2F_MM_WEIGHTS` names.
"""


class Released(NamedTuple):
    """One model of the index."""

    name: str
    collection: str
    config: str  # as ``config_path`` takes it
    schedule: str
    parameters: float  # millions that are trained
    task: str
    dataset: str
    published: dict[str, float]
    ours: dict[str, float]
    weights: str


def released_models() -> list[Released]:
    """All models of the index, in its order."""
    models = []
    for name in yaml.safe_load(INDEX.read_text(encoding='utf-8'))['Import']:
        path = INDEX.parent / Path(name)
        for model in yaml.safe_load(path.read_text(encoding='utf-8'))['Models']:
            results = {result['Numbers']: result for result in model['Results']}
            first = model['Results'][0]
            models.append(
                Released(
                    model['Name'],
                    model['In Collection'],
                    model['Config'].removeprefix('configs/'),
                    model['Metadata']['Schedule'],
                    model['Metadata']['Parameters (M)'],
                    first['Task'],
                    first['Dataset'],
                    *(results.get(whose, {}).get('Metrics', {}) for whose in ('published', 'ours')),
                    model['Weights'],
                )
            )
    return models


def model_zoo() -> str:
    """``docs/model_zoo.md``: a table for each collection, task and data set."""
    lines = [ABOUT]
    groups: dict[tuple[str, str, str], list[Released]] = {}
    for model in released_models():
        groups.setdefault((model.collection, model.dataset, model.task), []).append(model)
    for (collection, dataset, task), models in groups.items():
        names = list(dict.fromkeys(name for model in models for name in (*model.published, *model.ours)))
        lines += [
            f'## {collection}: {dataset}, {task.lower()}',
            '',
            f'| config | schedule | parameters | {" | ".join(names)} | by us | weights |',
            '|' + '---|' * (len(names) + 5),
        ]
        for model in models:
            numbers = ' | '.join(str(model.published.get(name, '')) for name in names)
            ours = ', '.join(f'{name} {value}' for name, value in model.ours.items()) or 'not run'
            lines.append(
                f'| [{model.name}](../configs/{model.config}) | {model.schedule} | {model.parameters:.2f} M | '
                f'{numbers} | {ours} | [file]({model.weights}) |'
            )
        lines.append('')
    return '\n'.join(lines)
