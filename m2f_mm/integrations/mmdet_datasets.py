"""MMDetection's COCO-like data sets and their loader, behind the checks of ``datasets.coco_records``."""
from functools import partial
from typing import Any

import numpy as np
from mmdet.datasets import ADE20KInstanceDataset as StockADE20KInstanceDataset
from mmdet.datasets import CityscapesDataset as StockCityscapesDataset
from mmdet.datasets import CocoDataset as StockCocoDataset
from mmdet.datasets import Objects365V1Dataset as StockObjects365V1Dataset
from mmdet.datasets import Objects365V2Dataset as StockObjects365V2Dataset
from mmdet.datasets.transforms import LoadAnnotations as StockLoadAnnotations
from mmdet.datasets.transforms import LoadTrackAnnotations as StockLoadTrackAnnotations
from mmdet.structures.mask import BitmapMasks
from pycocotools import mask as coco_masks

from m2f_mm.datasets.coco_records import WrongMask, check_segmentation, coco_faults, complete_records
from m2f_mm.datasets.faults import Fault, raise_faults
from m2f_mm.datasets.io import read_json
from m2f_mm.datasets.run_lengths import compressed
from m2f_mm.registry import DATASETS, TRANSFORMS

COCO_FORM = 'COCO instance format (https://cocodataset.org/#format-data)'


def reads_masks(pipeline: list) -> bool:
    """Whether some step of a pipeline, a config or built, loads masks."""
    for step in pipeline or ():
        inner = step.get('transforms') if isinstance(step, dict) else getattr(step, 'transforms', None)
        with_mask = step.get('with_mask') if isinstance(step, dict) else getattr(step, 'with_mask', False)
        if with_mask or isinstance(inner, list | tuple) and reads_masks(
                [part for each in inner for part in (each if isinstance(each, list) else [each])]):
            return True
    return False


class CheckedCoco:
    """A mixin before a COCO-like data set of MMDetection: its JSON is checked before pycocotools sees it.

    What contradicts itself is refused, with file, record, value and cure; what the stock class leaves out is said in a
    line. Annotations without area or box, and those of area 0, have both from their masks. In training an object must
    be left. The images themselves are looked at by ``inspection.dataset_faults``, which ``ClassCountHook`` asks.
    """

    def load_data_list(self) -> list[dict]:
        needs = ('images', 'categories') if self.test_mode else ('images', 'annotations', 'categories')
        content = read_json(self.ann_file, 'COCO', COCO_FORM, needs, self.backend_args)
        if not isinstance(content.setdefault('annotations', []), list):
            read_json(self.ann_file, 'COCO', COCO_FORM, ('annotations', ), self.backend_args)  # raises
        raise_faults(self.record_faults(content))
        clean(content)
        self.COCOAPI = partial(_in_memory, type(self).COCOAPI, content)
        try:
            return super().load_data_list()
        finally:
            del self.COCOAPI

    def record_faults(self, content: dict) -> list[Fault]:
        return list(coco_faults(content, self.ann_file, self._metainfo.get('classes'),
                                with_masks=reads_masks(self.pipeline.transforms), training=not self.test_mode))

    def filter_data(self) -> list[dict]:
        kept = super().filter_data()
        if not kept:
            raise ValueError(f'{self.ann_file}: none of its {len(self.data_list)} images is left after '
                             f'filter_cfg={self.filter_cfg}')
        if len(kept) < len(self.data_list):
            lost = [item['img_path'] for item in self.data_list if item not in kept] if len(kept) < 1000 else []
            raise_faults([Fault(
                'images left out', self.ann_file, '', f'{len(self.data_list) - len(kept)} of {len(self.data_list)} images '
                f'are left out by filter_cfg={self.filter_cfg}{": " if lost else ""}{", ".join(lost[:3])}', fatal=False)])
        return kept


def clean(content: dict) -> None:
    """Bring what is legal, and pycocotools does not understand, into its form."""
    listed = {image['id'] for image in content['images']}
    content['annotations'] = [each for each in content['annotations'] if each['image_id'] in listed]
    for category in content['categories']:
        category['name'] = category['name'].strip()
    complete_records(content, lambda mask, *size: float(coco_masks.area(compressed(mask, *size))),
                     lambda mask, *size: coco_masks.toBbox(compressed(mask, *size)).tolist())


def _in_memory(kind: type, content: dict, path: str | None = None) -> Any:
    """pycocotools' index of a JSON that has been read."""
    api = kind()
    api.dataset = content
    api.createIndex()
    api.img_ann_map, api.cat_img_map = api.imgToAnns, api.catToImgs
    return api


@DATASETS.register_module()
class CocoDataset(CheckedCoco, StockCocoDataset):
    """MMDetection's ``CocoDataset`` behind the checks of ``CheckedCoco``."""


@DATASETS.register_module()
class CityscapesDataset(CheckedCoco, StockCityscapesDataset):
    """MMDetection's ``CityscapesDataset`` behind the checks of ``CheckedCoco``."""


@DATASETS.register_module()
class ADE20KInstanceDataset(CheckedCoco, StockADE20KInstanceDataset):
    """MMDetection's ``ADE20KInstanceDataset`` behind the checks of ``CheckedCoco``."""


@DATASETS.register_module()
class Objects365V1Dataset(CheckedCoco, StockObjects365V1Dataset):
    """MMDetection's ``Objects365V1Dataset`` behind the checks of ``CheckedCoco``."""


@DATASETS.register_module()
class Objects365V2Dataset(CheckedCoco, StockObjects365V2Dataset):
    """MMDetection's ``Objects365V2Dataset`` behind the checks of ``CheckedCoco``."""


class SafeMasks:
    """A mixin before a loader of MMDetection: masks of every form of COCO, each checked before it is decoded.

    With ``poly2mask=False`` the masks of an image stay polygons if all are polygons; where one is an RLE, which the
    stock loader then ignores, they become bitmaps.
    """

    def _load_masks(self, results: dict) -> None:
        height, width = results.get('ori_shape') or (results['height'], results['width'])
        instances = results.get('instances', [])
        for number, instance in enumerate(instances):
            try:
                check_segmentation(instance.get('mask'), height, width)
            except WrongMask as error:
                raise ValueError(f'{results.get("img_path")}: object {number}: {error}') from error
        if self.poly2mask or all(isinstance(instance['mask'], list) for instance in instances):
            super()._load_masks(results)
            return
        masks = [coco_masks.decode(compressed(instance['mask'], height, width)) for instance in instances]
        results['gt_masks'] = BitmapMasks(masks, height, width)
        results['gt_ignore_flags'] = np.array([instance['ignore_flag'] for instance in instances], bool)

    def _poly2mask(self, mask_ann: list | dict, img_h: int, img_w: int) -> np.ndarray:
        return coco_masks.decode(compressed(mask_ann, img_h, img_w))


@TRANSFORMS.register_module()
class LoadAnnotations(SafeMasks, StockLoadAnnotations):
    """MMDetection's ``LoadAnnotations``, which takes masks of every form, see ``SafeMasks``."""


@TRANSFORMS.register_module()
class LoadTrackAnnotations(SafeMasks, StockLoadTrackAnnotations):
    """MMDetection's ``LoadTrackAnnotations``, which takes masks of every form, see ``SafeMasks``."""
