"""Make Cityscapes' train-id, panoptic and instance annotations, in parallel and without cityscapesScripts.

    python tools/dataset_converters/cityscapes.py data/cityscapes

Needs `gtFine` (gtFine_trainvaltest.zip) there; adds `*_gtFine_labelTrainIds.png` beside the annotations,
`gtFine/cityscapes_panoptic_{train,val}.json`, the folders of their PNGs, and
`gtFine/cityscapes_instance_{train,val}.json`. Broken off, it goes on where it was; run again, it does nothing.
"""

from m2f_mm.datasets.converters.cityscapes import convert
from m2f_mm.datasets.converters.runner import command

if __name__ == '__main__':
    command(__doc__, convert, 'the folder that holds gtFine')
