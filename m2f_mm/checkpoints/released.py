"""The model index: configs, published numbers and addresses of weights (``model-index.yml`` and its metafiles).

OpenMMLab's format. A result says whose numbers it has: ``Numbers: published`` by the authors, or ``ours``, of a run
that is documented in ``docs``.
"""

from pathlib import Path
from typing import NamedTuple

import yaml

INDEX = Path(__file__).resolve().parents[1] / '.mim' / 'model-index.yml'


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
    license: str  # of the weights


def released_models() -> list[Released]:
    """All models of the index, in its order."""
    models, licenses = [], {}
    for name in yaml.safe_load(INDEX.read_text(encoding='utf-8'))['Import']:
        content = yaml.safe_load((INDEX.parent / Path(name)).read_text(encoding='utf-8'))
        for each in content.get('Collections', ()):  # of which another file may have models, too
            licenses[each['Name']] = each['Metadata'].get('Weights License', 'none is stated')
        for model in content['Models']:
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
                    licenses.get(model['In Collection'], 'none is stated'),
                )
            )
    return models
