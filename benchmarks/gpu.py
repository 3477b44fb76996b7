"""The same cases on a GPU, with mmcv's CUDA operator: python -m benchmarks.gpu

Whole model against MMDetection's, R50 and Swin-L, training step and prediction at 1024 x 1024; float32, bfloat16 and
float16; the network compiled and not; batch 1 to 16. Then the cases that mean something on a GPU. Writes
benchmarks/results/gpu.json and docs/benchmarks.md. A batch that does not fit on either side ends its series, and a row
says so. ``--device cpu --tiny`` goes through the motions without a GPU.
"""

import argparse
import json
import sys
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from torch import nn

from benchmarks import peers
from benchmarks.cases import activations, head, layers, mask_dino, postprocess, video
from benchmarks.cases.model import mmdet_step, prediction
from benchmarks.harness import Row, Scale, environment, left_out
from benchmarks.run import RESULTS, describe, write

BACKBONES = ('r50', 'swin-l')
DTYPES = ('float32', 'bfloat16', 'float16')
BATCHES = (1, 2, 4, 8, 16)


def requirements(device: str) -> str:
    """What is missing here, in words; nothing where all is there."""
    from mmcv.ops import get_compiling_cuda_version

    if device == 'cpu':
        return ''
    if not torch.cuda.is_available():
        return 'bench-gpu needs a GPU: torch.cuda.is_available() is False. On a CPU: make bench'
    if get_compiling_cuda_version() == 'not available':
        return (
            'bench-gpu needs an mmcv that was compiled with CUDA (MMCV_WITH_OPS=1 FORCE_CUDA=1 pip install '
            '--no-binary mmcv ...); this one has no CUDA operators. python tools/doctor.py says more'
        )
    return ''


def pair(backbone: str, device: str) -> tuple[nn.Module, nn.Module]:
    """Ours and MMDetection's."""
    ours = peers.our_detector(backbone=backbone)
    return ours.to(device), peers.mmdet_detector(ours, backbone=backbone).to(device)


def compiled(model: nn.Module) -> nn.Module:
    """Backbone and head by ``torch.compile``; the criterion and the post-processing stay outside."""
    model.backbone.compile()
    model.panoptic_head.compile()
    return model


def rows(device: str, tiny: bool) -> Iterator[Row]:
    backbones, dtypes, batches = (('r50',), DTYPES[:2], (1, 2)) if tiny else (BACKBONES, DTYPES, BATCHES)
    size = 128 if tiny else 1024
    for backbone in backbones:
        for compile in (False,) if tiny else (False, True):
            ours, theirs = pair(backbone, device)
            if compile:
                ours, theirs = compiled(ours), compiled(theirs)
            name = backbone + (', compiled' if compile else '')
            for dtype in dtypes:
                scale = Scale(tiny, device, dtype)
                yield from guarded(partial(prediction, ours, theirs, scale, size), f'{name}, {dtype}')
                for batch in batches:
                    measured = list(
                        guarded(partial(mmdet_step, ours, theirs, scale, size, batch=batch), f'{name}, {dtype}')
                    )
                    yield from measured
                    if any(row.note.startswith('left out') for row in measured):
                        break
            del ours, theirs
    for case in () if tiny else (head, mask_dino, video, layers, postprocess, activations):
        yield from guarded(partial(case.rows, Scale(tiny, device)), '')


def guarded(measure, name: str) -> Iterator[Row]:
    """Rows under the name of their setting; one that says so where the memory of the device does not suffice."""
    try:
        for row in measure():
            row.part = f'{name}, {row.part}' if name else row.part
            yield row
    except (torch.cuda.OutOfMemoryError, RuntimeError) as error:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        yield left_out('model', name, 'memory', 'mmdet', f'{type(error).__name__}: {str(error).splitlines()[0]}')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--device', default='cuda', choices=('cuda', 'cpu'))
    parser.add_argument('--tiny', action='store_true', help='small sizes, to see whether everything runs')
    parser.add_argument('--out', type=Path, help='the JSON file; benchmarks/results/gpu.json')
    arguments = parser.parse_args()
    missing = requirements(arguments.device)
    if missing:
        sys.exit(missing)
    warnings.filterwarnings('ignore')
    measured = []
    for row in rows(arguments.device, arguments.tiny):
        print(describe(row), flush=True)
        measured.append(row.to_dict())
    out = arguments.out or RESULTS / ('tiny.json' if arguments.tiny else 'gpu.json')
    write(out, json.dumps(dict(environment=environment(arguments.device), rows=measured), indent=1) + '\n')
    print(f'wrote {out}')


if __name__ == '__main__':
    main()
