"""Make the images and labels of ADE20K with 847 classes, in parallel, as MaskFormer's preparation makes them.

    python tools/dataset_converters/ade20k_full.py data/ade/ADE20K_2021_17_01

Needs `images/ADE` there; adds `images_detectron2` and `annotations_detectron2`. Broken off, it goes on where it was;
run again, it does nothing.
"""

from m2f_mm.datasets.converters.ade20k_full import convert
from m2f_mm.datasets.converters.runner import command

if __name__ == '__main__':
    command(__doc__, convert, 'the folder that holds images/ADE')
