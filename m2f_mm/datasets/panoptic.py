"""Data sets in COCO panoptic format: a JSON of segments and a PNG of segment ids for each image."""

import warnings
from collections.abc import Sequence
from typing import Any

from mmengine.dataset import BaseDataset
from mmengine.fileio import join_path

from ..registry import DATASETS
from .categories import (
    ADE20K_PANOPTIC,
    CITYSCAPES_PANOPTIC,
    COCO_PANOPTIC,
    MAPILLARY_PANOPTIC,
    category_labels,
    resolve_metainfo,
)
from .faults import raise_faults
from .io import read_panoptic_json
from .panoptic_files import shared_panoptic_json
from .panoptic_records import panoptic_faults
from .pipelines import iter_transforms

STOCK_OPTIONS = dict(
    seg_map_suffix='.png', proposal_file=None, file_client_args=None, return_classes=False, caption_prompt=None
)  # of MMDetection's data sets


def check_panoptic_pipeline(transforms: Sequence[Any]) -> None:
    """Loaders and packing that cannot read what ``PanopticDataset`` lists are refused before they are used.

    Raises:
        ValueError: there is one; names it and what takes its place.
    """
    kinds = [type(part) for part in iter_transforms(transforms)]
    stock = {
        kind.__name__ for kind in kinds if kind.__module__.startswith(('mmdet.', 'mmcv.', 'm2f_mm.integrations.'))
    }  # the last: the same loaders behind checks
    own = {kind.__name__ for kind in kinds if kind.__module__.startswith('m2f_mm.datasets.')}
    for name in ('LoadPanopticAnnotations', 'LoadAnnotations'):
        if name in stock:
            raise ValueError(
                f"{name} of MMDetection does not read the records of m2f_mm's panoptic data sets: take "
                'm2f_mm.LoadPanopticAnnotations, or m2f_mm.LoadPanopticSegments with '
                'm2f_mm.PackPanopticInputs'
            )
    if 'PackDetInputs' in stock and 'LoadPanopticSegments' in own:
        raise ValueError(
            'PackDetInputs of MMDetection loses the labels of the segments that '
            'm2f_mm.LoadPanopticSegments loads: take m2f_mm.PackPanopticInputs in its place, or '
            'm2f_mm.LoadPanopticAnnotations'
        )


