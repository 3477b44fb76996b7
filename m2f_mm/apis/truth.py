"""Ground truth of an image as a ``Result``: from an annotation beside it, or from the test data of a model."""

import copy
import json
import os
import re
import tempfile
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from m2f_mm.boxes import box_of_mask
from m2f_mm.datasets.formats import OwnData, recognise
from m2f_mm.datasets.io import read_json, read_label_png, read_panoptic_png, write_file, write_image
from m2f_mm.datasets.segmentations import to_rle

from .models import tested_data
from .results import IGNORED, Result, ResultSegment
from .tool_runner import import_framework

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
    for number, (label, rle, box) in enumerate(parts, 1):
        result.segments.append(
            ResultSegment(
                label=label,
                name=classes[label],
                score=None,
                is_thing=segmenter.is_thing[label] if own and segmenter.is_thing else None,
                id=number,
                box=tuple(map(float, box)),
                size=result.size,
                given_rle=rle,
            )
        )
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
    for label in np.unique(labels[labels != IGNORED]).tolist():
        result.segments.append(_segment_of_map(result, labels, label, label, segmenter))
    return result


def _segment_of_map(result: Result, ids: np.ndarray, value: int, label: int, segmenter: 'Segmenter') -> ResultSegment:
    return ResultSegment(
        label=label,
        name=result.classes[label],
        score=None,
        is_thing=segmenter.is_thing[label] if segmenter.is_thing else None,
        id=len(result.segments) + 1,
        box=box_of_mask(ids == value),
        size=result.size,
        ids=ids,
        value=value,
    )


class TestData:
    """The truth of images of a model's test data, which are known by the names of their files.

    Args:
        segmenter: whose config has the test data; that they are there is seen when the first image is looked for.
    """

    __test__ = False  # no test, whatever pytest thinks of its name

    def __init__(self, segmenter: 'Segmenter'):
        self.segmenter = segmenter

    @cached_property
    def _dataset(self) -> Any:
        """The data set, or None where it cannot be built, as its files are not here."""
        from mmengine.registry import DATASETS, DefaultScope

        cfg = copy.deepcopy(self.segmenter.cfg)
        scope = cfg.get('default_scope') or 'mmdet'
        import_framework(scope)
        try:
            data = tested_data(cfg)
            data.update(pipeline=[], lazy_init=False)
            with DefaultScope.overwrite_default_scope(scope):
                return DATASETS.build(data)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @cached_property
    def _places(self) -> dict[str, int]:
        if self._dataset is None:
            return {}
        paths = (self._dataset.get_data_info(index)['img_path'] for index in range(len(self._dataset)))
        return {Path(path).name: index for index, path in enumerate(paths)}

    def truth(self, image: np.ndarray, name: str) -> Result | None:
        """Of an image RGB uint8 (H, W, 3); None where the test data have none of this name and size."""
        index = self._places.get(name)
        if index is None:
            return None
        info = self._dataset.get_data_info(index)
        segmenter = self.segmenter
        try:
            if info.get('segments_info') and info.get('seg_map_path'):
                return self._panoptic(info, image, name)
            if 'instances' in info:
                if (info['height'], info['width']) != image.shape[:2]:
                    return None
                parts = [
                    (each['bbox_label'], self._rle(each.get('mask'), image.shape[:2]), each['bbox'])
                    for each in info['instances']
                    if not each.get('ignore_flag')
                ]
                return _of_objects(parts, image, name, segmenter.classes, segmenter)
            return self._semantic(info, image, name)
        except (OSError, ValueError, KeyError, TypeError):  # a truth that cannot be shown is none
            return None

    @staticmethod
    def _rle(mask: Any, size: tuple[int, int]) -> dict | None:
        return to_rle(mask, *size) if mask else None

    def _panoptic(self, info: dict, image: np.ndarray, name: str) -> Result | None:
        segmenter, ids = self.segmenter, read_panoptic_png(info['seg_map_path'])
        if ids.shape != image.shape[:2]:
            return None
        result = Result(name, image, 'panoptic', [], segmenter.classes, palette=segmenter.palette)
        result.panoptic = np.zeros(result.size, np.int32)
        for each in info['segments_info']:
            mask = ids == each['id']
            if each.get('iscrowd') or not mask.any():
                continue
            result.panoptic[mask] = len(result.segments) + 1
            result.segments.append(_segment_of_map(result, ids, each['id'], each['category'], segmenter))
        return result

    def _semantic(self, info: dict, image: np.ndarray, name: str) -> Result:
        labels = read_label_png(info['seg_map_path'])
        if info.get('reduce_zero_label'):
            labels = (labels - 1).astype(np.uint8)  # 0 becomes 255
        given = labels
        for old, new in (info.get('label_map') or {}).items():
            labels = np.where(given == old, new, labels)
        labels = np.where(labels < len(self.segmenter.classes), labels, IGNORED).astype(np.uint8)
        return _of_label_map(labels, image, name, self.segmenter, 'the label map')
