"""Semantic prediction of large images: the label map of 150 classes, ResNet-50.

Peer: MMSegmentation's ``EncoderDecoder`` with its Mask2Former, whole inference, in the size of its ADE20K config; the
same weights and normalised image of 2048 x 3072. Equal: the label map, but for one pixel in a thousand. Target: at most
0.15 of the peer's peak memory.

Also a photo of 24 megapixels in one piece: ``--option photo=FILE`` or the variable M2F_PHOTO. Measured is the largest
resident size of a process that loads and predicts it, everything included. Target: less than 6 GB.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks import peers
from benchmarks.harness import Row, Scale, available_memory, compare, left_out
from benchmarks.prediction import equal_labels

TARGETS = dict(memory=0.15)
GIB = 2**30
NEED = 14 * GIB  # what the peer needs at the full size, with the others of its process
PHOTO_LIMIT = 6e9
CLASSES = 150


def rows(scale: Scale) -> Iterator[Row]:
    yield from against_mmseg(scale, *((256, 384) if scale.quick else (512, 768)), {})
    if not scale.quick:
        yield from against_mmseg(scale, 2048, 3072, TARGETS)
    yield photo(scale)


def against_mmseg(scale: Scale, height: int, width: int, targets: dict) -> list[Row]:
    part = f'label map of {CLASSES} classes, {height} x {width}'
    if scale.device == 'cpu' and targets and available_memory() < NEED:
        return [
            left_out(
                'semantic',
                part,
                metric,
                'mmseg',
                f'needs {NEED / GIB:.0f} GiB of free memory',
                target=targets.get(metric),
            )
            for metric in targets
        ]
    ours = peers.our_segmentor(CLASSES).to(scale.device)
    theirs = peers.mmseg_segmentor(ours).to(scale.device)
    inputs = peers.images(1, height, width).to(scale.device)
    metrics = scale.metrics
    if scale.device == 'cpu' and targets:  # a run takes minutes
        metrics = [metric for metric in metrics if metric in targets]
    return compare(
        'semantic',
        part,
        'mmseg',
        partial(predict, ours, inputs),
        partial(predict, theirs, inputs),
        equal_labels,
        metrics=metrics,
        repeats=min(3, scale.repeats),
        targets=targets,
    )


@torch.no_grad()
def predict(segmentor: nn.Module, inputs: Tensor) -> Tensor:
    """The label map (1, H, W) of one normalised image."""
    from mmseg.structures import SegDataSample

    size = tuple(inputs.shape[-2:])
    sample = SegDataSample(metainfo=dict(img_shape=size, ori_shape=size, pad_shape=size, img_padding_size=(0, 0, 0, 0)))
    return segmentor.predict(inputs, [sample])[0].pred_sem_seg.data


def photo(scale: Scale) -> Row:
    """The largest resident size of a process of its own."""
    part = 'a photo in one piece, resident size of the process'
    path = scale.options.get('photo', os.environ.get('M2F_PHOTO', ''))
    if scale.device != 'cpu' or not Path(path).is_file():
        reason = "resident size is the CPU's" if scale.device != 'cpu' else 'no photo (--option photo=FILE)'
        return left_out('semantic', part, 'memory', '', reason, limit=PHOTO_LIMIT)
    run = subprocess.run([sys.executable, '-m', 'benchmarks.cases.semantic', path], capture_output=True, text=True)
    match = re.search(r'(\d+) x (\d+), (\d+) bytes, (\d+) classes', run.stdout)
    if run.returncode or not match:
        return left_out(
            'semantic',
            part,
            'memory',
            '',
            f'the process ended with {run.returncode}: {run.stderr[-200:]}',
            limit=PHOTO_LIMIT,
        )
    height, width, size, classes = map(int, match.groups())
    megapixels = height * width / 1e6
    return Row(
        'semantic',
        f'{part}, {height} x {width} ({megapixels:.0f} megapixels)',
        'memory',
        '',
        size,
        limit=PHOTO_LIMIT,
        note=f'{classes} classes in the map; random weights',
    )


def predict_photo(path: str) -> None:
    """Load, preprocess and predict as MMSegmentation's inferencer does, and say what it took."""
    import mmcv
    from mmseg.structures import SegDataSample

    segmentor = peers.our_segmentor(CLASSES)
    image = mmcv.imread(path)
    sample = SegDataSample(metainfo=dict(img_shape=image.shape[:2], ori_shape=image.shape[:2], img_path=path))
    data = dict(inputs=[torch.from_numpy(image).permute(2, 0, 1)], data_samples=[sample])
    with torch.no_grad():
        labels = segmentor.test_step(data)[0].pred_sem_seg.data
    # Not getrusage: that also counts what the process was before it became this program, the whole benchmark.
    size = 1024 * int(re.search(r'VmHWM:\s+(\d+) kB', Path('/proc/self/status').read_text())[1])
    print(f'{labels.shape[1]} x {labels.shape[2]}, {size} bytes, {len(labels.unique())} classes')


if __name__ == '__main__':
    predict_photo(sys.argv[1])
