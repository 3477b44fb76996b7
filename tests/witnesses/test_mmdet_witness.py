"""MMDetection's own Mask2Former, built from its own installed config, against ours: two lines of it changed."""

import pytest
import torch

from tests.helpers.recorded_random import RecordedPoints, Replay
from tests.helpers.tiny_models import (
    assert_close,
    assert_same_gradients,
    build_detector,
    detection_batch,
    mmdet_config,
    step,
    use_our_heads,
)

pytest.importorskip('mmdet')


@pytest.fixture(scope='module')
def stock():
    return build_detector(mmdet_config())


@pytest.fixture(scope='module')
def ours():
    return build_detector(use_our_heads(mmdet_config()))


def test_only_two_lines_differ():
    stock, ours = mmdet_config().to_dict(), use_our_heads(mmdet_config()).to_dict()
    changed = [
        (part, key)
        for part in stock
        if isinstance(stock[part], dict)
        for key in stock[part]
        if stock[part][key] != ours[part][key]
    ]
    assert changed == [('panoptic_head', 'type'), ('panoptic_fusion_head', 'type')]


@pytest.mark.smoke
def test_checkpoints_load_in_both_directions(stock, ours):
    assert {key: value.shape for key, value in stock.state_dict().items()} == {
        key: value.shape for key, value in ours.state_dict().items()
    }
    ours.load_state_dict(stock.state_dict(), strict=True)
    stock.load_state_dict(ours.state_dict(), strict=True)


@pytest.mark.smoke
def test_every_layer(stock, ours):
    data = stock.data_preprocessor(detection_batch(), True)
    with torch.no_grad():
        features = stock.train().extract_feat(data['inputs'])
        class_logits, masks = stock.panoptic_head(features, data['data_samples'])
        predictions = ours.train().panoptic_head(features, data['data_samples'])
    assert predictions.num_layers == len(class_logits) == 5
    for layer, (logits, mask) in enumerate(zip(class_logits, masks)):
        assert_close(predictions.class_logits[layer], logits, 1e-4, f'class logits of layer {layer}')
        assert_close(torch.stack(predictions.mask_logits(layer))[:, :, 0], mask, 1e-4, f'masks of layer {layer}')


@pytest.mark.parametrize('semantic', [True, False], ids=['panoptic', 'instances'])
def test_loss_and_gradients(stock, ours, monkeypatch, semantic):
    """Same points, same losses. Every image has objects: for one without, the stock code counts a mask too many."""
    ours.panoptic_head.criterion.draw = points = RecordedPoints()
    losses = step(ours.train(), detection_batch(semantic=semantic))
    replay = Replay(points.in_order(range(5)))
    monkeypatch.setattr(torch, 'rand', replay)
    expected = step(stock.train(), detection_batch(semantic=semantic))
    assert not replay.values, 'the stock head drew fewer points'
    assert losses.keys() == expected.keys()
    for name in losses:
        assert_close(losses[name], expected[name].squeeze(), 1e-4, name)
    assert_same_gradients(ours, stock)


def predict(model, rescale=True):
    model.eval()
    data = model.data_preprocessor(detection_batch(), False)
    with torch.no_grad():
        return model.predict(data['inputs'], data['data_samples'], rescale=rescale)


def assert_same_results(actual, expected):
    for mine, theirs in zip(actual, expected):
        mine_map, their_map = mine.pred_panoptic_seg.sem_seg, theirs.pred_panoptic_seg.sem_seg
        assert mine_map.shape == their_map.shape and mine_map.dtype == their_map.dtype
        assert len(their_map.unique()) > 2, 'nothing to compare'
        assert float((renumbered(mine_map) != renumbered(their_map)).float().mean()) < 1e-3
        assert_same_instances(mine.pred_instances, theirs.pred_instances)


def renumbered(panoptic):
    """Things counted without gaps: the stock code also counts those that lose every pixel to the score filter."""
    panoptic_ids, inverse = panoptic.unique(return_inverse=True)
    things = panoptic_ids >= 1000
    return torch.where(things, panoptic_ids % 1000 + 1000 * things.cumsum(0), panoptic_ids)[inverse]


def assert_same_instances(mine, theirs):
    """Neither side has an order; scores are far enough apart to give one."""
    assert set(mine.keys()) == set(theirs.keys())
    assert len(mine) == len(theirs) > 0
    mine, theirs = mine[mine.scores.argsort()], theirs[theirs.scores.argsort()]
    assert_close(mine.scores, theirs.scores, 1e-4, 'scores')
    assert torch.equal(mine.labels, theirs.labels)
    assert mine.masks.dtype == theirs.masks.dtype == torch.bool
    assert float((mine.masks != theirs.masks).float().mean()) < 1e-3
    assert (mine.bboxes - theirs.bboxes).abs().max() <= 1


@pytest.mark.smoke
@pytest.mark.parametrize('rescale', [True, False], ids=['file size', 'input size'])
def test_results(stock, ours, rescale):
    assert_same_results(predict(ours, rescale), predict(stock, rescale))


@pytest.mark.parametrize('head', ['panoptic_head', 'panoptic_fusion_head'])
def test_one_line_alone(stock, head):
    """Our head with the stock fusion head, and the other way round."""
    cfg = mmdet_config()
    cfg[head] = use_our_heads(mmdet_config())[head]
    assert_same_results(predict(build_detector(cfg)), predict(stock))


def test_our_detector(stock):
    """The thin subclass needs no fusion head, and adds the semantic map in the same pass."""
    cfg = use_our_heads(mmdet_config())
    cfg.type = 'm2f_mm.Mask2Former'
    del cfg['panoptic_fusion_head']
    cfg.test_cfg.semantic_on = True
    results = predict(build_detector(cfg))
    assert_same_results(results, predict(stock))
    for sample in results:
        labels = sample.pred_sem_seg.sem_seg
        assert labels.shape == (1, *sample.ori_shape) and 0 <= labels.min() and labels.max() < 8
        confident = sample.pred_panoptic_seg.sem_seg < 8  # stuff, which is what most of its pixels are in both
        assert float((labels[confident] == sample.pred_panoptic_seg.sem_seg[confident]).float().mean()) > 0.5
