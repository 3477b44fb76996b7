"""MMDetection's COCO-like data sets and their loader, behind the checks of ``datasets.coco_records``."""

from contextlib import redirect_stdout
from functools import partial
from io import StringIO
from typing import Any

import numpy as np
from mmdet.datasets import ADE20KInstanceDataset as StockADE20KInstanceDataset
from mmdet.datasets import BaseVideoDataset
from mmdet.datasets import CityscapesDataset as StockCityscapesDataset
from mmdet.datasets import CocoDataset as StockCocoDataset
from mmdet.datasets import Objects365V1Dataset as StockObjects365V1Dataset
from mmdet.datasets import Objects365V2Dataset as StockObjects365V2Dataset
from mmdet.datasets.transforms import LoadAnnotations as StockLoadAnnotations
from mmdet.datasets.transforms import LoadTrackAnnotations as StockLoadTrackAnnotations
from mmdet.datasets.transforms import Resize
from mmdet.registry import DATASETS as MMDET_DATASETS
from mmdet.registry import TRANSFORMS as MMDET_TRANSFORMS
from mmdet.structures.mask import BitmapMasks
from mmengine.logging import print_log
from pycocotools import mask as coco_masks

from m2f_mm.datasets.coco_records import (
    COMPUTED,
    WrongMask,
    check_segmentation,
    coco_faults,
    complete_records,
    no_object,
)
from m2f_mm.datasets.faults import Fault, raise_faults
from m2f_mm.datasets.image_files import check_image_size, size_faults
from m2f_mm.datasets.io import read_json
from m2f_mm.datasets.pipelines import iter_transforms
from m2f_mm.datasets.run_lengths import compressed
from m2f_mm.datasets.transforms.stock_types import TakenForStock
from m2f_mm.registry import DATASETS, TRANSFORMS

STOCK_READERS = {
    kind.load_data_list
    for kind in (StockCocoDataset, StockObjects365V1Dataset, StockObjects365V2Dataset, BaseVideoDataset)
}
COCO_FORM = 'COCO instance format (https://cocodataset.org/#format-data)'


def reads_masks(pipeline: Any) -> bool:
    """Whether some step of a pipeline loads masks."""
    return any(
        step.get('with_mask') if isinstance(step, dict) else getattr(step, 'with_mask', False)
        for step in iter_transforms(pipeline)
    )


def checked_content(dataset: StockCocoDataset) -> tuple[dict, list[Fault]]:
    """The JSON of a COCO-like data set, stock or ours, with the areas and boxes that it lacks, and all its faults.

    Where a fault is fatal, nothing is computed. What ours computes, stock data sets leave out, so it is fatal there. Of
    stock ones that read COCO's form otherwise, such as LVIS, nothing is known: no content, no faults.
    """
    ours = isinstance(dataset, CheckedCoco)
    if not ours and type(dataset).load_data_list not in STOCK_READERS:
        return {}, []
    needs = ('images', 'categories') if dataset.test_mode else ('images', 'annotations', 'categories')
    content = read_json(dataset.ann_file, 'COCO', COCO_FORM, needs, dataset.backend_args)
    if not isinstance(content.setdefault('annotations', []), list):
        read_json(dataset.ann_file, 'COCO', COCO_FORM, ('annotations',), dataset.backend_args)  # raises
    steps = dataset.pipeline.transforms
    with_masks = reads_masks(steps)
    faults = list(
        coco_faults(
            content, dataset.ann_file, dataset.metainfo.get('classes'), with_masks, training=not dataset.test_mode
        )
    )
    if any(
        isinstance(each, dict) and isinstance(each.get('segmentation'), dict) and not each.get('iscrowd')
        for each in content['annotations']
    ):
        faults += [
            Fault(
                'a loader that ignores RLE masks',
                dataset.ann_file,
                '',
                f"there are RLE masks, but the pipeline has MMDetection's {type(step).__name__}(poly2mask=False)",
                f"Use type='m2f_mm.{type(step).__name__}', or poly2mask=True",
            )
            for step in iter_transforms(steps)
            if isinstance(step, StockLoadAnnotations)
            and step.with_mask
            and not step.poly2mask
            and not isinstance(step, SafeMasks)
        ]
    if not any(fault.fatal for fault in faults):
        found = clean(content, dataset.ann_file, with_masks)
        faults += (
            found
            if ours
            else [
                fault._replace(
                    fatal=True,
                    cure="MMDetection's data set leaves such objects out: "
                    "use type='m2f_mm.CocoDataset', or mend the file",
                )
                if fault.kind in COMPUTED.values()
                else fault
                for fault in found
            ]
        )
    return content, faults


def clean(content: dict, file: str = '', with_masks: bool = True) -> list[Fault]:
    """Bring what is legal, and pycocotools does not understand, into its form; see ``complete_records``."""
    listed = {image['id'] for image in content['images']}
    content['annotations'] = [each for each in content['annotations'] if each['image_id'] in listed]
    return complete_records(content, file, mask_area, mask_box, with_masks)


def mask_area(mask: list | dict, height: int, width: int) -> float:
    return float(coco_masks.area(compressed(mask, height, width)))


