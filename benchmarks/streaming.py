"""Memory of a prediction of very many images, and what an interrupted one leaves to do.

    python -m benchmarks.streaming MODEL [--images 10000] [--size 64]

Generates small images, predicts them into files (JSON and COCO), is interrupted half-way, goes on, and prints resident
memory of the process at several points.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from m2f_mm import Segmenter
from m2f_mm.apis.prediction_files import PredictionFiles


def resident() -> float:
    """MiB that the process has in memory now."""
    with open('/proc/self/statm') as stream:
        return int(stream.read().split()[1]) * 4096 / 2**20


def generate(folder: Path, number: int, size: int) -> None:
    """Images of random blocks, as JPEG."""
    generator = np.random.default_rng(0)
    for index in range(number):
        path = folder / f'{index // 1000:03d}' / f'{index:06d}.jpg'
        path.parent.mkdir(parents=True, exist_ok=True)
        blocks = generator.integers(0, 256, (4, 4, 3), np.uint8)
        Image.fromarray(blocks.repeat(size // 4, 0).repeat(size // 4, 1)).save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('model', help='name, config, folder of a training, or checkpoint')
    parser.add_argument('--images', type=int, default=10000)
    parser.add_argument('--size', type=int, default=64, help='side in pixels')
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        images, out = Path(scratch) / 'images', Path(scratch) / 'out'
        generate(images, args.images, args.size)
        segmenter = Segmenter(args.model)
        marks = {round(args.images * share) for share in (0.01, 0.1, 0.25, 0.5, 0.75, 1.0)}
        done = 0
        print(f'{args.images} images of {args.size} x {args.size} pixels; before the first: {resident():.0f} MiB')
        for part in ('first half', 'the rest'):
            files = PredictionFiles(out, ['json', 'coco'], dict(model=args.model), resume=part == 'the rest')
            before = done
            for result in segmenter.predict(images, skip=files.done):
                files.write(result)
                done += 1
                if done in marks:
                    print(f'  after {done:>6}: {resident():.0f} MiB')
                if part == 'first half' and done == args.images // 2:
                    break  # interrupted
            print(f'{part}: {done - before} images')
        files.finish(segmenter.classes, segmenter.is_thing)
        print(f'joined: {(out / "coco.json").stat().st_size / 2**20:.1f} MiB of COCO JSON; {resident():.0f} MiB')


if __name__ == '__main__':
    main()
