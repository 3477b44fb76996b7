"""Make label maps of COCO-Stuff-10K v1.0, in parallel, as MaskFormer's preparation makes them.

    python tools/dataset_converters/coco_stuff10k.py data/coco/coco_stuff_10k

Needs `images`, `annotations` and `imageLists` (cocostuff-10k-v1.0.zip) there, and the package h5py; adds
`annotations_detectron2/{train,test}`. Broken off, it goes on where it was; run again, it does nothing.
"""

from m2f_mm.datasets.converters.coco_stuff import convert
from m2f_mm.datasets.converters.runner import command

if __name__ == '__main__':
    command(__doc__, convert, 'the folder that holds images, annotations and imageLists')
