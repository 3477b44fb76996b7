"""Recorded cases of the official code: where they are, how a model is built from one, how its draws are replayed.

The folder is named by the variable ``M2F_GOLDEN`` (``../shared/golden`` by default). Every case is found by the
``kind`` in its JSON, so other cases of the same kinds run through the same tests.
"""

import json
import os
from pathlib import Path

import pytest
import torch

from m2f_mm.checkpoints import key_map, to_openmmlab
from m2f_mm.criterion import HungarianAssigner, RandomPoints, SetCriterion
from m2f_mm.mask_ops import attention_mask
from m2f_mm.models import recorder
from tests.helpers.official_configs import build_backbone, build_head, padding_divisor
from tests.helpers.tiny_models import assert_close

ROOT = Path(os.environ.get('M2F_GOLDEN', Path(__file__).parents[2] / '..' / 'shared' / 'golden'))
FORWARD, LOSS, GRADIENT = 1e-4, 1e-5, 1e-3  # relative tolerances of the recording


def cases(kind):
    """pytest parameters: every recorded case of a kind; a skip with the reason where there is none."""
    paths = sorted(path for path in ROOT.glob('*.json') if json.loads(path.read_text()).get('kind') == kind)
    if not paths:
        reason = f'no recorded {kind} case in {ROOT}; set M2F_GOLDEN to a folder that has some'
        return [pytest.param(None, marks=pytest.mark.skip(reason=reason))]
    return [pytest.param(path, id=path.stem) for path in paths]


def load(path):
    """(the JSON, the tensors) of a case."""
    return json.loads(path.read_text()), torch.load(path.with_suffix('.pt'), weights_only=True)


class ReplayPoints(RandomPoints):
    """The recorded draws instead of random ones."""

    def __init__(self, recorded, num_layers):
        self.values = {}
        for item in recorded:
            self.values.setdefault(item['tag'], []).append(item['value'])
        self.num_layers = num_layers

    def _tag(self, layer):
        return 'final' if layer == self.num_layers - 1 else f'aux_{layer}'

    def matching(self, layer, batch, num_points, device):
        points = torch.cat(self.values[f'matcher/{self._tag(layer)}'])
        assert points.shape == (batch, num_points, 2)
        return points

    def candidates(self, layer, num_masks, num_points, device):
        return self._loss_points(layer, 0, num_masks, num_points)

    def uniform(self, layer, num_masks, num_points, device):
        return self._loss_points(layer, 1, num_masks, num_points)

    def _loss_points(self, layer, draw, num_masks, num_points):
        recorded = self.values.get(f'loss_masks/{self._tag(layer)}', [])
        points = recorded[draw] if len(recorded) > draw else torch.zeros(0, num_points, 2)
        assert points.shape == (num_masks, num_points, 2)
        return points


class OfficialModel(torch.nn.Module):
    """Backbone and network as a detectron2 configuration describes them, under OpenMMLab's names."""

    def __init__(self, cfg):
        super().__init__()
        self.backbone, channels = build_backbone(cfg)
        self.panoptic_head = build_head(cfg, channels)


def with_weights(model, recorded):
    """The model with the recorded weights, all of them and no others, in training mode."""
    missing, unexpected = model.load_state_dict(to_openmmlab(recorded['state_dict']), strict=False)
    assert not unexpected and not missing
    return model.train()


