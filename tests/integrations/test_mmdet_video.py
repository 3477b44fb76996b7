"""The video detector: clips of one frame are images, clips do not see each other, weights of every source."""

import copy

import pytest
import torch

from m2f_mm.checkpoints import to_official
from m2f_mm.structures import NO_CLASS
from tests.helpers.recorded_random import RecordedPoints
from tests.helpers.tiny_models import (
    build_detector,
    clip_batch,
    gradients,
    mmdet_config,
    step,
    use_our_heads,
    use_our_track_head,
    video_config,
)

pytest.importorskip('mmdet')


def video_detector(**head):
    model = use_our_track_head(video_config())
    model.track_head.update(head)
    return build_detector(model)


def image_detector():
    """For the same classes."""
    model = use_our_heads(mmdet_config())
    model.type = 'm2f_mm.Mask2Former'
    model.data_preprocessor.pop('batch_augments')
    for head in (model.panoptic_head, model.panoptic_fusion_head):
        head.update(num_stuff_classes=0)
    model.panoptic_head.loss_cls.class_weight = [1.0] * 4 + [0.1]
    return build_detector(model)


def predict(model, data):
    model.eval()
    with torch.no_grad():
        return model(**model.data_preprocessor(data, False), mode='predict')


def test_a_clip_of_one_frame_is_an_image():
    """Bit for bit: every loss and gradient, and what the results are made of."""
    image, video = image_detector(), video_detector()
    video.load_state_dict(image.state_dict())
    clips = clip_batch(frames=1)
    images = dict(
        inputs=[clip[0] for clip in clips['inputs']],
        data_samples=[clip[0] for clip in clip_batch(frames=1)['data_samples']],
    )
    image.panoptic_head.criterion.draw, video.track_head.criterion.draw = RecordedPoints(), RecordedPoints()
    mine, theirs = step(video.train(), clips), step(image.train(), images)
    assert mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)
    theirs = {name.replace('panoptic_head', 'track_head'): gradient for name, gradient in gradients(image).items()}
    assert all(torch.equal(gradient, theirs[name]) for name, gradient in gradients(video).items())
    features = image.eval().extract_feat(torch.randn(2, 3, 64, 96))
    mine, theirs = video.eval().track_head(features), image.panoptic_head(features)
    for part in ('class_logits', 'mask_embeds'):
        assert torch.equal(getattr(mine, part)[-1], getattr(theirs, part)[-1])
    assert torch.equal(mine.mask_features, theirs.mask_features)


def test_clips_do_not_see_each_other():
    model, data = video_detector(), clip_batch(clips=2, frames=3)
    together = predict(model, data)
    for index in range(2):
        (alone,) = predict(model, {key: value[index : index + 1] for key, value in clip_batch(2, 3).items()})
        assert len(alone) == len(together[index]) == 3
        for mine, theirs in zip(together[index].video_data_samples, alone.video_data_samples):
            mine, theirs = mine.pred_track_instances, theirs.pred_track_instances
            torch.testing.assert_close(mine.scores, theirs.scores)
            assert (mine.masks != theirs.masks).float().mean() < 1e-4


def test_frames_in_parts_and_codes_instead_of_bitmaps():
    from pycocotools import mask as coco_masks

    model = video_detector()
    (whole,) = predict(model, clip_batch(1, 5))
    model.track_head.test_cfg = dict(frames_at_once=2, instance_masks='rle', max_per_video=7)
    (parts,) = predict(model, clip_batch(1, 5))
    for mine, theirs in zip(parts.video_data_samples, whole.video_data_samples):
        mine, theirs = mine.pred_track_instances, theirs.pred_track_instances
        best = theirs.scores.argsort(descending=True)[:7]
        mine = mine[mine.scores.argsort(descending=True)]
        torch.testing.assert_close(mine.scores, theirs.scores[best])
        for rle, mask in zip(mine.masks, theirs.masks[best]):
            assert (torch.from_numpy(coco_masks.decode(rle)).bool() != mask).float().mean() < 1e-3


@pytest.mark.parametrize(
    'objects, frames',
    [(0, 2), (1, 3), (3, 1), (25, 2)],
    ids=['no objects', 'one object', 'one frame', 'more objects than queries'],
)
def test_every_weight_learns(objects, frames):
    model = video_detector().train()
    losses = step(model, clip_batch(frames=frames, objects=objects))
    assert all(loss.isfinite() for loss in losses.values())
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients(model).values())


