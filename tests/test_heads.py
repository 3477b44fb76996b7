"""The head of a model and of its config, also inside of wrappers."""

import pytest
from torch import nn

from m2f_mm.heads import HEAD_NAMES, head_name, head_of


class Wrapper(nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module = module


@pytest.mark.parametrize('name', HEAD_NAMES)
def test_head_of_models_and_configs(name):
    model = nn.Module()
    setattr(model, name, nn.Linear(1, 1))
    cfg = {'type': 'Some', name: dict(type='Head')}
    for one in (model, Wrapper(Wrapper(model)), cfg, dict(type='TTA', module=cfg)):
        assert head_name(one) == name
    assert head_of(model) is head_of(Wrapper(model)) is getattr(model, name)
    assert head_of(dict(type='TTA', module=cfg)) is cfg[name]


@pytest.mark.parametrize('model', [nn.Linear(1, 1), dict(type='Some', decode_head=None)])
def test_a_model_without_a_head(model):
    with pytest.raises(ValueError, match='has no head: none of panoptic_head'):
        head_of(model)
