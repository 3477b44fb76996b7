"""MMDetection's AP behind checks: faster where that is installed, and for panoptic models whose things have numbers of
their own."""

import os
import pickle
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from types import FunctionType
from typing import Any

import numpy as np
import torch
from mmdet.datasets.api_wrappers import COCO
from mmdet.evaluation import CocoMetric as StockCocoMetric
from mmdet.evaluation import DumpDetResults as StockDumpDetResults
from mmdet.evaluation.metrics import coco_metric

from m2f_mm.datasets.checked_coco import COCO_FORM, clean
from m2f_mm.datasets.coco_records import coco_faults
from m2f_mm.datasets.faults import Fault, raise_faults
from m2f_mm.datasets.io import read_json, refuse_inputs, write_file
from m2f_mm.datasets.record_faults import class_faults
from m2f_mm.evaluation.metrics.completeness import require_each_once, require_listed
from m2f_mm.registry import METRICS

COUNTED = 100  # results of an image and class in mAP, whatever proposal_nums says
LISTED_TWICE = 'image files that are listed twice'  # wrong to learn from; here each image has its own objects
LARGEST = 1e10  # area of objects that pycocotools counts


class CocoGt(COCO):
    """pycocotools' index of COCO annotations, whose ids mean nothing to it.

    Its matcher takes the annotation id 0 for "no match", and NumPy sorts ids of images that are numbers and text
    together as text, so both are numbered from 1 here; ``image_numbers`` are those of the images, by their own ids.

    Args:
        content: the JSON, without fatal faults; changed in place.
    """

    def __init__(self, content: dict):
        super().__init__()
        clean(content)
        self.image_numbers = {image['id']: number for number, image in enumerate(content['images'], 1)}
        for image in content['images']:
            image['id'] = self.image_numbers[image['id']]
        for number, annotation in enumerate(content['annotations'], 1):
            area = annotation['area']
            if not 0 < area <= LARGEST and 'bbox' in annotation:
                area = float(np.prod(annotation['bbox'][2:]))
            annotation.update(
                id=number,
                image_id=self.image_numbers[annotation['image_id']],
                area=area,
                iscrowd=annotation.get('iscrowd', 0),
            )
        self.dataset = content
        self.createIndex()
        self.img_ann_map, self.cat_img_map = self.imgToAnns, self.catToImgs

    def loadRes(self, results: list[dict]) -> COCO:  # noqa: N802  pycocotools calls it so
        """Results, with the images' own ids, as pycocotools' annotations; there may be none."""
        results = [dict(result, image_id=self.image_numbers[result['image_id']]) for result in results]
        if results:
            return super().loadRes(results)
        empty = COCO()
        empty.dataset = dict(images=self.dataset['images'], annotations=[], categories=self.dataset['categories'])
        empty.createIndex()
        return empty


