"""Windows joined into tracks: the official numbers, the whole clip, objects that keep their track."""

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_masks

from m2f_mm import postprocess
from m2f_mm.postprocess import (
    CosineAssociator,
    CosineIoUAssociator,
    PanopticRules,
    PanopticVideo,
    Sizes,
    TrackSession,
    clip_panoptic,
    clip_segmentation,
    panoptic_segmentation,
    sliding_windows,
)
from m2f_mm.postprocess.association import low_res_masks, mask_iou


def windows(length, size, overlap):
    return [window for _, window in sliding_windows(range(length), size, overlap)]


def normal(seed, shape):
    return torch.from_numpy(np.random.RandomState(seed).standard_normal(shape)).float()


def lazy_masks(masks):
    """Embeddings and features of masks (Q, T, h, w) that exist: each query picks its own channel."""
    return torch.eye(len(masks)), masks.transpose(0, 1)


def test_frames_are_joined_as_in_minvis():
    """Recorded from the official code: permutations, mean logits, masks in the order of the tracks."""
    logits, masks, queries = normal(1, (4, 5, 4)), normal(2, (5, 4, 3, 4)), normal(3, (8, 4, 5))
    tracks, sizes = TrackSession(num_tracks=5), Sizes((3, 4), (3, 4), (3, 4))
    embeds, features = lazy_masks(masks)
    orders = []
    for t in range(4):
        tracks.add(logits[t], embeds, features[t : t + 1], queries[:, t].T, sizes)
        orders.append([int((queries[:, t].T == row).all(1).nonzero()) for row in tracks.associator.queries])
    assert orders == [[0, 1, 2, 3, 4], [3, 0, 1, 4, 2], [2, 4, 1, 3, 0], [0, 1, 3, 4, 2]]
    torch.testing.assert_close(
        tracks.store.mean_logits,
        torch.tensor(
            [
                [0.0757, 0.1033, -0.0966, -0.4340],
                [0.2731, -0.0753, 1.0159, 0.5366],
                [0.3577, -0.1735, 0.4614, -0.7295],
                [-0.7221, 0.0822, 0.7037, 0.2477],
                [0.3884, -0.6579, -0.7102, 0.3435],
            ]
        ),
        atol=6e-5,
        rtol=0,
    )
    corner = [
        [coco_masks.decode(frame[row])[0, 0] if row in frame else 0 for frame in tracks.store.rles] for row in range(5)
    ]
    assert corner == [[0, 1, 0, 1], [0, 1, 0, 0], [1, 0, 0, 1], [1, 1, 1, 1], [0, 0, 0, 0]]


def test_a_single_window_is_the_clip():
    torch.manual_seed(0)
    logits, embeds, features = torch.randn(20, 5), torch.randn(20, 6), torch.randn(3, 6, 8, 10)
    sizes = Sizes((32, 40), (30, 38), (45, 57))
    tracks = TrackSession(max_per_video=7, is_thing=[True, True, False, True])
    tracks.add(logits, embeds, features, torch.randn(20, 4), sizes)
    result = tracks.finish()
    frames = list(clip_segmentation(logits, embeds, features, sizes, 7, [True, True, False, True], 'rle'))
    order = frames[0].scores.argsort(descending=True)
    assert len(result) == len(order) <= 7
    assert [track.label for track in result] == frames[0].labels[order].tolist()
    assert [track.score for track in result] == pytest.approx(frames[0].scores[order].tolist())
    for track, k in zip(result, order.tolist()):
        for rle, frame in zip(track.masks, frames):
            expected_mask = frame.masks[k]
            assert rle == expected_mask if coco_masks.area(expected_mask) else rle is None


@pytest.mark.parametrize(
    'length, size, overlap, expected',
    [
        (5, None, 0, [(0, 5, 0, 0)]),
        (5, 5, 2, [(0, 5, 0, 0)]),
        (3, 8, 2, [(0, 3, 0, 0)]),
        (10, 4, 0, [(0, 4, 0, 0), (4, 8, 0, 0), (8, 10, 0, 0)]),
        (10, 4, 1, [(0, 4, 0, 1), (3, 7, 1, 1), (6, 10, 1, 0)]),
        (11, 4, 2, [(0, 4, 0, 2), (2, 6, 2, 2), (4, 8, 2, 2), (6, 10, 2, 2), (8, 11, 2, 0)]),
    ],
)
def test_windows(length, size, overlap, expected):
    result = windows(length, size, overlap)
    assert result == expected
    new = [frame for window in result for frame in range(window.start + window.overlap_prev, window.stop)]
    assert new == list(range(length))
    for before, after in zip(result, result[1:]):
        assert before.stop - after.start == before.overlap_next == after.overlap_prev == overlap


