"""Panoptic quality of images, on one core: COCO-, Cityscapes- and Mapillary-sized maps of irregular segments.

Peer: the algorithm of panopticapi (``benchmarks/panopticapi.py``). 'From maps to statistics' starts where both have
their maps in memory: ours with the pixels of the true PNG and the labels that the model gives, theirs with the pixels
of both PNGs. 'From result and file to statistics' is the whole way of an image: ours ``PanopticMetric.process``;
theirs the one of MMDetection's ``CocoPanopticMetric``, which lists the segments, writes the prediction as PNG and reads
both PNGs with OpenCV. Equal: matches, false alarms, misses and sums of IoU of every class, to the last bit.

Target: at most 0.2 of the peer's time. What a COCO-sized map takes from memory, a millisecond, is a dozen passes over
some hundred kilobytes; the peer's sorts are fast there because they fit into the cache.
"""

import json
import os
import tempfile
from collections.abc import Iterator
from unittest.mock import patch

import cv2
import numpy as np
import torch

from benchmarks.harness import Row, Scale, compare
from benchmarks.maps import prediction_of, segment_map
from benchmarks.panopticapi import VOID, colors_of_ids, slow_panoptic_stats
from m2f_mm.datasets.id_map import IdRuns, rgb_to_id
from m2f_mm.datasets.io import write_panoptic_png
from m2f_mm.evaluation import PanopticMetric
from m2f_mm.evaluation.functional import INSTANCE_OFFSET, PanopticStats

THINGS, STUFF = 80, 53
CLASSES = tuple(f'class {label}' for label in range(THINGS + STUFF))
SIZES = {'COCO': (480, 640, 25), 'Cityscapes': (1024, 2048, 80), 'Mapillary': (2448, 3264, 120)}  # H, W, segments
IMAGES = {'COCO': 10, 'Cityscapes': 2, 'Mapillary': 1}  # in a timed run
TARGETS = dict(time=0.2)


class ImageFiles:
    """An image's true PNG and JSON in a folder, and its prediction in both encodings."""

    def __init__(self, folder: str, height: int, width: int, segments: int, seed: int = 0):
        os.makedirs(folder)
        rng = np.random.default_rng(seed)
        target = segment_map(height, width, segments, seed)
        index, stands_for = prediction_of(target, seed)
        present = np.unique(target[target >= 0])
        ids = rng.choice(np.arange(1, 1 << 24), segments, replace=False)
        labels = rng.integers(0, THINGS + STUFF, segments)
        self.gt_segments = [
            dict(id=int(ids[i]), category=int(labels[i]), iscrowd=int(labels[i] < THINGS and not i % 9))
            for i in present
        ]
        ids_of_segments = labels[stands_for] + INSTANCE_OFFSET * (1 + np.arange(len(stands_for)))
        self.pred_segments = [dict(id=i + 1, category=int(label)) for i, label in enumerate(labels[stands_for])]
        panoptic_ids = np.append(ids_of_segments, len(CLASSES))[index].astype(np.int32)
        self.panoptic_ids = torch.from_numpy(panoptic_ids)[None]  # as the models'
        self.pred_rgb = colors_of_ids(index + 1)
        self.gt_png = os.path.join(folder, 'gt.png')
        write_panoptic_png(self.gt_png, np.append(ids, 0)[target])
        self.gt_rgb = read_rgb(self.gt_png)
        self.folder = folder
        self.ann_file = os.path.join(folder, 'panoptic.json')
        annotation = dict(
            image_id=1,
            file_name='gt.png',
            segments_info=[
                dict(id=s['id'], category_id=1 + s['category'], iscrowd=s['iscrowd']) for s in self.gt_segments
            ],
        )
        with open(self.ann_file, 'w') as stream:
            json.dump(
                dict(
                    images=[dict(id=1, file_name='x.jpg', height=height, width=width)],
                    annotations=[annotation],
                    categories=[
                        dict(id=1 + label, name=name, isthing=int(label < THINGS)) for label, name in enumerate(CLASSES)
                    ],
                ),
                stream,
            )

        self.metric = PanopticMetric(self.ann_file, folder)
        self.metric.dataset_meta = dict(classes=CLASSES, thing_classes=CLASSES[:THINGS], stuff_classes=CLASSES[THINGS:])

    def stats(self) -> PanopticStats:
        """What the metric keeps of the image: the classes that occur and their four numbers."""
        self.metric.results.clear()
        self.metric.process({}, [dict(img_id=1, pred_panoptic_seg=dict(sem_seg=self.panoptic_ids))])
        (labels, numbers), _ = self.metric.results[0]
        stats = PanopticStats.zeros(len(CLASSES))
        for field, values in zip((stats.iou, stats.tp, stats.fp, stats.fn), numbers):
            field[labels] = values
        return stats

    def slow_stats(self, gt_rgb: np.ndarray, pred_rgb: np.ndarray) -> PanopticStats:
        return slow_panoptic_stats(gt_rgb, self.gt_segments, pred_rgb, self.pred_segments, len(CLASSES))

    def through_files(self) -> PanopticStats:
        """List the segments of the prediction, write it as PNG, read both."""
        panoptic_ids, segments = self.panoptic_ids[0].numpy().copy(), []
        for segment_id in np.unique(panoptic_ids):
            if segment_id % INSTANCE_OFFSET != len(CLASSES):
                area = (panoptic_ids == segment_id).sum()
                segments.append(dict(id=int(segment_id), category=int(segment_id % INSTANCE_OFFSET), area=int(area)))
        panoptic_ids[panoptic_ids % INSTANCE_OFFSET == len(CLASSES)] = VOID
        path = os.path.join(self.folder, 'prediction.png')
        cv2.imwrite(path, colors_of_ids(panoptic_ids)[..., ::-1])
        return slow_panoptic_stats(read_rgb(self.gt_png), self.gt_segments, read_rgb(path), segments, len(CLASSES))