@METRICS.register_module()
class CocoMetric(StockCocoMetric):
    """MMDetection's ``CocoMetric`` behind checks; where the package ``faster-coco-eval`` is installed, its C++ code
    matches and counts, with the same results in a fraction of the time. More than 100 results for an image, of which it
    counts other ones, are left to pycocotools.

    The annotations are checked as those of a data set are, and every result is compared with them: an image must be
    listed, have the size that the file says, and be predicted once; classes go by name and must all be in the file.
    Annotations may have any ids. Areas that are missing, not above 0 or above what pycocotools counts (1e10) are
    computed.

    Of the annotations those of the evaluated images count: where a data set takes some ``indices`` only, the stock
    metric takes the objects of all others for missed ones. As COCO defines it, mAP counts the 100 best results of an
    image and class, so that more objects cannot all be found. A number is -1 where no object is to be found, and 0
    where there are objects and no results.

    Args:
        ann_file: COCO instances of the evaluated images; without it the ``instances`` of the data samples are the
            ground truth.
        faster: False takes pycocotools all the same.
        Others: as the stock metric.

    Raises:
        FileNotFoundError, ValueError: the annotations are not there or contradict themselves, the classes or a result;
            the messages name file and record. Or ``outfile_prefix`` would replace the annotations.
    """

    def __init__(
        self, ann_file: str | None = None, *args, faster: bool = True, sort_categories: bool = False, **kwargs
    ):
        super().__init__(None, *args, **kwargs)
        self.faster = faster
        self.ann_file: Any = ann_file  # a path wherever annotations are read
        if self.outfile_prefix is not None:
            refuse_inputs(
                [f'{self.outfile_prefix}.{kind}.json' for kind in ('bbox', 'segm', 'gt')],
                [] if ann_file is None else [ann_file],
                'outfile_prefix',
            )
        if ann_file is not None:
            self._coco_api = self._read(sort_categories)

    def _read(self, sort_categories: bool) -> CocoGt:
        needs = ('images', 'categories') if self.format_only else ('images', 'annotations', 'categories')
        content = read_json(self.ann_file, 'COCO', COCO_FORM, needs, self.backend_args)
        if self.format_only:
            content['annotations'] = []
        with_masks = 'segm' in self.metrics
        if not with_masks:  # then nothing reads them, whatever they are
            content['annotations'] = [
                {key: value for key, value in each.items() if key != 'segmentation'} if isinstance(each, dict) else each
                for each in content['annotations']
            ]
        faults = coco_faults(content, self.ann_file, with_masks=with_masks)
        raise_faults(fault._replace(fatal=False) if fault.kind == LISTED_TWICE else fault for fault in faults)
        if sort_categories:
            content['categories'].sort(key=lambda category: category['id'])
        gt = CocoGt(content)
        raise_faults(self._uncounted(gt))
        return gt

    def _uncounted(self, gt: CocoGt) -> list[Fault]:
        """Of images with more objects of a class than mAP counts results."""
        faults = []
        for image in gt.dataset['images']:
            objects = gt.imgToAnns.get(image['id'], ())
            most = max(np.unique([each['category_id'] for each in objects], return_counts=True)[1], default=0)
            if most > COUNTED:
                faults.append(
                    Fault(
                        f'images with more than {COUNTED} objects of a class',
                        self.ann_file,
                        f'image {image.get("file_name")}',
                        f'it has {most}; mAP counts the {COUNTED} best results, as COCO defines it',
                        fatal=False,
                    )
                )
        return faults

    @property
    def dataset_meta(self) -> dict | None:
        """Metainfo of the evaluated data set."""
        return self._dataset_meta

    @dataset_meta.setter
    def dataset_meta(self, dataset_meta: dict) -> None:
        self._dataset_meta = dataset_meta
        if self._coco_api is not None and dataset_meta and 'classes' in dataset_meta:
            self.cat_ids = self._categories(dataset_meta)

    def _categories(self, dataset_meta: dict) -> list[int]:
        """The category of each label. Instance annotations of a panoptic data set know its things only."""
        categories = self._coco_api.dataset['categories']
        ids = {category['name'].strip(): category['id'] for category in categories}
        classes = dataset_meta['classes']
        if not isinstance(classes, str):
            classes = [name.strip() for name in classes]
            if not set(classes) <= ids.keys():
                classes = [name.strip() for name in dataset_meta.get('thing_classes', classes)]
        raise_faults(class_faults(list(ids), self.ann_file, classes, in_order=True))
        return [ids[name] for name in classes]

    def check_dataset(self, dataset: Any) -> None:
        """Raise ValueError unless the images of a data set are those of the annotations."""
        if self._coco_api is not None:
            images = self._coco_api.imgs
            require_listed(
                dataset,
                {
                    key: (images[number]['height'], images[number]['width'])
                    for key, number in self._coco_api.image_numbers.items()
                },
                self.ann_file,
            )

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Check and take the results of each image."""
        for sample in data_samples:
            self._check(sample)
        super().process(data_batch, data_samples)

    def _check(self, sample: dict) -> None:
        """Raise unless a result is one for these annotations."""
        predicted = sample['pred_instances']
        if 'segm' in self.metrics and 'masks' not in predicted:
            raise ValueError(
                f'{type(self).__name__} has metric={self.metrics}, but the results are boxes without '
                "masks: set metric=['bbox']"
            )
        shape = tuple(sample['ori_shape'][:2])
        where = f'image {sample["img_id"]!r} ({sample.get("img_path")})'
        for name in ('scores', 'bboxes'):
            if not torch.isfinite(predicted[name]).all():
                raise ValueError(f'{where}: {name} of the prediction are not finite; are the weights?')
        masks = predicted['masks'] if 'masks' in predicted else ()
        sizes = {tuple(mask['size'] if isinstance(mask, dict) else mask.shape) for mask in masks}
        if sizes - {shape}:
            raise ValueError(
                f'{where} has {shape[0]}x{shape[1]} pixels (HxW), but predicted masks have the sizes {sorted(sizes)}'
            )
        if self._coco_api is None:
            return
        number = self._coco_api.image_numbers.get(sample['img_id'])
        if number is None:
            raise ValueError(
                f'{where} is not in {self.ann_file}; evaluator and data loader must use the same annotation file'
            )
        image = self._coco_api.imgs[number]
        names = [
            os.path.splitext(os.path.basename(name or ''))[0] for name in (sample.get('img_path'), image['file_name'])
        ]
        if all(names) and names[0] != names[1]:
            raise ValueError(
                f'{where} is {image["file_name"]} in {self.ann_file}; evaluator and data loader must use '
                'the same annotation file'
            )
        if shape != (image['height'], image['width']):
            swapped = ', height and width swapped' if shape == (image['width'], image['height']) else ''
            raise ValueError(
                f'{where} has {shape[0]}x{shape[1]} pixels (HxW), but {self.ann_file} says '
                f'{image["height"]}x{image["width"]}{swapped}. Correct height and width there'
            )
        highest = int(predicted['labels'].max()) if len(predicted['labels']) else 0
        if self.cat_ids is not None and highest >= len(self.cat_ids):
            raise ValueError(
                f'{where}: the model predicts the label {highest}, but there are {len(self.cat_ids)} '
                f'classes in {self.ann_file}'
            )

    def compute_metrics(self, results: list) -> dict:
        """The numbers of the stock metric."""
        if not results:
            raise ValueError(f'{type(self).__name__}: no image was predicted')
        results = self._one_each(results)
        if self._coco_api is not None:
            return self._compute(results)
        with tempfile.TemporaryDirectory() as folder:
            content = read_json(
                self.gt_to_coco_json([gt for gt, _ in results], f'{folder}/results'),
                'COCO',
                COCO_FORM,
                ('images', 'categories'),
            )
        content.setdefault('annotations', [])
        self._coco_api = CocoGt(content)
        try:
            return self._compute(results)
        finally:
            self._coco_api = self.cat_ids = None

    def _one_each(self, results: list) -> list:
        """In the order of the file, by which the stock code of recalls goes."""
        numbers = None if self._coco_api is None else self._coco_api.image_numbers
        require_each_once([predicted['img_id'] for _, predicted in results], numbers, self.ann_file)
        return results if numbers is None else sorted(results, key=lambda result: numbers[result[1]['img_id']])

    def _compute(self, results: list) -> dict:
        self.img_ids = [self._coco_api.image_numbers[predicted['img_id']] for _, predicted in results]
        few = all(len(predicted['scores']) <= COUNTED for _, predicted in results)
        compute = faster_compute() if self.faster and few else None
        return super().compute_metrics(results) if compute is None else compute(self, results)

    def results2json(self, results: Sequence[dict], outfile_prefix: str) -> dict:
        """As the stock method, each file whole or not at all."""
        if self.outfile_prefix is None:  # a temporary folder
            return super().results2json(results, outfile_prefix)
        with tempfile.TemporaryDirectory() as folder:
            files = super().results2json(results, f'{folder}/results')
            targets = {kind: outfile_prefix + path.removeprefix(f'{folder}/results') for kind, path in files.items()}
            for path, target in {files[kind]: targets[kind] for kind in files}.items():
                with open(path, 'rb') as stream:
                    write_file(target, stream.read())
        return targets


def faster_compute() -> Callable[[StockCocoMetric, list], dict] | None:
    """MMDetection's ``CocoMetric.compute_metrics`` with ``faster-coco-eval`` in the place of pycocotools; None where
    that is not installed.

    The stock method takes the class from its module. This is a copy of the method with names of its own: the module,
    which other threads use, stays as it is.
    """
    if find_spec('faster_coco_eval') is None:
        return None
    from faster_coco_eval import COCOeval_faster

    stock = StockCocoMetric.compute_metrics
    names = {**vars(coco_metric), 'COCOeval': partial(COCOeval_faster, print_function=print)}
    return FunctionType(stock.__code__, names, stock.__name__, stock.__defaults__, stock.__closure__)


@METRICS.register_module()
class ThingMetric(CocoMetric):
    """``CocoMetric`` for the instances of a panoptic model whose data set knows its things by id.

    ``CocoMetric`` looks for the classes by name. Here label i is category ``thing_ids[i]`` of the data set's metainfo.
    For ADE20K, whose official panoptic and instance annotations spell their names differently.

    Raises:
        ValueError: the data set has no ``thing_ids``, or the JSON lacks one of them.
    """

    def _categories(self, dataset_meta: dict) -> list[int]:
        ids = dataset_meta.get('thing_ids')
        if ids is None:
            raise ValueError(
                'ThingMetric needs thing_ids in the metainfo of the data set; use CocoMetric, which goes '
                'by the names of the classes'
            )
        missing = sorted(set(ids) - set(self._coco_api.get_cat_ids()))
        if missing:
            raise ValueError(
                f'the annotations of ThingMetric have no categories {missing}, which are things of the data set'
            )
        return list(ids)

    def compute_metrics(self, results: list) -> dict:
        """The numbers of the stock metric."""
        if self.ann_file is None:
            raise ValueError('ThingMetric needs ann_file, the instance annotations whose categories it goes by')
        return super().compute_metrics(results)


@METRICS.register_module()
class DumpDetResults(StockDumpDetResults):
    """MMDetection's ``DumpDetResults``, whose file is there when all of it is written."""

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Keep the predictions, without the ground truth."""
        super().process(
            data_batch,
            [{key: value for key, value in sample.items() if key != 'panoptic_ids'} for sample in data_samples],
        )

    def compute_metrics(self, results: list) -> dict:
        """Write the file."""
        write_file(self.out_file_path, pickle.dumps(results))
        return {}
