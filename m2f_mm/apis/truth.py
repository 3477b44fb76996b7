"""Ground truth of an image as a ``Result``: from an annotation beside it, or from the validation data of a model."""

import json
import os
import re
import tempfile
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from m2f_mm.datasets.formats import OwnData, recognise
from m2f_mm.datasets.io import read_json, read_label_png, write_file, write_image
from m2f_mm.datasets.label_maps import default_ignore_index

from .report_data import ValidationData
from .results import IGNORED, Result

if TYPE_CHECKING:
    from .segmenter import Segmenter

LABEL_MAPS = ('.png', '.bmp', '.tif', '.tiff')
COCO_LISTS = ('images', 'annotations', 'categories')


def truth_of_file(path: str, image: np.ndarray, name: str, segmenter: 'Segmenter') -> Result:
    """The truth of an image in a file.

    Args:
        path: a label map, whose values are the labels of the model (255 for none); or a JSON: COCO's instances, among
            which the image is found by its name (a single one whatever its name), or labelme's.
        image: RGB uint8 (H, W, 3).
        name: of the image's file.
        segmenter: whose classes the values of a label map are.

    Raises:
        ValueError: the file is of another kind, is broken, does not have the image, or is of another size.
    """
    suffix = Path(path).suffix.lower()
    shown = Path(path).name
    if suffix in LABEL_MAPS:
        try:
            labels = read_label_png(path)
        except ValueError as error:
            raise ValueError(str(error).replace(path, shown)) from None
        return _of_label_map(labels, image, name, segmenter, shown)
    if suffix != '.json':
        raise ValueError(f'{shown} is no annotation: give a COCO JSON, a JSON of labelme, or a label map (PNG)')
    try:
        content = read_json(path, '', 'COCO or labelme', ())
    except ValueError as error:
        raise ValueError(str(error).replace(path, shown)) from None
    if not isinstance(content, dict):
        raise ValueError(f'{shown} is neither a COCO JSON nor one of labelme')
    stem = 'image'  # a name of ours: that of the image may be any
    if all(isinstance(content.get(key), list) for key in COCO_LISTS):
        content = _of_one_image(content, name, shown, f'{stem}.png')
    elif 'shapes' in content:
        content = dict(content, imagePath=f'{stem}.png')
    with tempfile.TemporaryDirectory(prefix='m2f_truth_') as folder:
        write_image(os.path.join(folder, f'{stem}.png'), image)
        write_file(os.path.join(folder, f'{stem}.json'), json.dumps(content).encode())
        try:
            data = recognise(folder)
        except ValueError as error:
            reason = str(error).replace(f'{folder}{os.sep}', '').replace(folder, 'it').splitlines()
            reason = '; '.join(line.strip() for line in (reason[1:] or reason)[:3])
            raise ValueError(f'{shown} has no annotation of {name} that can be read: {reason}') from None
    return _of_record(data, image, name, segmenter)


def _of_one_image(content: dict, name: str, shown: str, new_name: str) -> dict:
    """The part of a COCO JSON that is about one image, which gets another name."""
    images = [each for each in content['images'] if isinstance(each, dict)]
    names = [re.split(r'[/\\]', str(each.get('file_name', '')))[-1] for each in images]
    wanted = [each for each, own in zip(images, names) if own == name]
    if not wanted:  # servers and browsers change some characters of a name
        wanted = [each for each, own in zip(images, names) if _letters(own) == _letters(name)]
    if not wanted and len(images) == 1:
        wanted = images
    if len(wanted) != 1:
        raise ValueError(f'{shown} has {len(wanted) or "no"} images of the name {name}, among {len(images)}')
    annotations = [
        each
        for each in content['annotations']
        if isinstance(each, dict) and each.get('image_id') == wanted[0].get('id')
    ]
    return dict(content, images=[dict(wanted[0], file_name=new_name)], annotations=annotations)


def _letters(name: str) -> str:
    return re.sub(r'[^\w.]|_', '', name, flags=re.ASCII)


def _of_record(data: OwnData, image: np.ndarray, name: str, segmenter: 'Segmenter') -> Result:
    record = data.records[0]
    classes, labels = _common_classes(data.classes, segmenter)
    parts = [
        (labels[each.label], each.as_rle(record.size) if each.has_mask else None, each.bounds(record.size))
        for each in record.objects
        if not each.is_crowd
    ]
    return _of_objects(parts, image, name, classes, segmenter)


def _common_classes(names: Sequence[str], segmenter: 'Segmenter') -> tuple[Sequence[str], list[int]]:
    """The model's classes, where all names are among them, else the names; and the label of each name."""
    known = {each: label for label, each in enumerate(segmenter.classes)}
    if all(each in known for each in names):
        return segmenter.classes, [known[each] for each in names]
    return list(names), list(range(len(names)))


def _of_objects(
    parts: Iterable[tuple[int, dict | None, Sequence[float]]],
    image: np.ndarray,
    name: str,
    classes: Sequence[str],
    segmenter: 'Segmenter',
) -> Result:
    """Of labels, RLEs (None for boxes alone) and boxes."""
    own = classes is segmenter.classes
    result = Result(name, image, 'instance', [], classes, palette=segmenter.palette if own else None)
    for label, rle, box in parts:
        result.add(label, map(float, box), segmenter.is_thing if own else None, given_rle=rle)
    if result.segments and not any(each.has_mask for each in result.segments):
        result.kind = 'boxes'
    return result


def _of_label_map(labels: np.ndarray, image: np.ndarray, name: str, segmenter: 'Segmenter', shown: str) -> Result:
    if labels.shape != image.shape[:2]:
        raise ValueError(f'{shown} has {labels.shape} pixels (H, W), but {name} {image.shape[:2]}')
    classes = segmenter.classes
    result = Result(name, image, 'semantic', [], classes, semantic=labels, palette=segmenter.palette)
    strange = [int(value) for value in np.unique(labels) if len(classes) <= value != IGNORED]
    if strange:
        raise ValueError(
            f'{shown} has the value {strange[0]}, but the labels of the model are 0 to {len(classes) - 1} '
            f'({classes[0]} to {classes[-1]}), and {IGNORED} for none'
        )
    if len(classes) > IGNORED:  # where 255 would be a class
        result.semantic = np.where(labels == IGNORED, default_ignore_index(len(classes)), labels)
    result.add_classes(segmenter.is_thing)
    return result


class KnownImages:
    """The truth of images of a model's validation data, which are known by the names of their files.

    Args:
        segmenter: whose config has the data; whether they are here is seen when the first image is looked for.
    """

    def __init__(self, segmenter: 'Segmenter'):
        self.segmenter = segmenter

    @cached_property
    def _data(self) -> ValidationData | None:
        """None where the data are not here, or have no annotations for the model."""
        try:
            return ValidationData(self.segmenter)
        except (OSError, ValueError, KeyError):
            return None

    @cached_property
    def _places(self) -> dict[str, int]:
        return {} if self._data is None else {self._data.name(index): index for index in range(len(self._data))}

    def truth(self, image: np.ndarray, name: str) -> Result | None:
        """Of an image RGB uint8 (H, W, 3), without crowds; None where the data lack this name or this size."""
        index = self._places.get(name)
        if self._data is None or index is None:
            return None
        try:
            truth = self._data.truth(index)
        except (OSError, ValueError):  # a broken file, which is not the visitor's
            return None
        result = truth.result
        if result.size != image.shape[:2]:
            return None
        result.image = image
        result.segments = [each for each, crowd in zip(result.segments, truth.crowd.tolist()) if not crowd]
        return result