@pytest.mark.parametrize(
    'length, size, overlap', [(0, 3, 1), (1, 3, 1), (3, 3, 1), (10, 3, 2), (10, None, 0), (7, 1, 0)]
)
def test_frames_are_read_when_they_are_needed(length, size, overlap):
    """At most one frame ahead, to know whether the video ends."""
    read = []
    frames = (read.append(i) or i for i in range(length))
    for held, window in sliding_windows(frames, size, overlap):
        assert held == list(range(window.start, window.stop)) and len(read) <= window.stop + 1
    assert len(read) == length


def test_windows_that_would_not_move():
    with pytest.raises(ValueError, match='windows of 4 frames cannot share 4'):
        windows(10, 4, 4)


def scene(length, count=6, channels=12):
    """Masks (count, T, 8, 16) of objects that move, and their vectors."""
    generator = torch.Generator().manual_seed(0)
    masks = torch.full((count, length, 8, 16), -1.0)
    for i in range(count):
        for t in range(length):
            masks[i, t, i : i + 2, (i + t) % 14 : (i + t) % 14 + 3] = 1
    return masks, torch.randn(count, channels, generator=generator)


@pytest.mark.parametrize(
    'associator, alike', [(CosineIoUAssociator, False), (CosineIoUAssociator, True), (CosineAssociator, False)]
)
def test_tracks_keep_their_object(associator, alike):
    """Queries of every window in another order: vectors tell objects apart, or, where all are alike, the masks of the
    frames that two windows share."""
    length = 13
    masks, vectors = scene(length)
    if alike:
        vectors = torch.ones_like(vectors)
    sizes = Sizes((8, 16), (8, 16), (8, 16))
    tracks = TrackSession(max_per_video=6, associator=associator())
    generator = torch.Generator().manual_seed(1)
    logits = torch.stack([torch.tensor([3.0 + 0.1 * i, 0.0, 0.0]) for i in range(6)])
    for window in windows(length, 5, 2):
        order = torch.randperm(6, generator=generator) if window.start else torch.arange(6)
        embeds, features = lazy_masks(masks[order, window.start : window.stop])
        noise = 0.1 * torch.randn(vectors.shape, generator=generator)
        tracks.add(
            logits[order], embeds, features, vectors[order] + noise, sizes, window.overlap_prev, window.overlap_next
        )
    result = tracks.finish()
    assert len(result) == 6
    for track, expected_mask in zip(result, masks.flip(0)):  # the last has the highest score
        assert len(track.masks) == length
        for rle, mask in zip(track.masks, expected_mask):
            np.testing.assert_array_equal(coco_masks.decode(rle).astype(bool), (mask > 0).numpy())


def test_tracks_that_are_not_kept_are_unseen():
    masks, vectors = scene(4)
    sizes, (embeds, features) = Sizes((8, 16), (8, 16), (8, 16)), lazy_masks(masks)
    tracks = TrackSession(max_per_video=2, num_tracks=2)
    unlikely, likely = torch.tensor([-3.0, 0.0, 5.0]), torch.tensor([5.0, 0.0, 0.0])
    for first, best in ((0, 0), (2, 3)):
        logits = unlikely.repeat(6, 1)
        logits[[best, 1]] = likely
        tracks.add(logits, embeds, features[first : first + 2], vectors, sizes)
    assert [sorted(frame) for frame in tracks.store.rles] == [[0, 1], [0, 1], [1, 3], [1, 3]]
    best = tracks.finish()[0]
    assert all(best.masks) and TrackSession().finish() == []


def test_old_name_of_the_session():
    with pytest.warns(FutureWarning, match='VideoTracks is deprecated .* use m2f_mm.postprocess.TrackSession'):
        assert postprocess.VideoTracks is TrackSession


def test_iou_of_masks():
    torch.manual_seed(0)
    a, b = torch.rand(3, 2, 4, 5) > 0.6, torch.rand(4, 2, 4, 5) > 0.4
    a[0], b[0] = False, False
    expected = [[(x & y).sum() / max(1, (x | y).sum()) for y in b] for x in a]
    torch.testing.assert_close(mask_iou(a, b), torch.tensor(expected))
    embeds, features = torch.randn(3, 6), torch.randn(2, 6, 4, 5)
    expected_mask = torch.einsum('qd,tdhw->qthw', embeds, features) > 0
    assert torch.equal(low_res_masks(embeds, features), expected_mask)
    assert low_res_masks(embeds, features[:0]).shape == (3, 0, 4, 5)


