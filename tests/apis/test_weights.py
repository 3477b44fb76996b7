"""What a checkpoint fills is reported, and what does not belong to the model is refused."""

import pytest
import torch
from torch import nn

from m2f_mm.apis.weights import load_weights


class Net(nn.Module):
    def __init__(self, layers=2, classes=3, width=4):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, width, 1), nn.BatchNorm2d(width))
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))
        self.cls_embed = nn.Linear(width, classes)


def weights(tmp_path, model, *without, only=''):
    state = {
        name: value
        for name, value in model.state_dict().items()
        if not name.endswith(without or ('-',)) and name.startswith(only)
    }
    torch.save(dict(state_dict=state), tmp_path / 'a.pth')
    return str(tmp_path / 'a.pth')


def test_whole_checkpoints(tmp_path):
    report = load_weights(Net(), weights(tmp_path, Net()))
    report.require_all()
    report.require_some()
    assert len(report.fitting) == 12 and not report.missing and report.source.endswith('a.pth')
    # a count of batches changes no prediction
    load_weights(Net(), weights(tmp_path, Net(), 'num_batches_tracked')).require_all()


@pytest.mark.parametrize(
    'change, said',
    [
        (dict(without=('running_mean',)), r'1 \(backbone.1.running_mean\) of 12'),
        (
            dict(without=('.weight', '.bias')),
            r'10 \(backbone.0.weight, backbone.0.bias, backbone.1.weight, ...\) of 12',
        ),
        (dict(only='backbone'), r'6 \(layers.0.weight'),
        (dict(model=dict(classes=5)), r'2 \(cls_embed.weight, cls_embed.bias\) of 12'),
        (dict(model=dict(layers=1)), r'2 \(layers.1.weight'),
        (dict(model=dict(layers=3)), r'2 \(layers.2.weight, layers.2.bias\) of the file have no place'),
    ],
)
def test_what_does_not_fill_the_model(tmp_path, change, said):
    file = weights(tmp_path, Net(**change.get('model', {})), *change.get('without', ()), only=change.get('only', ''))
    report = load_weights(Net(), file)
    with pytest.raises(ValueError, match=f'a.pth has no weights of the right shape for .*{said}'):
        report.require_all()
    report.require_some()


def test_a_start_from_nothing_is_refused(tmp_path, caplog):
    torch.save({'encoder.weight': torch.ones(2)}, tmp_path / 'a.pth')
    report = load_weights(Net(), str(tmp_path / 'a.pth'))
    with pytest.raises(
        ValueError,
        match=r'a.pth: 0 of the 12 .* fit; 12 \(backbone.0.weight, .*1 \(encoder.weight\) '
        'without a place',
    ):
        report.require_some()
