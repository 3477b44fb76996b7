"""COCO-like data sets of MMDetection behind the checks of ``coco_records``, without MMDetection."""

from contextlib import redirect_stdout
from functools import partial
from io import StringIO
from typing import Any

from mmengine.logging import print_log

from .coco_records import coco_faults, no_object
from .completed_records import COMPUTED, complete_records
from .faults import Fault, raise_faults
from .image_files import size_faults
from .io import read_json
from .pipelines import iter_transforms
from .segmentations import to_rle
from .transforms.safe_masks import SafeMasks

COCO_FORM = 'COCO instance format (https://cocodataset.org/#format-data)'


def reads_masks(pipeline: Any) -> bool:
    """Whether some step of a pipeline loads masks."""
    return any(
        step.get('with_mask') if isinstance(step, dict) else getattr(step, 'with_mask', False)
        for step in iter_transforms(pipeline)
    )


def checked_content(dataset: Any) -> tuple[dict, list[Fault]]:
    """The JSON of a COCO-like data set, stock or ours, with the areas and boxes that it lacks, and all its faults.

    Where a fault is fatal, nothing is computed. What ours computes, stock data sets leave out, so it is fatal there. Of
    stock ones that read COCO's form otherwise, such as LVIS, nothing is known: no content, no faults.
    """
    from mmdet.datasets.transforms import LoadAnnotations

    ours = isinstance(dataset, CheckedCoco)
    if not ours and type(dataset).load_data_list not in _stock_readers():
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
            if isinstance(step, LoadAnnotations)
            and step.with_mask
            and not step.poly2mask
            and not isinstance(step, SafeMasks)
        ]
    if not any(fault.fatal for fault in faults):
        computed = clean(content, dataset.ann_file, with_masks)
        faults += (
            computed
            if ours
            else [
                fault._replace(
                    fatal=True,
                    cure="MMDetection's data set leaves such objects out: "
                    "use type='m2f_mm.CocoDataset', or mend the file",
                )
                if fault.kind in COMPUTED.values()
                else fault
                for fault in computed
            ]
        )
    return content, faults


def _stock_readers() -> set:
    """The methods of MMDetection that read COCO's form as ours do."""
    from mmdet import datasets

    names = ('CocoDataset', 'Objects365V1Dataset', 'Objects365V2Dataset', 'BaseVideoDataset')
    return {getattr(datasets, name).load_data_list for name in names}


def clean(content: dict, file: str = '', with_masks: bool = True) -> list[Fault]:
    """Bring what is legal, and pycocotools does not understand, into its form; see ``complete_records``."""
    listed = {image['id'] for image in content['images']}
    content['annotations'] = [each for each in content['annotations'] if each['image_id'] in listed]
    return complete_records(content, file, mask_area, mask_box, with_masks)


def mask_area(mask: list | dict, height: int, width: int) -> float:
    """Pixels of a segmentation."""
    from pycocotools import mask as coco_masks

    return float(coco_masks.area(to_rle(mask, height, width)))


def mask_box(mask: list | dict, height: int, width: int) -> list[float]:
    """x, y, width, height."""
    from pycocotools import mask as coco_masks

    return coco_masks.toBbox(to_rle(mask, height, width)).tolist()


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
        """The items of the stock method, of the checked JSON."""
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
        """The items of the stock method, at least one, with the sizes of their files."""
        items = super().filter_data()
        if not items:
            raise ValueError(
                f'{self.ann_file}: none of its {len(self.data_list)} images is left after filter_cfg={self.filter_cfg}'
            )
        if len(items) < len(self.data_list):
            ids = {item['img_id'] for item in items}
            lost = [item['img_path'] for item in self.data_list if item['img_id'] not in ids]
            print_log(
                f'{self.ann_file}: {len(lost)} of {len(self.data_list)} images are left out by '
                f'filter_cfg={dict(self.filter_cfg)}: {", ".join(lost[:3])}',
                logger='current',
            )
        raise_faults(
            size_faults(
                items,
                limit=2000,
                backend_args=self.backend_args,
                files=False,
                turned=turned_by_exif(self.pipeline.transforms),
            )
        )
        return items


def _in_memory(kind: type, content: dict, path: str | None = None) -> Any:
    """pycocotools' index of a JSON that has been read."""
    api = kind()
    api.dataset = content
    with redirect_stdout(StringIO()):  # 'creating index...'
        api.createIndex()
    api.img_ann_map, api.cat_img_map = api.imgToAnns, api.catToImgs
    return api
