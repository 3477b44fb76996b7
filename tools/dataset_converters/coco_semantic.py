"""Make COCO's semantic label maps from its panoptic annotations.

    python tools/dataset_converters/coco_semantic.py data/coco

Needs `annotations/panoptic_{train,val}2017.json` and the folders of their PNGs; adds `panoptic_semseg_{train,val}2017`.
Broken off, it goes on where it was; run again, it does nothing.
"""

from m2f_mm.datasets.converters.coco_semantic import convert
from m2f_mm.datasets.converters.runner import command

if __name__ == '__main__':
    command(__doc__, convert, 'the folder that holds annotations')
