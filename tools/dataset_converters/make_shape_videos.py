"""Generate videos of shapes that move, hide each other, leave and return, in the format of YouTube-VIS.

    python tools/dataset_converters/make_shape_videos.py --out data/shape_videos

The default, 460 videos of 16 frames of 96x128, takes about half a minute and 70 MB. Run again, it does nothing.
"""

import argparse

from m2f_mm.apis.command_line import height_and_width
from m2f_mm.datasets.converters.shapes import write_shape_videos
from m2f_mm.datasets.shape_videos import ShapeVideoSpec


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', default='data/shape_videos', help='folder to create')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--train', type=int, default=400, help='number of training videos')
    parser.add_argument('--val', type=int, default=60, help='number of validation videos')
    parser.add_argument('--size', type=height_and_width, default='96x128', help='HxW in pixels (default 96x128)')
    parser.add_argument('--length', type=int, default=ShapeVideoSpec.length, help='frames of each')
    parser.add_argument('--difficulty', type=float, default=ShapeVideoSpec.difficulty, help='0 (easy) to 1')
    parser.add_argument(
        '--speed',
        type=float,
        default=ShapeVideoSpec.speed,
        help="of the fastest objects, in shares of the image's smaller side for each frame",
    )
    parser.add_argument('--overwrite', action='store_true', help='replace shapes with other parameters')
    return parser.parse_args()


def main():
    args = parse_args()
    spec = ShapeVideoSpec(*args.size, args.length, args.difficulty, args.speed)
    written = write_shape_videos(args.out, spec, args.seed, args.train, args.val, args.overwrite)
    print(f'\n{args.out} is complete' if written else f'{args.out} is already there; nothing to do')


if __name__ == '__main__':
    main()
