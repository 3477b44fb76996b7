"""Batches of real COCO images for the panoptic recipe, and what a training step waits for them.

The folder in COCO's layout (train2017, annotations/panoptic_train2017.json and the PNGs) comes from
``--option coco=FOLDER`` or the variable M2F_COCO. Peer: MMDetection's transforms, data preprocessor and targets, as in
the case ``pipeline``, here on photographs and their annotations instead of generated ones. A run takes the images in
batches of two from the files to labels and masks, with jitter to 1024 x 1024, all in one process.

Equal: as in the case ``pipeline``: every pixel of the images and of the masks, when both resize by the same rule.

Also, of ours alone, the median wait for the loader in a training step with 2 workers
(``tools/analysis_tools/profile_iteration.py``): at 256 x 256 on a CPU, by the recipe itself on a GPU.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2

from benchmarks.cases.pipeline import Side, decisions, equal_samples, mmdet_side, our_side
from benchmarks.harness import Row, Scale, compare, left_out
from benchmarks.run import ROOT

IMAGES = 16
PEER = 'mmdet'
BATCHES = 'batches of 2 up to the targets'
WAIT = 'wait for the loader in a step, 2 workers'
TOOL = ROOT / 'tools/analysis_tools/profile_iteration.py'
CONFIGS = dict(
    cpu='demo/mask2former_r50_coco-panoptic-256.py', cuda='mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic.py'
)
HOW = "no images: name a folder in COCO's layout by M2F_COCO=FOLDER or --option coco=FOLDER"


def rows(scale: Scale) -> Iterator[Row]:
    if 'time' not in scale.metrics:
        return
    folder = scale.options.get('coco', os.environ.get('M2F_COCO', ''))
    annotations = Path(folder, 'annotations/panoptic_train2017.json')
    if not folder or not annotations.is_file():
        reason = f'there is no {annotations}' if folder else HOW
        yield from (left_out('loader', part, 'time', peer, reason) for part, peer in ((BATCHES, PEER), (WAIT, '')))
        return
    with tempfile.TemporaryDirectory() as root:
        link_images(Path(folder).resolve(), root, 2 if scale.quick else IMAGES)
        yield from batches(our_side(root), mmdet_side(root), scale)
    yield waiting(folder, scale)


def batches(ours: Side, theirs: Side, scale: Scale) -> list[Row]:
    fates = decisions(len(ours.dataset))
    threads = cv2.getNumThreads()
    cv2.setNumThreads(0)  # as in a worker
    rows = compare(
        'loader',
        f'{BATCHES}, {len(fates)} images of COCO',
        PEER,
        lambda: ours.batches(fates),
        lambda: theirs.batches(fates),
        lambda *_: equal_samples(ours, theirs, fates),
        metrics=('time',),
        repeats=scale.repeats,
    )
    cv2.setNumThreads(threads)
    return rows


def link_images(folder: Path, root: str, number: int) -> None:
    """``number`` images, spread over the folder's, as ``pipeline`` writes its own: in one folder, classes by number.

    Raises ValueError where the categories are not COCO's, things first.
    """
    content = json.loads((folder / 'annotations/panoptic_train2017.json').read_text(encoding='utf-8'))
    things = [category['isthing'] for category in content['categories']]
    if things != [1] * 80 + [0] * 53:
        raise ValueError(
            f'{folder}: expected the 133 categories of COCO panoptic, 80 things first, got {len(things)} '
            f'with {sum(things)} things'
        )
    for label, category in enumerate(content['categories']):
        category['name'] = str(label)
    content['images'] = content['images'][:: max(1, len(content['images']) // number)][:number]
    names = {image['id']: image['file_name'] for image in content['images']}
    content['annotations'] = [entry for entry in content['annotations'] if entry['image_id'] in names]
    for entry in content['annotations']:
        os.symlink(folder / 'train2017' / names[entry['image_id']], f'{root}/{names[entry["image_id"]]}')
        os.symlink(folder / 'annotations/panoptic_train2017' / entry['file_name'], f'{root}/{entry["file_name"]}')
    Path(root, 'panoptic.json').write_text(json.dumps(content), encoding='utf-8')


def waiting(folder: str, scale: Scale) -> Row:
    """The profile of an iteration in a process of its own, whose wait is the row."""
    with tempfile.TemporaryDirectory() as out:
        iterations = ('2', '1') if scale.quick else ('6', '2')
        command = [
            sys.executable,
            str(TOOL),
            CONFIGS[scale.device],
            '--out',
            f'{out}/found.json',
            '--iters',
            iterations[0],
            '--warmup',
            iterations[1],
            '--cfg-options',
            'train_dataloader.num_workers=2',
        ]
        run = subprocess.run(
            command,
            cwd=out,
            capture_output=True,
            text=True,
            env={**os.environ, 'COCO_ROOT': f'{Path(folder).resolve()}/'},
        )
        if run.returncode:
            return left_out('loader', WAIT, 'time', '', f'the process ended with {run.returncode}: {run.stderr[-200:]}')
        profile = json.loads(Path(out, 'found.json').read_text(encoding='utf-8'))
    wait = next(part for part in profile['parts'] if part['part'] == 'waiting for the loader')
    loader = profile['loader']
    return Row(
        'loader',
        WAIT,
        'time',
        '',
        wait['seconds'],
        note=f'{wait["share"]:.1%} of the time of the steps; two workers with a core each need '
        f'{loader["seconds_per_batch"] / loader["seconds_per_step"]:.1%} of a step for its batch',
    )
