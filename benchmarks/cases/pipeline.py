"""Large-scale jitter of the COCO recipes, on one core: from files to what the network is trained on.

Peer: MMDetection's transforms and data preprocessor, both as its configs for Mask2Former have them; ours from
``configs``. A run takes images of 480 x 640 with 20 or 60 things and 5 regions of stuff (the instance recipe: the
polygons of the things) through sizes spread evenly over 0.1 to 2 times 1024. 'In a worker': from the files to the
packed sample. 'Up to the targets': then a batch of two through the data preprocessor to labels and masks (ours bool,
theirs int64), which happens in the main process. The instance recipe moves a part of the work to there: ours draws the
polygons as masks at the end, as the official code does, MMDetection's draws them first and moves masks.

Equal: both get the same flips, sizes and places of the crop. The two recipes resize by different rules (ours Pillow's,
as the official code; theirs OpenCV's), so exactness is checked in a run in which the peer's resize is Pillow's, too,
and polygons stay polygons (the option ``poly2mask=False`` of its loader): then every pixel of the image, every label
and every pixel of every mask are the same. For the peer's own rule, as it is timed, the share of pixels is given whose
set of masks is the same.

Target: at most 1/3 of the peer's time.
"""

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.registry import DefaultScope
from PIL import Image

from benchmarks.harness import Row, Scale, compare
from benchmarks.maps import segment_map
from benchmarks.panopticapi import colors_of_ids, ids_of_colors
from m2f_mm.datasets.io import write_image, write_panoptic_png
from m2f_mm.registry import DATASETS, MODELS

HEIGHT, WIDTH = 480, 640
THINGS, STUFF = 80, 53
STUFF_REGIONS = 5  # each of another class: MMDetection's format cannot tell regions of a class apart
IMAGES = 4
TARGETS = dict(time=1 / 3)
CONFIGS = Path(__file__).parents[2] / 'configs/_base_'
MMDET_CONFIGS = dict(
    panoptic='.mim/configs/mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic.py',
    instance='.mim/configs/mask2former/mask2former_r50_8xb2-lsj-50e_coco.py',
)


@dataclass
class Decision:
    """What chance decides about an image."""

    flip: bool
    box: int  # side of the box that the image is resized into, pixels
    place: float  # of the crop, 0..1


class Side:
    """One implementation's data set with its pipeline, and its data preprocessor."""

    def __init__(self, dataset: BaseDataset, preprocessor: torch.nn.Module, targets):
        self.dataset = dataset
        self.preprocessor = preprocessor
        self.targets = targets  # of a sample: labels (N,), masks (N, H, W)

    def sample(self, index: int, decision: Decision) -> dict:
        for transform in self.dataset.pipeline.transforms:
            decide(transform, decision)
        return self.dataset.pipeline(self.dataset.get_data_info(index))

    def samples(self, decisions: list[Decision]) -> list[dict]:
        return [self.sample(index, decision) for index, decision in enumerate(decisions)]

    def batches(self, decisions: list[Decision]) -> None:
        """Load everything and make its targets, a batch of two at a time as in training."""
        for _ in self.loaded(decisions):
            pass

    def loaded(self, decisions: list[Decision]) -> Iterator[tuple]:
        """Every sample with its targets, labels and masks."""
        for start in range(0, len(decisions), 2):
            pair = [self.sample(start + i, decision) for i, decision in enumerate(decisions[start : start + 2])]
            batch = self.preprocessor(
                dict(
                    inputs=[sample['inputs'] for sample in pair],
                    data_samples=[sample['data_samples'] for sample in pair],
                ),
                training=True,
            )
            yield from zip(pair, map(self.targets, batch['data_samples']))


def rows(scale: Scale) -> Iterator[Row]:
    threads = cv2.getNumThreads()
    cv2.setNumThreads(0)
    for recipe in MMDET_CONFIGS:
        for objects in (20, 60):
            with tempfile.TemporaryDirectory() as root:
                write_images(root, objects, 2 if scale.quick else IMAGES)
                yield from compared(our_side(root, recipe), mmdet_side(root, recipe), scale, recipe, objects)
    cv2.setNumThreads(threads)


def compared(ours: Side, theirs: Side, scale: Scale, recipe: str, objects: int) -> Iterator[Row]:
    fates = decisions(len(ours.dataset))
    common = dict(case='pipeline', peer='mmdet', metrics=('time',), repeats=min(scale.repeats, 3), targets=TARGETS)
    size = f'{len(fates)} images with {objects} things'
    if recipe != 'panoptic':
        size = f'{recipe} recipe, {size}'

    @cache  # of both rows
    def equality() -> str:
        return equal_samples(ours, theirs, fates)

    yield from compare(
        part=f'in a worker, {size}',
        ours=lambda: ours.samples(fates),
        theirs=lambda: theirs.samples(fates),
        equal=lambda *_: equality(),
        **common,
    )
    yield from compare(
        part=f'up to the targets, {size}',
        ours=lambda: ours.batches(fates),
        theirs=lambda: theirs.batches(fates),
        equal=lambda *_: equality(),
        **common,
    )