def rows(scale: Scale) -> Iterator[Row]:
    threads = cv2.getNumThreads()
    cv2.setNumThreads(0)
    for name, sizes in list(SIZES.items())[: 1 if scale.quick else None]:
        with tempfile.TemporaryDirectory() as root:
            folders = [os.path.join(root, str(seed)) for seed in range(IMAGES[name])]
            images = [ImageFiles(folder, *sizes, seed) for seed, folder in enumerate(folders)]
            yield from image_rows(name, images, scale)
    cv2.setNumThreads(threads)


def image_rows(name: str, images: list[ImageFiles], scale: Scale) -> Iterator[Row]:
    height, width, segments = SIZES[name]
    size = f'{name}, {len(images)} of {height} x {width}, {segments} segments'
    common = dict(
        case='panoptic_quality',
        peer="panopticapi's algorithm",
        equal=equal_stats,
        metrics=('time',),
        repeats=3 * scale.repeats,
    )

    def ours() -> list[PanopticStats]:
        return [image.stats() for image in images]

    reader = 'm2f_mm.evaluation.metrics.panoptic_metric.shared_panoptic_ids'
    pixels = {image.gt_png: image.gt_rgb for image in images}
    with patch(reader, lambda path, *_: IdRuns(rgb_to_id(pixels[path]))):
        yield from compare(
            part=f'from maps to statistics, {size}',
            ours=ours,
            targets=TARGETS,
            theirs=lambda: [image.slow_stats(image.gt_rgb, image.pred_rgb) for image in images],
            **common,
        )
    yield from compare(
        part=f'from result and file to statistics, {size}',
        ours=ours,
        targets=TARGETS,
        theirs=lambda: [image.through_files() for image in images],
        **common,
    )


def read_rgb(path: str) -> np.ndarray:
    return cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB)


def equal_stats(ours: list[PanopticStats], theirs: list[PanopticStats]) -> str:
    for mine, other in zip(ours, theirs):
        for name in ('tp', 'fp', 'fn', 'iou'):
            assert np.array_equal(getattr(mine, name), getattr(other, name)), f'{name} differs'
    tp, fp, fn = (sum(getattr(stats, name).sum() for stats in theirs) for name in ('tp', 'fp', 'fn'))
    return f'{tp} matches, {fp} false alarms, {fn} misses and the sums of IoU'