def mask_box(mask: list | dict, height: int, width: int) -> list[float]:
    """x, y, width, height."""
    return coco_masks.toBbox(compressed(mask, height, width)).tolist()


def turned_by_exif(steps: list) -> bool:
    """Whether the loader of a pipeline turns images as EXIF says."""
    types = [step.color_type for step in iter_transforms(steps) if isinstance(getattr(step, 'color_type', None), str)]
    return not any('unchanged' in kind or 'ignore_orientation' in kind for kind in types)


class CheckedCoco:
    """A mixin before a COCO-like data set of MMDetection: its JSON is checked before pycocotools sees it.

    What contradicts itself is refused, with file, record, value and cure; what the stock class leaves out is said in a
    line. Annotations without area or box, and those of area 0, have both from their masks. In training an object must
    be left, and sizes of images are compared with their files, of large data sets with 2000 of them.
    """

    def load_data_list(self) -> list[dict]:
        content, faults = checked_content(self)
        raise_faults(faults)
        self.COCOAPI = partial(_in_memory, type(self).COCOAPI, content)
        try:
            items = super().load_data_list()
        finally:
            del self.COCOAPI
        if not self.test_mode and all(each['ignore_flag'] for item in items for each in item['instances']):
            raise_faults([no_object(self.ann_file, len(content['annotations']))])
        return items

    def filter_data(self) -> list[dict]:
        kept = super().filter_data()
        if not kept:
            raise ValueError(
                f'{self.ann_file}: none of its {len(self.data_list)} images is left after filter_cfg={self.filter_cfg}'
            )
        if len(kept) < len(self.data_list):
            ids = {item['img_id'] for item in kept}
            lost = [item['img_path'] for item in self.data_list if item['img_id'] not in ids]
            print_log(
                f'{self.ann_file}: {len(lost)} of {len(self.data_list)} images are left out by '
                f'filter_cfg={dict(self.filter_cfg)}: {", ".join(lost[:3])}',
                logger='current',
            )
        raise_faults(
            size_faults(
                kept,
                limit=2000,
                backend_args=self.backend_args,
                files=False,
                turned=turned_by_exif(self.pipeline.transforms),
            )
        )
        return kept


def _in_memory(kind: type, content: dict, path: str | None = None) -> Any:
    """pycocotools' index of a JSON that has been read."""
    api = kind()
    api.dataset = content
    with redirect_stdout(StringIO()):  # 'creating index...'
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
    stock loader then ignores, they become bitmaps. RLE of crowds, which are not trained on, do not count.

    Raises:
        ValueError: a mask contradicts itself, or the image has another size than ``height`` and ``width`` of the
            results say; names the image.
    """

    def transform(self, results: dict) -> dict:
        check_image_size(results)
        return super().transform(results)

    def _load_masks(self, results: dict) -> None:
        height, width = results['ori_shape']
        instances = results.get('instances', [])
        for number, instance in enumerate(instances):
            try:
                check_segmentation(instance.get('mask'), height, width)
            except WrongMask as error:
                raise ValueError(f'{results.get("img_path")}: object {number}: {error}') from error
        if self.poly2mask or all(
            instance['ignore_flag'] or isinstance(instance['mask'], list) for instance in instances
        ):
            super()._load_masks(results)
            return
        masks = [self._poly2mask(instance['mask'], height, width) for instance in instances]
        results['gt_masks'] = BitmapMasks(masks, height, width)
        results['gt_ignore_flags'] = np.array([instance['ignore_flag'] for instance in instances], bool)


@TRANSFORMS.register_module()
class LoadAnnotations(SafeMasks, StockLoadAnnotations, metaclass=TakenForStock):
    """MMDetection's ``LoadAnnotations``, which takes masks of every form, see ``SafeMasks``."""

    taken_for = 'LoadAnnotations'


@TRANSFORMS.register_module()
class LoadTrackAnnotations(SafeMasks, StockLoadTrackAnnotations):
    """MMDetection's ``LoadTrackAnnotations``, which takes masks of every form, see ``SafeMasks``."""


def check_stock_types() -> None:
    """Let MMDetection's names of data sets and loaders stand for ours, which give the same behind checks.

    Called whenever one of our heads is built, that is, before the loaders of a runner: stock data sets end in a
    KeyError where a record lacks something, and a stock loader passes over masks in silence. A class that somebody else
    has put under such a name stays.
    """
    for registry, kinds in (
        (
            MMDET_DATASETS,
            (CocoDataset, CityscapesDataset, ADE20KInstanceDataset, Objects365V1Dataset, Objects365V2Dataset),
        ),
        (MMDET_TRANSFORMS, (LoadAnnotations, LoadTrackAnnotations)),
    ):
        for kind in kinds:
            name = kind.__name__
            if registry.module_dict.get(name) in kind.__mro__[1:]:
                registry.register_module(name=name, module=kind, force=True)


def resize_masks(self: Resize, results: dict) -> None:
    """What MMDetection's ``Resize._resize_masks`` does, to the size that the image has: the stock method computes its
    own, which is 0 for the short side of a very long image. See also ``compatibility.resize_any_image``."""
    if results.get('gt_masks') is not None:
        results['gt_masks'] = results['gt_masks'].resize(results['img_shape'])


Resize._resize_masks = resize_masks
