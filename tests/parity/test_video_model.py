"""The whole video model against the recorded official one: layers, matching, losses, gradients, results."""

import pytest
import torch

from m2f_mm.postprocess import Sizes, clip_segmentation
from m2f_mm.structures import NO_CLASS, SegTargets
from tests.helpers.golden import (
    FORWARD,
    OfficialModel,
    assert_close,
    cases,
    check_criterion,
    check_decoder,
    check_gradients,
    check_predictions,
    load,
    preprocess,
    watch_decoder,
    with_weights,
)
from tests.helpers.official_configs import FEATURES, padding_divisor


@pytest.fixture(scope='module', params=cases('m2f_video'))
def case(request):
    """(configuration, recording, model with the recorded weights)."""
    info, recorded = load(request.param)
    return info, recorded, with_weights(OfficialModel(info['cfg']), recorded)


def lengths(recorded):
    """Name and T of every recorded length of clips."""
    return [(name, len(clips['videos'][0]['frames'])) for name, clips in recorded['inputs'].items()]


def frames(info, videos):
    """Frames of several clips, one after the other, as the network's input."""
    images = [frame['image'].float() for video in videos for frame in video['frames']]
    return preprocess(info['cfg']['MODEL'], images, padding_divisor(info['cfg']))


def clip_targets_of(recorded, num_classes):
    """What the official loader made of a clip; class C of objects that are absent from the last frame is ``NO_CLASS``
    here."""
    return [
        SegTargets(target['labels'].where(target['labels'] < num_classes, NO_CLASS), target['masks'].bool())
        for target in recorded['targets']
    ]


def test_whole_clip(case, monkeypatch):
    """Features, every prediction and attention mask, the queries inside every layer, and the results."""
    info, recorded, model = case
    masks, states = watch_decoder(monkeypatch, model.panoptic_head.transformer_decoder)
    for name, length in lengths(recorded):
        masks.clear()
        states.clear()
        expected = recorded['outputs'][name]['eval']
        video = recorded['inputs'][name]['videos'][expected['video_index']]
        batch = frames(info, [video])
        features = model.backbone(batch)
        for feature, level in zip(features, FEATURES):
            assert_close(feature, expected['features'][level], FORWARD, level)
        predictions = model.panoptic_head(list(features), num_frames=length)
        check_decoder(predictions, masks, states, expected['decoder'])
        sizes = Sizes(
            tuple(batch.shape[-2:]),
            tuple(video['frames'][0]['image'].shape[1:]),
            tuple(expected['results']['image_size']),
        )
        check_results(predictions, sizes, expected['results'])


def check_results(predictions, sizes, expected):
    """Scores, classes and masks of the ten best pairs, as sets."""
    drawn = list(
        clip_segmentation(
            predictions.class_logits[-1][0], predictions.mask_embeds[-1][0], predictions.mask_features[0], sizes
        )
    )
    masks = torch.stack([frame.masks for frame in drawn], 1)
    mine, theirs = (
        sorted(zip(labels.tolist(), scores.tolist(), pixels), key=lambda row: row[:2])
        for labels, scores, pixels in (
            (drawn[0].labels, drawn[0].scores, masks),
            (expected['pred_labels'], expected['pred_scores'], expected['pred_masks'].bool()),
        )
    )
    assert len(mine) == len(theirs) == 10
    for (label, score, mask), (their_label, their_score, their_mask) in zip(mine, theirs):
        assert label == their_label
        assert score == pytest.approx(their_score, rel=FORWARD)
        assert (mask != their_mask).sum() <= 1  # the float64 run of the official code differs from float32 in a pixel


def test_targets(case):
    """What the official loader makes of annotated frames."""
    structures = pytest.importorskip('mmdet.structures')
    from mmdet.structures.mask import BitmapMasks
    from mmengine.structures import InstanceData

    from m2f_mm.integrations.mmdet_samples import clip_targets

    info, recorded, _ = case
    num_classes = info['cfg']['MODEL']['SEM_SEG_HEAD']['NUM_CLASSES']
    for name, _ in lengths(recorded):
        videos = recorded['inputs'][name]['videos']
        expected = clip_targets_of(recorded['outputs'][name]['train'], num_classes)
        for video, target in zip(videos, expected):
            clip = structures.TrackDataSample()
            samples = []
            for frame in video['frames']:
                visible = frame['gt_ids'] >= 0
                masks = frame['gt_masks'][visible].numpy().astype('uint8')
                sample = structures.DetDataSample(
                    metainfo=dict(img_shape=masks.shape[1:], batch_input_shape=tuple(target.masks.shape[2:]))
                )
                sample.gt_instances = InstanceData(
                    labels=frame['gt_classes'][visible],
                    instances_ids=frame['gt_ids'][visible],
                    masks=BitmapMasks(masks, *masks.shape[1:]),
                )
                samples.append(sample)
            clip.video_data_samples = samples
            (actual,) = clip_targets([clip], 'cpu')
            assert torch.equal(actual.labels, target.labels) and torch.equal(actual.masks, target.masks)


def test_training_step(case):
    """Costs, pairs, loss terms and gradients of every parameter of two clips, from the recorded random points."""
    info, recorded, model = case
    num_classes = info['cfg']['MODEL']['SEM_SEG_HEAD']['NUM_CLASSES']
    for name, length in lengths(recorded):
        expected = recorded['outputs'][name]['train']
        model.zero_grad()
        batch = frames(info, recorded['inputs'][name]['videos'])
        predictions = model.panoptic_head(list(model.backbone(batch)), num_frames=length)
        check_predictions(predictions, expected)
        targets = clip_targets_of(expected, num_classes)
        check_criterion(info['cfg'], recorded['random'][name], predictions, targets, expected).backward()
        check_gradients(recorded, name, model)
