"""AP of video instance segmentation: by definition, beside YouTube-VIS's own code, and as a metric of MMEngine."""

import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_masks

from m2f_mm.evaluation.functional.video_ap import STATS, sequence_iou, video_average_precision
from m2f_mm.registry import METRICS
from m2f_mm.structures import Track

HEIGHT, WIDTH, FRAMES, CLASSES = 180, 320, 5, 4


def rectangle(random, around=None):
    """A bool mask; near another one if given."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    if around is not None:
        return np.roll(around, random.randint(-12, 13, 2), (0, 1))
    y, x, height, width = random.randint((0, 0, 20, 20), (100, 200, 180, 320))
    mask[y : y + height, x : x + width] = True
    return mask


def rle(mask):
    return None if mask is None else coco_masks.encode(np.asfortranarray(mask.astype(np.uint8)))


def videos(seed=0, count=12):
    """Objects and results, with masks as bitmaps: misses, near misses, wrong classes, ties of scores, crowds, objects
    that leave and results that see nothing."""
    random = np.random.RandomState(seed)
    objects, results = [], []
    for video in range(1, count + 1):
        for _ in range(random.randint(0, 5)):
            label = int(random.randint(CLASSES))
            first = rectangle(random)
            masks = [None if random.rand() < 0.25 else rectangle(random, first) for _ in range(FRAMES)]
            objects.append(Track(label, masks, video=video, crowd=random.rand() < 0.1))
            if random.rand() < 0.8:
                predicted = [
                    None if mask is None or random.rand() < 0.1 else np.roll(mask, random.randint(-6, 7, 2), (0, 1))
                    for mask in masks
                ]
                results.append(
                    Track(
                        label if random.rand() < 0.9 else int(random.randint(CLASSES)),
                        predicted,
                        random.randint(0, 10) / 10,
                        video,
                    )
                )
        results.append(Track(0, [None] * FRAMES, 0.95, video))
    return objects, results


def with_rles(tracks):
    return [replace(track, masks=[rle(mask) for mask in track.masks]) for track in tracks]


def slow_iou(predicted, target):
    """Pixel by pixel, with an absent mask that is empty."""

    def pixels(masks):
        return np.stack([np.zeros((HEIGHT, WIDTH), bool) if mask is None else mask for mask in masks])

    predicted, target = pixels(predicted), pixels(target)
    return (predicted & target).sum() / max((predicted | target).sum(), 1)


def test_iou_of_sequences():
    objects, results = videos()
    iou = sequence_iou([track.masks for track in with_rles(results)], [track.masks for track in with_rles(objects)])
    for i, result in enumerate(results):
        for j, target in enumerate(objects):
            assert iou[i, j] == slow_iou(result.masks, target.masks)
    assert 0 < (iou > 0.5).sum() < iou.size


def test_sequences_that_do_not_fit():
    mask = rle(np.ones((4, 5)))
    with pytest.raises(ValueError, match=r'have \[1, 2\] frames'):
        sequence_iou([[mask]], [[mask, mask]])
    with pytest.raises(ValueError, match='frame 0'):
        sequence_iou([[mask]], [[rle(np.ones((5, 4)))]])


def test_all_numbers_equal_those_of_youtube_vis(monkeypatch):
    ytvis = pytest.importorskip('mmdet.evaluation.functional')
    monkeypatch.setattr(np, 'float', float, raising=False)  # gone since NumPy 1.24; the original wants it
    objects, results = (with_rles(tracks) for tracks in videos(count=25))
    ids = list(range(1, 26))

    def annotations(tracks):
        return [
            dict(
                id=i,
                video_id=t.video,
                category_id=t.label + 1,
                iscrowd=int(t.crowd),
                score=t.score,
                segmentations=[mask and dict(mask) for mask in t.masks],
                bboxes=[None] * FRAMES,
                areas=[mask and int(coco_masks.area(mask)) for mask in t.masks],
            )
            for i, t in enumerate(tracks, 1)
        ]

    ground_truth = ytvis.YTVIS(
        dict(
            videos=[dict(id=i, height=HEIGHT, width=WIDTH) for i in ids],
            annotations=annotations(objects),
            categories=[dict(id=i + 1, name=str(i)) for i in range(CLASSES)],
        )
    )
    theirs = ytvis.YTVISeval(ground_truth, ground_truth.loadRes(annotations(results)), 'segm')
    theirs.params.vidIds = ground_truth.getVidIds()
    theirs.evaluate()
    theirs.accumulate()
    theirs.summarize()
    mine = video_average_precision(objects, results, ids, CLASSES)
    assert list(mine) == list(STATS)
    assert list(mine.values()) == theirs.stats.tolist()
    assert 0.1 < mine['mAP'] < 0.9 and mine['mAP_s'] != mine['mAP_m'] != mine['mAP_l']


def samples(tracks, targets=(), bitmaps=True, annotated=True):
    """``TrackDataSample``s of one video, as an evaluator hands them to a metric."""
    structures = pytest.importorskip('mmdet.structures')
    from mmengine.structures import InstanceData

    frames = []
    for t in range(FRAMES):
        sample = structures.DetDataSample(
            metainfo=dict(video_id=7, frame_id=t, ori_video_length=FRAMES, ori_shape=(HEIGHT, WIDTH))
        )
        masks = [np.zeros((HEIGHT, WIDTH), bool) if track.masks[t] is None else track.masks[t] for track in tracks]
        sample.pred_track_instances = InstanceData(
            labels=torch.tensor([track.label for track in tracks]),
            instances_id=torch.arange(len(tracks)),
            scores=torch.tensor([track.score for track in tracks]),
            masks=torch.from_numpy(np.stack(masks)) if bitmaps else [rle(mask) for mask in masks],
        )
        if annotated:
            sample.set_metainfo(
                dict(
                    instances=[
                        dict(
                            mask=rle(track.masks[t]),
                            bbox_label=track.label,
                            instance_id=i,
                            ignore_flag=int(track.crowd),
                        )
                        for i, track in enumerate(targets)
                        if track.masks[t] is not None
                    ]
                )
            )
        frames.append(sample)
    return [dict(video_data_samples=frames)]


def metric(**options):
    built = METRICS.build(dict(type='m2f_mm.YouTubeVISMetric', **options))
    built.dataset_meta = dict(classes=('a', 'b', 'c', 'd'), category_ids=(3, 5, 8, 9))
    return built


@pytest.mark.parametrize('bitmaps', [True, False])
def test_the_ground_truth_scores_1(bitmaps):
    objects = [track for track in videos()[0] if not track.crowd][:6]
    evaluator = metric()
    evaluator.process(None, samples(objects, objects, bitmaps))
    numbers = evaluator.evaluate(1)
    assert numbers['youtube_vis/segm_mAP'] == 1 and numbers['youtube_vis/segm_AR@10'] == 1
    assert len(numbers) == len(STATS)


def test_files_for_an_evaluation_server(tmp_path):
    objects = videos()[0][:3]
    evaluator = metric(format_only=True, outfile_prefix=str(tmp_path / 'out' / 'found'))
    evaluator.process(None, samples(objects, annotated=False))
    assert evaluator.evaluate(1) == {}
    content = (tmp_path / 'out' / 'found.json').read_text()
    with zipfile.ZipFile(tmp_path / 'out' / 'found.submission_file.zip') as archive:
        assert archive.namelist() == ['results.json'] and archive.read('results.json').decode() == content
    for written, track in zip(json.loads(content), objects):
        assert written['video_id'] == 7 and written['category_id'] == (3, 5, 8, 9)[track.label]
        assert written['score'] == pytest.approx(track.score)
        for mask, target in zip(written['segmentations'], track.masks):
            assert (mask is None) == (target is None)
            assert mask is None or np.array_equal(coco_masks.decode(mask), target)


def test_nothing_to_compare_with():
    evaluator = metric()
    evaluator.process(None, samples(videos()[0][:2], annotated=False))
    with pytest.raises(ValueError, match='format_only=True'):
        evaluator.evaluate(1)


def test_a_part_of_a_video():
    cut = samples(videos()[0][:2])
    cut[0]['video_data_samples'] = cut[0]['video_data_samples'][:2]
    with pytest.raises(ValueError, match='video 7 has 5 frames, but the results are of 2'):
        metric().process(None, cut)


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(metric='vis'), "got 'vis'"),
        (dict(metric_items=['mAP', 'AP']), 'got AP'),
        (dict(format_only=True), 'outfile_prefix'),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        metric(**options)