def test_labels_of_objects_that_leave():
    """The first object is not in the last frame: it teaches its query no object in the official code."""
    from m2f_mm.integrations.mmdet_samples import clip_targets

    clip = clip_batch(clips=1)['data_samples'][0]
    (official,), (kind,) = clip_targets([clip], 'cpu'), clip_targets([clip], 'cpu', last_frame_labels=False)
    assert official.labels[0] == NO_CLASS != kind.labels[0] and torch.equal(official.labels[1:], kind.labels[1:])
    assert torch.equal(official.masks, kind.masks) and official.masks.shape == (3, 2, 64, 96)
    assert [mask.flatten(1).any(1).tolist() for mask in official.masks] == [[True, False], [True, True], [False, True]]
    losses = [step(video_detector(last_frame_labels=last).train(), clip_batch())['loss_cls'] for last in (True, False)]
    assert losses[0] != losses[1]


def test_targets_of_several_clips():
    """As of each alone, in one wait for all numbers and one for each clip's masks."""
    from benchmarks.harness import count_syncs
    from m2f_mm.integrations.mmdet_samples import clip_targets

    clips = clip_batch(objects=(3, 0, 2), frames=3)['data_samples']
    targets = []
    syncs = count_syncs(lambda: targets.extend(clip_targets(clips, 'cpu')))
    assert [len(each.labels) for each in targets] == [3, 0, 2] and syncs.total <= 1 + 1 + 3
    for clip, together in zip(clips, targets):
        (alone,) = clip_targets([clip], 'cpu')
        assert torch.equal(alone.labels, together.labels) and torch.equal(alone.masks, together.masks)
        assert together.name == clip[0].img_path


def test_wrong_annotations():
    from m2f_mm.integrations.mmdet_samples import clip_targets

    clip = clip_batch(clips=1)['data_samples'][0]
    clip[1].gt_instances.instances_ids[:] = 1
    with pytest.warns(UserWarning, match='video_0/1.jpg, frame 1, has two objects of the id 1; the last one counts'):
        [target] = clip_targets([clip], 'cpu')
    last = torch.from_numpy(clip[1].gt_instances.masks.masks[-1]).bool()
    assert torch.equal(target.masks[1, 1], last)
    del clip[1].gt_instances.instances_ids
    with pytest.raises(ValueError, match='video_0/1.jpg have no instances_ids.*LoadTrackAnnotations'):
        clip_targets([clip], 'cpu')
    data = clip_batch(clips=1)
    data['data_samples'][0][0].gt_instances.labels[:] = 4
    data['data_samples'][0][1].gt_instances.labels[:] = 4
    with pytest.raises(ValueError, match='video_0/0.jpg.* has the label 4, but the model has 4 classes'):
        step(video_detector().train(), data)


def test_another_number_of_frames():
    model = video_config()
    model.type = 'm2f_mm.Mask2FormerVideo'
    model.track_head.type = 'm2f_mm.Mask2FormerTrackHead'
    with pytest.raises(ValueError, match='num_frames=2, but the clips have 3 frames'):
        step(build_detector(model).train(), clip_batch(frames=3))


def test_weights_of_an_image_model_and_official_ones():
    image, video, official = image_detector(), video_detector(), video_detector()
    for model in (video, official):
        for parameter in model.parameters():
            torch.nn.init.zeros_(parameter)
    video.load_state_dict(image.state_dict())
    official.load_state_dict(to_official(image.state_dict()))
    expected = {name.replace('panoptic_head', 'track_head'): value for name, value in image.state_dict().items()}
    for model in (video, official):
        assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())


def test_a_neck():
    from torch import nn

    class Twice(nn.Module):
        def forward(self, features):
            return tuple(2 * level for level in features)

    from m2f_mm.registry import MODELS

    MODELS.register_module(name='Twice', module=Twice, force=True)
    model = video_config()
    model.update(type='m2f_mm.Mask2FormerVideo', neck=dict(type='m2f_mm.Twice'))
    model.track_head.type = 'm2f_mm.Mask2FormerTrackHead'
    with_neck, without = build_detector(model), video_detector()
    frames = torch.randn(1, 3, 64, 64)
    for mine, theirs in zip(with_neck.extract_feat(frames), without.extract_feat(frames)):
        assert torch.equal(mine, 2 * theirs)
    assert len(predict(with_neck, clip_batch(1, 2))) == 1


def test_detections_of_stuff_are_left_out():
    model = video_config()
    model.type = 'm2f_mm.Mask2FormerVideo'
    model.track_head.update(
        type='m2f_mm.Mask2FormerTrackHead', num_classes=None, num_things_classes=2, num_stuff_classes=2
    )
    (clip,) = predict(build_detector(model), clip_batch(1, 2))
    assert all((frame.pred_track_instances.labels < 2).all() for frame in clip.video_data_samples)


