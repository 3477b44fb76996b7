"""COCO's panoptic annotations as label maps, one class for each pixel.

From the download, whose layout stays as it is::

    coco/annotations/panoptic_{train,val}2017.json and panoptic_{train,val}2017/*.png (or the latter beside annotations)

to what Mask2Former's preparation makes of them::

    coco/panoptic_semseg_{train,val}2017/*.png   0..132 in the order of the JSON's categories, 255 is void

for training and evaluating semantic models, with MMSegmentation for instance. Crowd regions have their class.
"""

from functools import partial
from pathlib import Path

import numpy as np

from ..id_map import IGNORE, IdRuns, positions
from ..io import encode_png, read_panoptic_json, read_panoptic_png, write_file
from .runner import already_there, convert_label_maps, summary

SPLITS = ('train2017', 'val2017')


def convert(root: Path, workers: int) -> list[str]:
    """Make what is missing, and say what it holds.

    Raises:
        FileNotFoundError: the panoptic annotations of neither split are there.
        BrokenImages: names the images that cannot be read or contradict their JSON.
    """
    lines = [make(root, split, workers) for split in SPLITS if (root / f'annotations/panoptic_{split}.json').is_file()]
    if not lines:
        raise FileNotFoundError(
            f'{root}/annotations has no panoptic_{{{",".join(SPLITS)}}}.json; unpack '
            'panoptic_annotations_trainval2017.zip, and its PNGs, in the folder that is given'
        )
    return lines


def make(root: Path, split: str, workers: int) -> str:
    """Write the label maps of a split; a summary of them."""
    annotations, out = root / f'annotations/panoptic_{split}.json', root / f'panoptic_semseg_{split}'
    content = read_panoptic_json(str(annotations))
    segments = {annotation['file_name']: annotation['segments_info'] for annotation in content['annotations']}
    folder = next(
        (path for path in (root / f'annotations/panoptic_{split}', root / f'panoptic_{split}') if path.is_dir()), None
    )
    if folder is None:
        raise FileNotFoundError(f'{root} has no annotations/panoptic_{split}; unpack panoptic_{split}.zip there')
    labels = {category['id']: label for label, category in enumerate(content['categories'])}
    images = {name.removesuffix('.png'): (listed,) for name, listed in segments.items()}
    if not convert_label_maps(partial(convert_image, folder, out, labels), images, out, '.png', workers):
        return already_there(out)
    return summary(
        content['categories'],
        [segment['category_id'] for each in segments.values() for segment in each],
        len(segments),
        str(out),
    )


def convert_image(folder: Path, out: Path, labels: dict[int, int], name: str, listed: list[dict]) -> dict:
    """Write the label map of a panoptic PNG."""
    path = folder / f'{name}.png'
    runs = IdRuns(read_panoptic_png(str(path)))
    unknown = sorted(set(runs.ids().tolist()) - {0} - {segment['id'] for segment in listed})
    strange = [segment['category_id'] for segment in listed if segment['category_id'] not in labels]
    if unknown or strange:
        raise ValueError(
            f'{path} and its JSON disagree: segments {unknown[:10]} are not in the JSON, '
            f'categories {strange[:10]} not in its list'
        )
    index = positions(runs.values, np.array([segment['id'] for segment in listed], np.int32))
    values = np.array([labels[segment['category_id']] for segment in listed] + [IGNORE], np.uint8)
    write_file(str(out / f'{name}.png'), encode_png(runs.replace(values[index])))
    return {}
