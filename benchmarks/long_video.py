"""Memory of a long video: peak resident memory of predicting generated 480p videos of 30 and of 300 frames in windows,
each in a process of its own.

    python -m benchmarks.long_video CONFIG CHECKPOINT [--size 854 480]
"""

import argparse
import resource
import subprocess
import sys
import time

import numpy as np
from mmengine.config import Config

from m2f_mm.apis.command_line import config_file
from m2f_mm.apis.video import load_video_model, predict_video
from m2f_mm.datasets.shape_videos import ShapeVideo, ShapeVideoSpec

LENGTHS = 30, 300


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config')
    parser.add_argument('checkpoint')
    parser.add_argument('--size', type=int, nargs=2, default=(854, 480), help="width and height of the network's input")
    parser.add_argument('--window', type=int, default=20)
    parser.add_argument('--overlap', type=int, default=5)
    parser.add_argument('--length', type=int, help='measure one video, in this process')
    return parser.parse_args()


def peak() -> int:
    """Bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(args: argparse.Namespace) -> None:
    """Print peak memory before and after, and seconds."""
    cfg = Config.fromfile(config_file(args.config))
    cfg.test_dataloader.dataset.pipeline[0].transforms[1].scale = tuple(args.size)
    cfg.model.test_cfg.update(window_size=args.window, window_overlap=args.overlap, frames_at_once=4)
    model = load_video_model(cfg, args.checkpoint)
    video = ShapeVideo(ShapeVideoSpec(480, 854, args.length, speed=0.02), np.random.default_rng(0))
    start, before = time.time(), peak()
    tracks, _ = predict_video(model, (image[..., ::-1] for image, _ in video))
    print(f'measured {before} {peak()} {time.time() - start:.0f} {len(tracks)}')


def main() -> None:
    args = parse_args()
    if args.length:
        measure(args)
        return
    rows = []
    for length in LENGTHS:
        done = subprocess.run(
            [sys.executable, '-m', 'benchmarks.long_video', *sys.argv[1:], '--length', str(length)],
            check=True,
            text=True,
            capture_output=True,
        )
        (line,) = [line for line in done.stdout.splitlines() if line.startswith('measured ')]
        before, after, seconds, _ = (int(value) for value in line.split()[1:])
        rows.append(after)
        print(
            f'{length} frames: peak {after / 2**20:.0f} MiB, {before / 2**20:.0f} MiB of it before the first frame; '
            f'{seconds} s',
            flush=True,
        )
    print(f'ratio {rows[1] / rows[0]:.2f}')


if __name__ == '__main__':
    main()