def preprocess(model_cfg, images, divisor):
    """uint8 images to one normalised batch, zero padding to the right and bottom."""
    mean = torch.tensor(model_cfg['PIXEL_MEAN'])[:, None, None]
    std = torch.tensor(model_cfg['PIXEL_STD'])[:, None, None]
    height, width = (-(-max(image.shape[i] for image in images) // divisor) * divisor for i in (1, 2))
    batch = torch.zeros(len(images), 3, height, width)
    for padded, image in zip(batch, images):
        padded[:, : image.shape[1], : image.shape[2]] = (image - mean) / std
    return batch


def build_criterion(cfg, draw):
    mask_former = cfg['MODEL']['MASK_FORMER']
    weights = [mask_former[f'{name}_WEIGHT'] for name in ('CLASS', 'MASK', 'DICE')]
    num_classes = cfg['MODEL']['SEM_SEG_HEAD']['NUM_CLASSES']
    return SetCriterion(
        HungarianAssigner(*weights, num_points=mask_former['TRAIN_NUM_POINTS']),
        [1.0] * num_classes + [mask_former['NO_OBJECT_WEIGHT']],
        *weights,
        num_points=mask_former['TRAIN_NUM_POINTS'],
        oversample_ratio=mask_former['OVERSAMPLE_RATIO'],
        importance_ratio=mask_former['IMPORTANCE_SAMPLE_RATIO'],
        draw=draw,
    )


def official_loss_names(losses):
    """``d0.loss_cls`` to ``loss_ce_0`` and so on."""
    names = {}
    for name, value in losses.items():
        layer, _, term = name.rpartition('.')
        names[term.replace('loss_cls', 'loss_ce') + (f'_{layer[1:]}' if layer else '')] = value
    return names


def assert_matching(matching, expected):
    """Every pair equals the recorded one; ``expected`` is tag -> image -> [queries, targets]."""
    for tag, images in expected.items():
        layer = len(matching.counts[0]) - 1 if tag == 'final' else int(tag.removeprefix('aux_'))
        for b, (queries, objects) in enumerate(images):
            selected = (matching.batch == b) & (matching.layer == layer)
            assert matching.query[selected].tolist() == queries.tolist(), f'{tag}, image {b}'
            assert matching.target[selected].tolist() == objects.tolist(), f'{tag}, image {b}'


def watch_decoder(monkeypatch, decoder):
    """Lists that fill up with every attention mask, and with the queries after each part of every layer."""
    masks, states = [], []

    def recording_mask(embeds, features):
        masks.append(attention_mask(embeds, features))
        return masks[-1]

    monkeypatch.setattr(recorder, 'attention_mask', recording_mask)
    for layer in decoder.layers:
        residual = type(layer).residual
        monkeypatch.setattr(
            layer,
            'residual',
            lambda part, x, compute, layer=layer, residual=residual: (
                states.append(residual(layer, part, x, compute)) or states[-1]
            ),
        )
    return masks, states


def check_predictions(predictions, expected):
    """Class and mask logits of every layer; an image's masks are recorded without the axis of frames."""
    assert predictions.num_layers == len(expected['pred_logits'])
    for layer in range(predictions.num_layers):
        assert_close(predictions.class_logits[layer], expected['pred_logits'][layer], FORWARD, f'logits {layer}')
        reference = expected['pred_masks'][layer]
        if reference.ndim == 4:
            reference = reference[:, :, None]
        assert_close(torch.stack(predictions.mask_logits(layer)), reference, FORWARD, f'masks {layer}')


def check_decoder(predictions, masks, states, expected):
    """Every prediction and attention mask, and the state of the queries inside every layer."""
    check_predictions(predictions, expected)
    assert len(masks) == len(expected['attn_mask_used'])
    for allowed, blocked in zip(masks, expected['attn_mask_used']):
        assert torch.equal(~allowed[:, 0], blocked)
    for part, name in enumerate(('after_cross', 'after_self', 'after_ffn')):
        assert len(states[part::3]) == len(expected[name])
        for state, reference in zip(states[part::3], expected[name]):
            assert_close(state.transpose(0, 1), reference, FORWARD, name)


def check_criterion(cfg, draws, predictions, targets, expected):
    """Costs, pairs and every loss term from the recorded random points; returns the sum of the losses."""
    criterion = build_criterion(cfg, ReplayPoints(draws, predictions.num_layers))
    costs = criterion.assigner.costs(predictions, targets, criterion.draw)
    for layer, of_layer in enumerate(costs):
        tag = 'final' if layer == predictions.num_layers - 1 else f'aux_{layer}'
        for cost, reference in zip(of_layer, expected['cost'][tag], strict=True):
            assert_close(cost, reference, FORWARD, f'cost {tag}')
    assert_matching(criterion.assigner(predictions, targets, criterion.draw), expected['matcher'])
    losses = criterion(predictions, targets)
    total = sum(losses.values())
    named = official_loss_names(losses)
    assert named.keys() == expected['losses_weighted'].keys()
    for term, value in named.items():
        assert_close(value, expected['losses_weighted'][term], LOSS, term)
    assert_close(total, expected['total'], LOSS, 'total')
    return total


def check_gradients(recorded, kind, model, whole=None):
    """Norms of all gradients against those of the float64 run, small tensors whole.

    A shared module has several official names: the first counts.
    """
    parameters, names = dict(model.named_parameters()), key_map(recorded['state_dict'])
    norms = recorded['grad_norm_float64'][kind]
    floor = 1e-4 * max(norms.values())
    for official, expected in norms.items():
        gradient = parameters[names[official]].grad
        assert gradient is not None, f'{kind}: {official} received no gradient'
        assert abs(gradient.norm().item() - expected) <= max(GRADIENT * expected, floor), f'{kind}: {official}'
    for official, expected in (whole or {}).items():
        if '.downsample.' not in official:  # stored in another order, see the converter
            error = (parameters[names[official]].grad - expected).abs().max()
            assert error <= max(GRADIENT * expected.abs().max(), floor), f'{kind}: {official}'
    assert {names[official] for official in norms} == {
        name for name, parameter in parameters.items() if parameter.requires_grad
    }


def images(info, recorded, model):
    """The batch of a case of the fixture ``case``, preprocessed as the official code does."""
    return preprocess(
        info['cfg']['MODEL'],
        [item['image'].float() for item in recorded['inputs']['images']],
        padding_divisor(info['cfg']),
    )
