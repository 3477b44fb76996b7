"""The model index points somewhere, says what the configs say, and claims nothing that was not run."""

import re

import pytest

from m2f_mm.apis import config_path
from m2f_mm.apis.model_index import model_zoo
from m2f_mm.checkpoints.released import INDEX, released_models
from tests.helpers.recipes import FURTHER, RELEASED, ROOT, ROWS, file_of

MODELS = released_models()


def test_every_released_row_is_in_the_index():
    assert sorted(model.name for model in MODELS) == sorted(RELEASED)
    assert all(model.config.startswith(f'{model.collection.lower().replace(" ", "_")}/') for model in MODELS)
    assert len({model.weights for model in MODELS}) == len(MODELS)


@pytest.mark.parametrize('model', MODELS, ids=lambda model: model.name)
def test_entry(model):
    config = ROOT / model.config
    assert config_path(model.config) and config.stem == model.name
    assert model.parameters == ROWS[model.name]
    assert not model.ours  # nothing of this size has been trained or evaluated by us
    assert re.fullmatch(
        r'https://dl\.fbaipublicfiles\.com/maskformer/\S+/model_final_[0-9a-f]{6}\.pkl|'
        r'https://github\.com/IDEA-Research/detrex-storage/releases/download/maskdino-v0\.1\.0/maskdino_\S+\.pth',
        model.weights,
    )
    about = re.match(r'(#.*\n)+', config.read_text(encoding='utf-8'))[0]
    assert 'published' in about and 'not re-run by us' in about
    numbers = [float(number) for number in re.findall(r'\b\d\d\.\d\b', about)]
    assert numbers == [value for name, value in model.published.items() if name != 'Boundary AP']


@pytest.mark.parametrize('row', FURTHER)
def test_others_claim_nothing(row):
    """Without weights there is no entry, and the config says what is known."""
    about = ''.join(re.match(r'(#.*\n)+', (ROOT / file_of(row)).read_text(encoding='utf-8'))[0].split('# '))
    assert 'weights not released' in about or 'No number of this one was published, and we have trained none' in (
        about.replace('\n', ' ')
    )


def test_index_and_page():
    assert INDEX.is_file()
    page = ROOT.parent / 'docs/model_zoo.md'
    assert page.read_text(encoding='utf-8') == model_zoo(), 'run python tools/write_model_zoo.py'
