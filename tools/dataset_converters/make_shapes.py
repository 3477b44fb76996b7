"""Generate the shapes data set: COCO panoptic, COCO instance and MMSegmentation form over the same images.

    python tools/dataset_converters/make_shapes.py --out data/shapes

The default, 560 images of 128x128, takes about ten seconds and 15 MB. Run again, it does nothing.
"""

import argparse

from m2f_mm.apis.command_line import height_and_width
from m2f_mm.datasets.converters.shapes import write_shapes
from m2f_mm.datasets.shapes import ShapesSpec


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', default='data/shapes', help='folder to create')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--train', type=int, default=500, help='number of training images')
    parser.add_argument('--val', type=int, default=60, help='number of validation images')
    parser.add_argument('--size', type=height_and_width, default='128x128', help='HxW in pixels (default 128x128)')
    parser.add_argument('--difficulty', type=float, default=ShapesSpec.difficulty, help='0 (easy) to 1')
    parser.add_argument('--crowd', type=float, default=ShapesSpec.crowd, help='share with a crowd region')
    parser.add_argument('--void', type=float, default=ShapesSpec.void, help='share with an unlabelled patch')
    parser.add_argument('--heap', type=float, default=ShapesSpec.heap, help='share with a heap of touching objects')
    parser.add_argument('--overwrite', action='store_true', help='replace shapes with other parameters')
    return parser.parse_args()


def main():
    args = parse_args()
    spec = ShapesSpec(*args.size, args.difficulty, args.crowd, args.void, args.heap)
    written = write_shapes(args.out, spec, args.seed, args.train, args.val, args.overwrite)
    print(f'\n{args.out} is complete' if written else f'{args.out} is already there; nothing to do')


if __name__ == '__main__':
    main()