THINGS = [True, True, False, False]


def confident_queries(queries=12, frames=3):
    """Logits of queries that are confident of a class, embeddings and features of overlapping blobs."""
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(queries, 5, generator=generator)
    logits[torch.arange(queries), torch.arange(queries) % 5] += 6
    return logits, 3 * torch.randn(queries, 6, generator=generator), torch.randn(frames, 6, 8, 10, generator=generator)


@pytest.mark.parametrize('filter_low_score', [True, False])
def test_panoptic_clip_is_the_image_of_its_frames(filter_low_score):
    """Frames one below the other, where nothing is resized."""
    logits, embeds, features = confident_queries()
    rules = PanopticRules(THINGS, overlap_threshold=0.3, filter_low_score=filter_low_score)
    maps, segments = clip_panoptic(logits, embeds, features, Sizes((8, 10), (8, 10), (8, 10)), rules)
    below = features.transpose(0, 1).flatten(1, 2)[None]
    whole, expected = panoptic_segmentation(logits, embeds, below, Sizes((24, 10), (24, 10), (24, 10)), rules)
    assert segments == expected and len(segments) > 2
    assert torch.equal(torch.cat(maps), whole)
    assert len({segment.label for segment in segments if not segment.is_thing}) == sum(
        not segment.is_thing for segment in segments
    )  # stuff is merged


def test_panoptic_video_of_one_window_is_the_clip():
    logits, embeds, features = confident_queries()
    sizes, rules = Sizes((32, 40), (30, 38), (45, 57)), PanopticRules(THINGS, overlap_threshold=0.3)
    maps, segments = clip_panoptic(logits, embeds, features, sizes, rules)
    tracks = TrackSession(panoptic=PanopticVideo(rules))
    tracks.add(logits, embeds, features, torch.randn(12, 4), sizes)
    result, labels = tracks.panoptic.finish()
    assert [(s.id, s.label, s.is_thing) for s in labels] == [(s.id, s.label, s.is_thing) for s in segments]
    assert all(map(torch.equal, result, maps)) and len(maps) == 3
    assert list(PanopticVideo(rules).finish()[0]) == []


def test_panoptic_things_keep_their_number_through_windows():
    length = 13
    masks, vectors = scene(length)
    sizes = Sizes((8, 16), (8, 16), (8, 16))
    tracks = TrackSession(panoptic=PanopticVideo(PanopticRules([True, False], overlap_threshold=0.1)))
    generator = torch.Generator().manual_seed(1)
    logits = torch.tensor([[9.0, 0, 0]] * 4 + [[0, 9.0, 0]] * 2)  # four things; the others are stuff of one class
    for window in windows(length, 5, 2):
        order = torch.randperm(6, generator=generator) if window.start else torch.arange(6)
        embeds, features = lazy_masks(10 * masks[order, window.start : window.stop])
        tracks.add(logits[order], embeds, features, vectors[order], sizes, window.overlap_prev, window.overlap_next)
    maps, segments = tracks.panoptic.finish()
    assert [(s.id, s.label) for s in segments] == [(1, 0), (2, 0), (3, 0), (4, 0), (5, 1)]
    for t, result in enumerate(maps):
        for i in range(4):
            alone = (masks[:, t] > 0).sum(0) == 1
            assert (result[alone & (masks[i, t] > 0)] == i + 1).all()
        assert (result[(masks[:, t] < 0).all(0)] == 0).all()


def test_segments_of_a_video_as_tracks():
    """The maps again, as RLEs."""
    panoptic = PanopticVideo(PanopticRules([True, False], overlap_threshold=0.1))
    assert panoptic.segment_tracks() == ([], [])
    masks = torch.full((3, 4, 8, 16), -1.0)
    masks[0, 1:3, :4, :8] = masks[1, :, 4:, 8:] = masks[2, :, 4:, :8] = 1
    embeds, features = lazy_masks(10 * masks)
    logits = torch.tensor([[9.0, 0, 0], [0, 9.0, 0], [0, 9.0, 0]])
    panoptic.add(logits, embeds, features, Sizes((8, 16), (8, 16), (8, 16)))
    maps, expected = panoptic.finish()
    segments, covered = panoptic.segment_tracks()
    assert segments == expected and [(s.label, s.is_thing) for s in segments] == [(0, True), (1, False)]
    assert [rle is None for rle in covered[0].masks] == [True, False, False, True]
    for t, result in enumerate(maps):
        for segment, track in zip(segments, covered):
            mask = np.zeros((8, 16)) if track.masks[t] is None else coco_masks.decode(track.masks[t])
            np.testing.assert_array_equal(mask, result == segment.id)