def tracks_of(clip):
    """Label, score and masks (T, H, W) of each result, by its id."""
    from pycocotools import mask as coco_masks

    frames = [frame.pred_track_instances for frame in clip.video_data_samples]
    masks = [
        torch.from_numpy(coco_masks.decode(f.masks).transpose(2, 0, 1)) if isinstance(f.masks, list) else f.masks
        for f in frames
    ]
    order = frames[0].scores.argsort(descending=True, stable=True)
    assert all(torch.equal(f.labels, frames[0].labels) for f in frames)
    return frames[0].labels[order], frames[0].scores[order], torch.stack(masks, 1)[order].bool()


@pytest.mark.parametrize(
    'test_cfg, frames',
    [(dict(window_size=6), 6), (dict(window_size=8, window_overlap=3), 5), (dict(association='frames'), 1)],
)
def test_a_video_that_fits_one_window(test_cfg, frames):
    """As without windows."""
    model = video_detector()
    model.track_head.test_cfg = dict()
    whole = tracks_of(predict(model, clip_batch(1, frames))[0])
    model.track_head.test_cfg = test_cfg
    for mine, theirs in zip(tracks_of(predict(model, clip_batch(1, frames))[0]), whole):
        if mine.dtype == torch.bool:
            assert (mine != theirs).float().mean() < 1e-3
        else:
            torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize(
    'test_cfg',
    [
        dict(window_size=3, window_overlap=1),
        dict(window_size=4),
        dict(window_size=3, association='frames'),
        dict(association='frames'),
    ],
)
def test_windows_cover_every_frame(test_cfg):
    model = video_detector()
    model.track_head.test_cfg = dict(test_cfg, max_per_video=5)
    for clip in predict(model, clip_batch(2, 7)):
        labels, scores, masks = tracks_of(clip)
        assert len(labels) == 5 and masks.shape == (5, 7, 48, 72) and masks.flatten(2).any(2).any(0).all()
        for frame in clip.video_data_samples:
            result = frame.pred_track_instances
            assert result.instances_id.tolist() == list(range(5)) and result.bboxes.shape == (5, 4)


def test_frames_are_joined_whatever_the_window():
    """Windows bound memory alone where frames are predicted on their own (MinVIS)."""
    model, results = video_detector(), []
    for size in (None, 1, 3):
        model.track_head.test_cfg = dict(window_size=size, association='frames')
        results.append(tracks_of(predict(model, clip_batch(1, 7))[0]))
    for other in results[1:]:
        assert torch.equal(other[0], results[0][0])
        torch.testing.assert_close(other[1], results[0][1])
        assert (other[2] != results[0][2]).float().mean() < 1e-3


def test_unknown_association():
    with pytest.raises(ValueError, match="association='frame'"):
        video_detector(test_cfg=dict(association='frame'))


def test_options_are_read_when_they_are_given(monkeypatch):
    """At build time and where another ``test_cfg`` is assigned; nowhere else may it change."""
    model = video_detector(test_cfg=dict(window_size=3))
    for change in (model.track_head.test_cfg, model.test_cfg):
        assert change == dict(window_size=3)
        with pytest.raises(TypeError, match='does not support item assignment'):
            change['window_size'] = 2
    with pytest.raises(AttributeError):
        model.test_cfg = dict(window_size=2)
    with pytest.raises(ValueError, match='did you mean window_size'):
        model.track_head.test_cfg = dict(window_sizes=2)
    model = copy.deepcopy(model)
    model.track_head.test_cfg = dict(window_size=2, max_per_video=3)
    assert not any('fusion' in name or 'things' in name for name in model.state_dict())
    monkeypatch.setattr('m2f_mm.integrations.inference_options.translate', None)
    (clip,) = predict(model, clip_batch(1, 5))
    assert model.test_cfg['window_size'] == 2 and len(tracks_of(clip)[0]) == 3


@pytest.mark.parametrize(
    'way',
    [dict(), dict(window_size=3, window_overlap=1), dict(association='frames')],
    ids=['clip', 'windows', 'frames'],
)
def test_panoptic_video(way):
    """Every frame has a map in MMDetection's encoding."""
    model = video_config()
    model.type = 'm2f_mm.Mask2FormerVideo'
    model.track_head.update(
        type='m2f_mm.Mask2FormerTrackHead', num_classes=None, num_things_classes=2, num_stuff_classes=2
    )
    model = build_detector(model)
    model.track_head.test_cfg = dict(way, panoptic_on=True, object_mask_thr=0.1, iou_thr=0.05)
    for clip in predict(model, clip_batch(2, 5)):
        maps = torch.stack([frame.pred_panoptic_seg.sem_seg[0] for frame in clip.video_data_samples])
        assert maps.shape == (5, 48, 72) and maps.dtype == torch.int32
        ids = maps.unique()
        assert ((ids % 1000 <= 4) & ((ids >= 1000) == (ids % 1000 < 2))).all() and len(ids) > 1
        assert len(clip[0].pred_track_instances.scores) <= 10
