"""The official grouping of parameters on a model with one of each kind."""

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch import nn

LR, WD = 1e-4, 0.05


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.bn = nn.BatchNorm2d(4)
        self.sync = nn.SyncBatchNorm(4)
        self.instance = nn.InstanceNorm2d(4, affine=True)
        self.ln = nn.LayerNorm(4)
        self.gn = nn.GroupNorm(2, 4)
        self.relative_position_bias_table = nn.Parameter(torch.zeros(3, 4))
        self.absolute_pos_embed = nn.Parameter(torch.zeros(3, 4))


class Head(nn.Module):
    def __init__(self):
        super().__init__()
        self.pixel_decoder = nn.Module()
        self.pixel_decoder.level_encoding = nn.Embedding(3, 4)
        self.pixel_decoder.norm = nn.GroupNorm(2, 4)
        self.query_feat = nn.Embedding(5, 4)
        self.query_embed = nn.Embedding(5, 4)
        self.level_embed = nn.Embedding(3, 4)
        self.mask_embed = nn.Linear(4, 4)


class Toy(nn.Module):
    def __init__(self, slot: str = 'panoptic_head'):
        super().__init__()
        self.backbone = Block()
        setattr(self, slot, Head())


def groups_of(model: nn.Module, **paramwise) -> dict[str, tuple[float, float]]:
    """(lr, weight decay) of every parameter that is optimised."""
    wrapper = build_optim_wrapper(
        model,
        dict(
            optimizer=dict(type='AdamW', lr=LR, weight_decay=WD),
            paramwise_cfg=paramwise or None,
            constructor='m2f_mm.Mask2FormerOptimWrapperConstructor',
        ),
    )
    names = {parameter: name for name, parameter in model.named_parameters()}
    pairs = [
        (names[parameter], (group['lr'], group['weight_decay']))
        for group in wrapper.optimizer.param_groups
        for parameter in group['params']
    ]
    assert len(dict(pairs)) == len(pairs)
    assert len(wrapper.optimizer.param_groups) <= 4
    return dict(pairs)


@pytest.mark.smoke
@pytest.mark.parametrize('slot', ['panoptic_head', 'decode_head'])
def test_official_grouping(slot):
    groups = groups_of(Toy(slot))
    for name in ('bn', 'sync', 'instance', 'ln', 'gn'):
        assert groups[f'backbone.{name}.weight'] == groups[f'backbone.{name}.bias'] == (LR / 10, 0)
    assert groups['backbone.conv.weight'] == groups['backbone.conv.bias'] == (LR / 10, WD)
    assert groups['backbone.relative_position_bias_table'] == groups['backbone.absolute_pos_embed'] == (LR / 10, 0)
    for name in ('query_feat', 'query_embed', 'level_embed'):
        assert groups[f'{slot}.{name}.weight'] == (LR, 0)
    assert groups[f'{slot}.pixel_decoder.level_encoding.weight'] == (LR, WD)
    assert groups[f'{slot}.pixel_decoder.norm.weight'] == (LR, 0)
    assert groups[f'{slot}.mask_embed.weight'] == groups[f'{slot}.mask_embed.bias'] == (LR, WD)


def test_options_change_the_factors():
    groups = groups_of(Toy(), backbone_lr_mult=0.5, embed_decay_mult=1.0, norm_decay_mult=1.0)
    assert groups['backbone.bn.weight'] == (LR / 2, WD)
    assert groups['panoptic_head.query_feat.weight'] == (LR, WD)


def test_frozen_parameters_are_left_out_and_shared_ones_counted_once():
    model = Toy()
    model.backbone.conv.requires_grad_(False)
    model.panoptic_head.shared = model.panoptic_head.mask_embed
    model.panoptic_head.tied = nn.Linear(4, 4)
    model.panoptic_head.tied.weight = model.panoptic_head.mask_embed.weight
    groups = groups_of(model)
    assert not any(name.startswith('backbone.conv') for name in groups)
    assert set(groups) == {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def test_misspelt_option_is_refused():
    with pytest.raises(ValueError, match="unknown keys \\['backbone_lr'\\]"):
        groups_of(Toy(), backbone_lr=0.5)


def test_learning_rate_is_needed():
    with pytest.raises(ValueError, match='lr=None'):
        build_optim_wrapper(
            Toy(),
            dict(
                optimizer=dict(type='AdamW', weight_decay=WD), constructor='m2f_mm.Mask2FormerOptimWrapperConstructor'
            ),
        )
