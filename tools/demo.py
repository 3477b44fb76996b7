"""From nothing to images: generate shapes, train a small Mask2Former on them, evaluate it, draw what it sees.

    python tools/demo.py [--work-dir work_dirs/demo]

About 8.5 minutes on two idle CPU cores. What is done is not done again; an interrupted training goes on where it was.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from mmengine.config import Config

from m2f_mm.datasets.converters.shapes import write_shapes
from m2f_mm.datasets.shapes import ShapesSpec

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / 'configs' / 'demo' / 'mask2former_r18_shapes-panoptic.py'
METRICS = {
    'PQ': 'coco_panoptic/PQ',
    'PQ things': 'coco_panoptic/PQ_th',
    'PQ stuff': 'coco_panoptic/PQ_st',
    'SQ': 'coco_panoptic/SQ',
    'RQ': 'coco_panoptic/RQ',
    'mask AP': 'coco/segm_mAP',
}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/demo'), help='everything is put here')
    parser.add_argument('--max-iters', type=int, help='train for fewer or more iterations than the config says')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    work_dir = args.work_dir.resolve()
    data = work_dir / 'shapes'
    print(
        f'The demo works in {work_dir}:\n'
        '  1. generate 560 images of shapes with panoptic ground truth   10 s\n'
        '  2. train a small Mask2Former from scratch                       8.5 min on two idle CPU cores\n'
        '  3. evaluate on the 60 held-out images, draw every prediction    30 s\n'
        'Interrupt it when you like: started again, it goes on.\n',
        flush=True,
    )

    print('1. Data', flush=True)
    write_shapes(str(data), ShapesSpec(), 0, 500, 60)

    checkpoint = train(work_dir, data, args.max_iters)
    metrics = evaluate(work_dir, data, checkpoint)
    report(work_dir, metrics)


def run(command: list, data: Path) -> None:
    """A tool of this folder as a user would call it, with the data set's folder in its variable."""
    print('   $ ' + ' '.join(map(str, command[1:])), flush=True)
    done = subprocess.run(command, env={**os.environ, 'SHAPES_ROOT': f'{data}/'}, cwd=ROOT)
    if done.returncode:
        sys.exit(
            f'That step failed (exit status {done.returncode}). Its last lines above say why; mend it and start '
            'the demo again, it goes on from here.'
        )


def train(work_dir: Path, data: Path, max_iters: int) -> Path:
    """The checkpoint at the end of training, training first where it is not there yet."""
    max_iters = max_iters or Config.fromfile(CONFIG).max_iters
    checkpoint = work_dir / 'train' / f'iter_{max_iters}.pth'
    print('2. Training', flush=True)
    if checkpoint.is_file():
        print(f'   done already: {checkpoint}')
        return checkpoint
    started = time.time()
    run(
        [
            sys.executable,
            ROOT / 'tools' / 'train.py',
            CONFIG,
            '--work-dir',
            work_dir / 'train',
            '--resume',
            'auto',
            '--cfg-options',
            f'train_cfg.max_iters={max_iters}',
            f'param_scheduler.1.end={max_iters}',
        ],
        data,
    )
    print(f'   trained in {(time.time() - started) / 60:.1f} minutes')
    return checkpoint


def evaluate(work_dir: Path, data: Path, checkpoint: Path) -> dict:
    """Metrics of the checkpoint; the images lie in ``work_dir/images`` afterwards."""
    result = work_dir / 'metrics.json'
    images = work_dir / 'images'
    print('3. Evaluation', flush=True)
    if result.is_file() and result.stat().st_mtime >= checkpoint.stat().st_mtime:
        print(f'   done already: {result}')
        return json.loads(result.read_text())
    logs = work_dir / 'test'
    shutil.rmtree(logs, ignore_errors=True)
    shutil.rmtree(images, ignore_errors=True)
    run(
        [
            sys.executable,
            ROOT / 'tools' / 'test.py',
            CONFIG,
            checkpoint,
            '--work-dir',
            logs,
            '--show-dir',
            images.resolve(),
        ],
        data,
    )
    run_dir = max(path for path in logs.iterdir() if path.is_dir())
    metrics = json.loads((run_dir / f'{run_dir.name}.json').read_text())
    result.with_suffix('.tmp').write_text(json.dumps(metrics, indent=1))
    result.with_suffix('.tmp').replace(result)
    return metrics


def report(work_dir: Path, metrics: dict) -> None:
    rows = ['| | held-out shapes |', '|---|---|']
    for name, key in METRICS.items():
        value = metrics.get(key)
        if value is not None:
            rows.append(f'| {name} | {value * (100 if key.startswith("coco/") else 1):.1f} |')
    table = '\n'.join(rows)
    (work_dir / 'table.md').write_text(table + '\n')
    print(
        f'\n{table}\n\nThe table: {work_dir / "table.md"}\n'
        f'Images, ground truth beside prediction: {work_dir / "images"}'
    )


if __name__ == '__main__':
    main()
