"""Make ADE20K's panoptic and instance annotations from the two downloads.

    python tools/dataset_converters/ade20k.py data/ade/ADEChallengeData2016

Needs `images`, `annotations` (ADEChallengeData2016.zip) and `annotations_instance` (annotations_instance.tar) there;
adds `ade20k_panoptic_{train,val}.json`, the folders of their PNGs, and `ade20k_instance_{train,val}.json`. Broken off,
it goes on where it was; run again, it does nothing.
"""

from m2f_mm.datasets.converters.ade20k import convert
from m2f_mm.datasets.converters.runner import command

if __name__ == '__main__':
    command(__doc__, convert, 'the folder ADEChallengeData2016')
