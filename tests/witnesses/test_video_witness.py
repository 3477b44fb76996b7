"""MMDetection's own video Mask2Former, built from its own installed config, against ours: one line of it changed."""

import pytest
import torch

from tests.helpers.recorded_random import RecordedPoints, Replay
from tests.helpers.tiny_models import (
    assert_close,
    assert_same_gradients,
    build_detector,
    clip_batch,
    step,
    use_our_track_head,
    video_config,
)

pytest.importorskip('mmdet')


def use_our_head(model):
    model.track_head.update(type='m2f_mm.Mask2FormerTrackHead', last_frame_labels=False)  # as the stock head
    return model


@pytest.fixture(scope='module')
def stock():
    return build_detector(video_config())


@pytest.fixture(scope='module')
def ours():
    return build_detector(use_our_head(video_config()))


def test_checkpoints_load_in_both_directions(stock, ours):
    ours.load_state_dict(stock.state_dict(), strict=True)
    stock.load_state_dict(ours.state_dict(), strict=True)


def test_loss_and_gradients(stock, ours, monkeypatch):
    """Same points, same losses, of two clips in which objects come and go. The stock head's mask loss is as many times
    the official one as a clip has frames."""
    criterion = ours.track_head.criterion
    criterion.draw = points = RecordedPoints()
    monkeypatch.setitem(criterion.loss_weights, 'loss_mask', 2 * criterion.loss_weights['loss_mask'])
    losses = step(ours.train(), clip_batch())
    replay = Replay(points.in_order(range(5)))
    monkeypatch.setattr(torch, 'rand', replay)
    expected = step(stock.train(), clip_batch())
    assert not replay.values, 'the stock head drew fewer points'
    assert losses.keys() == expected.keys()
    for name in losses:
        assert_close(losses[name], expected[name].squeeze(), 1e-4, name)
    assert_same_gradients(ours, stock)


def predict(model, clips=1, frames=3):
    model.eval()
    with torch.no_grad():
        return model(**model.data_preprocessor(clip_batch(clips, frames), False), mode='predict')


@pytest.mark.parametrize('detector', ['stock', 'ours'])
def test_results(stock, ours, detector):
    """In the stock detector and in our own."""
    if detector == 'ours':
        ours = build_detector(use_our_track_head(video_config(), last_frame_labels=False))
    actual, expected = predict(ours)[0], predict(stock)[0]
    assert len(actual) == len(expected) == 3
    for mine, theirs in zip(actual.video_data_samples, expected.video_data_samples):
        mine, theirs = mine.pred_track_instances, theirs.pred_track_instances
        assert set(mine.keys()) == set(theirs.keys()) and len(mine) == len(theirs) == 10
        assert mine.instances_id.tolist() == theirs.instances_id.tolist()
        mine, theirs = mine[mine.scores.argsort()], theirs[theirs.scores.argsort()]
        assert_close(mine.scores, theirs.scores, 1e-4, 'scores')
        assert torch.equal(mine.labels, theirs.labels)
        assert float((mine.masks != theirs.masks).float().mean()) < 1e-3
        assert (mine.bboxes - theirs.bboxes).abs().max() <= 1