@DATASETS.register_module()
class PanopticDataset(BaseDataset):
    """Any data set in COCO panoptic format, with the file names of its JSON and no need of panopticapi.

    The classes are those of the JSON, things first, each in the order of the category ids, unless ``metainfo`` says
    otherwise: ``metainfo=dict(classes=(...))`` takes a subset, in the same order, and the segments of other categories
    become void. A JSON without ``isthing`` needs ``thing_classes`` and ``stuff_classes`` in ``metainfo``.

    Each item of the data set holds: ``img_path``, ``img_id``, ``height``, ``width``; ``seg_map_path`` (None when the
    JSON has no annotation for the image) and its name in the JSON, ``seg_map_name``; ``segments_info``,
    a list of dicts with ``id`` (in the PNG), ``category`` (label), ``iscrowd`` and ``is_thing`` (and not crowd);
    ``void_ids``, the ids of segments whose category is not among the classes. In test mode, where the JSON has boxes,
    ``instances`` as in MMDetection.

    Args:
        data_prefix: ``img`` is the folder of the images, ``seg`` that of the panoptic PNGs.
        filter_cfg: in training, ``filter_empty_gt=True`` leaves out images without any segment that is not crowd,
            ``min_size`` images with a shorter side.
        backend_args: how to read files, see ``mmengine.fileio``.
        kwargs: see ``mmengine.dataset.BaseDataset``; of MMDetection's own options those that change nothing.

    Raises:
        FileNotFoundError: there is no annotation file.
        ValueError: the pipeline has a loader that does not read such records, or the annotations contradict themselves
            or the metainfo; the message names file, image and ids.
    """

    def __init__(
        self,
        ann_file: str,
        metainfo: dict | None = None,
        data_prefix: dict | None = None,
        backend_args: dict | None = None,
        lazy_init: bool = False,
        **kwargs,
    ):
        self.backend_args = backend_args
        for key, only in STOCK_OPTIONS.items():
            if kwargs.pop(key, only) != only:
                raise ValueError(f'{type(self).__name__}: {key} is not supported, only {only!r}')
        super().__init__(
            ann_file=ann_file,
            metainfo=metainfo,
            data_prefix=data_prefix or dict(img='', seg=''),
            lazy_init=True,
            **kwargs,
        )
        check_panoptic_pipeline(self.pipeline.transforms)
        given = {key: value for key, value in self._metainfo.items() if key in (metainfo or {})}
        # The JSON is read once: the classes are needed now, the items at full_init. An inferencer needs only the
        # classes and may have no JSON.
        known = {'classes', 'thing_classes', 'stuff_classes'} <= {*self.METAINFO, *given}
        self._content = None if lazy_init and known else self._read()
        categories = self._content['categories'] if self._content else []
        self._metainfo.update(resolve_metainfo(given, self.METAINFO, categories, self.ann_file))
        if not lazy_init:
            self.full_init()

    def load_data_list(self) -> list[dict]:
        """The items of the JSON, see the class."""
        content, self._content = self._content or self._read(), None
        labels = category_labels(content['categories'], self._metainfo['classes'], self.ann_file)
        category_of = {label: category_id for category_id, label in labels.items() if label >= 0}
        self.category_ids = [category_of[label] for label in range(len(category_of))]  # of each label
        things = self.category_ids[: len(self._metainfo['thing_classes'])]
        if things != sorted(things):
            warnings.warn(
                f'The thing classes {self._metainfo["thing_classes"]} are not in the order of the category '
                f"ids in {self.ann_file} ({things}). Panoptic quality counts them right, but MMDetection's "
                'CocoMetric does not: list them by id where mask AP is computed',
                stacklevel=2,
            )
        annotations = {annotation['image_id']: annotation for annotation in content.get('annotations', [])}
        return [self._item(image, annotations.get(image['id']), labels) for image in content['images']]

    def _read(self) -> dict:
        # Metrics read the file of a test data set, too; that of a training set would only be kept in memory.
        read = shared_panoptic_json if self.test_mode else read_panoptic_json
        content = read(self.ann_file, self.backend_args)
        if not isinstance(content.get('annotations', []), list):
            raise ValueError(f'{self.ann_file} has no list annotations, but {type(content["annotations"]).__name__}')
        raise_faults(panoptic_faults(content, self.ann_file))
        return content

    def _item(self, image: dict, annotation: dict | None, labels: dict[int, int]) -> dict:
        item = dict(
            img_path=join_path(self.data_prefix.get('img', ''), self._image_file(image)),
            img_id=image['id'],
            height=image['height'],
            width=image['width'],
            seg_map_path=None,
            seg_map_name=None,
            segments_info=[],
            void_ids=[],
        )
        if annotation is None:
            return item
        item['seg_map_name'] = annotation['file_name']
        item['seg_map_path'] = join_path(self.data_prefix.get('seg', ''), annotation['file_name'])
        num_things = len(self._metainfo['thing_classes'])
        for segment in annotation['segments_info']:
            label = labels[segment['category_id']]
            if label < 0:
                item['void_ids'].append(segment['id'])
                continue
            crowd = bool(segment.get('iscrowd', False))
            item['segments_info'].append(
                dict(id=segment['id'], category=label, iscrowd=crowd, is_thing=label < num_things and not crowd)
            )  # as MMDetection has it
        boxes = {segment['id']: segment.get('bbox') for segment in annotation['segments_info']}
        if self.test_mode and all(isinstance(box, list) and len(box) == 4 for box in boxes.values()):
            item['instances'] = [  # what MMDetection's tools of analysis look for
                dict(bbox=[x, y, x + width, y + height], bbox_label=segment['category'], ignore_flag=0)
                for segment in item['segments_info']
                if segment['is_thing']
                for x, y, width, height in [boxes[segment['id']]]
            ]
        return item

    def _image_file(self, image: dict) -> str:
        """Where the image lies in its folder."""
        return image['file_name']

    def filter_data(self) -> list[dict]:
        """The items that ``filter_cfg`` leaves; at least one."""
        rules = {} if self.test_mode else self.filter_cfg or {}
        min_size, filter_empty = rules.get('min_size', 0), rules.get('filter_empty_gt', False)
        items = [
            item
            for item in self.data_list
            if min(item['height'], item['width']) >= min_size
            and not (filter_empty and all(segment['iscrowd'] for segment in item['segments_info']))
        ]
        if not items:
            raise ValueError(
                f'{self.ann_file}: none of its {len(self.data_list)} images is left after filter_cfg={rules}'
            )
        return items

    def get_cat_ids(self, idx: int) -> list[int]:
        """Labels in an image, which MMEngine's ClassBalancedDataset asks for."""
        return [segment['category'] for segment in self.get_data_info(idx)['segments_info']]


@DATASETS.register_module()
class CocoPanopticDataset(PanopticDataset):
    """COCO panoptic: 80 things, 53 stuff."""

    METAINFO = COCO_PANOPTIC


@DATASETS.register_module()
class ADE20KPanopticDataset(PanopticDataset):
    """ADE20K's scene parsing benchmark with instances: 100 things, 50 stuff."""

    METAINFO = ADE20K_PANOPTIC


@DATASETS.register_module()
class CityscapesPanopticDataset(PanopticDataset):
    """Cityscapes: 8 things, 11 stuff. The JSON is that of cityscapesScripts' ``createPanopticImgs``, the images lie
    in a folder per city."""

    METAINFO = CITYSCAPES_PANOPTIC

    def _image_file(self, image: dict) -> str:
        city, sequence, frame = image['id'].split('_')[:3]  # the JSON's file name is that of no file
        return f'{city}/{city}_{sequence}_{frame}_leftImg8bit.png'


@DATASETS.register_module()
class MapillaryPanopticDataset(PanopticDataset):
    """Mapillary Vistas v1.2: 37 things, 28 stuff."""

    METAINFO = MAPILLARY_PANOPTIC