def decisions(number: int, seed: int = 0) -> list[Decision]:
    rng = np.random.default_rng(seed)
    boxes = [4 * round(256 * (0.1 + 1.9 * (i + 0.5) / number)) for i in range(number)]  # 3/4 of it is a whole number
    return [Decision(bool(i % 2), box, rng.uniform()) for i, box in enumerate(boxes)]


def decide(transform, decision: Decision) -> None:
    """Put ``decision`` in the place of the transform's random numbers; both sides' names are here."""
    for name, value in dict(
        _choose_direction='horizontal' if decision.flip else None,
        _factor=decision.box / 1024,
        _random_scale=(decision.box, decision.box),
        _place=decision.place,
    ).items():
        if hasattr(transform, name):
            setattr(transform, name, lambda value=value: value)
    if hasattr(transform, '_rand_offset'):
        transform._rand_offset = lambda margins: tuple(round(margin * decision.place) for margin in margins)


def write_images(root: str, things: int, number: int) -> None:
    """JPEGs, panoptic PNGs and JSON, and the JSON of the things as instances."""
    images, annotations, instances = [], [], []
    for image_id in range(number):
        rng = np.random.default_rng(image_id)
        index = segment_map(HEIGHT, WIDTH, things + STUFF_REGIONS, image_id)
        ids = np.append(rng.choice(np.arange(1, 1 << 24), things + STUFF_REGIONS, replace=False), 0)
        stuff = rng.choice(np.arange(THINGS, THINGS + STUFF), STUFF_REGIONS, replace=False)
        labels = [*rng.integers(0, THINGS, things), *stuff]
        segments = []
        for segment in np.unique(index[index >= 0]):
            mask = (index == segment).astype(np.uint8)
            record = dict(
                id=int(ids[segment]),
                category_id=1 + int(labels[segment]),
                iscrowd=0,
                area=int(mask.sum()),
                bbox=list(cv2.boundingRect(mask)),
            )
            segments.append(record)
            if segment < things:
                instances.append(record | dict(id=len(instances) + 1, image_id=image_id, segmentation=polygons(mask)))
        noise = rng.integers(0, 256, (HEIGHT // 4, WIDTH // 4, 3), np.uint8)
        write_image(f'{root}/{image_id}.jpg', cv2.resize(noise, (WIDTH, HEIGHT)))
        write_panoptic_png(f'{root}/{image_id}.png', ids[index])
        images.append(dict(id=image_id, file_name=f'{image_id}.jpg', height=HEIGHT, width=WIDTH))
        annotations.append(dict(image_id=image_id, file_name=f'{image_id}.png', segments_info=segments))
    categories = [dict(id=1 + label, name=str(label), isthing=int(label < THINGS)) for label in range(THINGS + STUFF)]
    for name, part in dict(panoptic=annotations, instance=instances).items():
        with open(os.path.join(root, f'{name}.json'), 'w') as stream:
            json.dump(dict(images=images, annotations=part, categories=categories), stream)


def polygons(mask: np.ndarray) -> list[list[float]]:
    """The parts of a mask (H, W) as an annotator would draw them: corners x, y, x, y, ... a pixel beside the edge."""
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    drawn = [cv2.approxPolyDP(outline, 1, closed=True) for outline in outlines]
    return [outline.ravel().astype(float).tolist() for outline in drawn if cv2.contourArea(outline) > 2]


def dataset(root: str, type: str, pipeline: list[dict], recipe: str) -> BaseDataset:
    names = tuple(map(str, range(THINGS + STUFF)))
    classes = dict(
        panoptic=dict(classes=names, thing_classes=names[:THINGS], stuff_classes=names[THINGS:]),
        instance=dict(classes=names[:THINGS]),
    )
    folders = dict(panoptic=dict(img=f'{root}/', seg=f'{root}/'), instance=dict(img=f'{root}/'))
    return DATASETS.build(
        dict(
            type=type,
            ann_file=f'{root}/{recipe}.json',
            data_prefix=folders[recipe],
            metainfo=classes[recipe],
            pipeline=pipeline,
        )
    )


def our_side(root: str, recipe: str = 'panoptic') -> Side:
    from m2f_mm.integrations.mmdet_samples import to_targets

    is_thing = [label < THINGS for label in range(THINGS + STUFF if recipe == 'panoptic' else THINGS)]

    def targets(sample):
        (target,) = to_targets([sample], is_thing, torch.device('cpu'))
        return target.labels, target.masks

    pipeline = Config.fromfile(CONFIGS / f'datasets/coco_{recipe}.py').train_pipeline
    preprocessor = Config.fromfile(CONFIGS / 'models/mask2former_r50.py').model.data_preprocessor
    with DefaultScope.overwrite_default_scope('mmdet'):
        kind = 'm2f_mm.PanopticDataset' if recipe == 'panoptic' else 'CocoDataset'
        return Side(dataset(root, kind, pipeline, recipe), MODELS.build(preprocessor), targets)


def mmdet_side(root: str, recipe: str = 'panoptic') -> Side:
    import mmdet
    from mmdet.models.utils import preprocess_panoptic_gt

    config = Config.fromfile(Path(mmdet.__file__).parent / MMDET_CONFIGS[recipe])

    def targets(sample):
        stuff = (
            dict(gt_semantic_seg=sample.gt_sem_seg.sem_seg, num_stuff=STUFF)
            if 'gt_sem_seg' in sample
            else dict(gt_semantic_seg=None, num_stuff=0)
        )
        return preprocess_panoptic_gt(sample.gt_instances.labels, sample.gt_instances.masks, num_things=THINGS, **stuff)

    utils = SimpleNamespace(rgb2id=ids_of_colors, id2rgb=colors_of_ids)  # all that it wants of panopticapi
    with (
        patch.dict(sys.modules, {'panopticapi': SimpleNamespace(utils=utils), 'panopticapi.utils': utils}),
        DefaultScope.overwrite_default_scope('mmdet'),
    ):
        kind = 'CocoPanopticDataset' if recipe == 'panoptic' else 'CocoDataset'
        return Side(
            dataset(root, kind, config.train_pipeline, recipe), MODELS.build(config.model.data_preprocessor), targets
        )


def equal_samples(ours: Side, theirs: Side, fates: list[Decision]) -> str:
    """Compare as the docstring of the module says."""
    number = 0
    with ExitStack() as stack:
        stack.enter_context(patch('mmcv.image.geometric.imresize', resize_by_pillow))
        for transform in theirs.dataset.pipeline.transforms:
            if hasattr(transform, 'poly2mask'):
                stack.enter_context(patch.object(transform, 'poly2mask', False))
        for (my_sample, my_targets), (other_sample, other_targets) in zip(ours.loaded(fates), theirs.loaded(fates)):
            height, width = other_sample['data_samples'].img_shape
            assert torch.equal(my_sample['inputs'][:, :height, :width].float(), other_sample['inputs'].float()), (
                'images differ'
            )
            my_masks, other_masks = sorted_masks(*my_targets), sorted_masks(*other_targets)
            assert my_masks == other_masks, 'labels or masks differ'
            number += len(my_masks)
    same = [
        share_of_same_pixels(mine, others) for (_, mine), (_, others) in zip(ours.loaded(fates), theirs.loaded(fates))
    ]
    return (
        f'every pixel of {len(fates)} images and of {number} masks when both resize by the same rule; with '
        f"MMDetection's own {min(same):.1%} of the pixels or more are in the same masks"
    )


def resize_by_pillow(
    image: np.ndarray, size: tuple[int, int], return_scale: bool = False, interpolation: str = 'bilinear', **_
):
    """In the place of ``mmcv.imresize``."""
    if interpolation == 'nearest':
        resized = Image.fromarray(image.astype(np.int32)).resize(size, Image.Resampling.NEAREST)
    else:
        resized = Image.fromarray(image.astype(np.uint8)).resize(size, Image.Resampling.BILINEAR)
    scales = (size[0] / image.shape[1], size[1] / image.shape[0])
    resized = np.asarray(resized).astype(image.dtype)
    return (resized, *scales) if return_scale else resized


def sorted_masks(labels: torch.Tensor, masks: torch.Tensor) -> list[tuple[int, bytes]]:
    """What has a pixel; the sides differ in the order and in whether they keep the rest."""
    pairs = [(int(label), np.packbits(mask.bool().numpy()).tobytes()) for label, mask in zip(labels, masks)]
    return sorted(pair for pair in pairs if any(pair[1]))


def share_of_same_pixels(mine: tuple, others: tuple) -> float:
    """Share of the pixels that have the same labels on top of them."""
    maps = [
        sum((1 + label) * mask.int() for label, mask in zip(labels.tolist(), masks)) for labels, masks in (mine, others)
    ]
    return (maps[0] == maps[1]).double().mean().item()
