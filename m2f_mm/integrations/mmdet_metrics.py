"""MMDetection's AP: faster where that is installed, and for panoptic models whose things have numbers of their own."""
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from importlib.util import find_spec
from numbers import Integral
from unittest.mock import patch

from mmdet.evaluation import CocoMetric as StockCocoMetric
from mmdet.evaluation.metrics import coco_metric

from m2f_mm.registry import METRICS


@METRICS.register_module()
class CocoMetric(StockCocoMetric):
    """MMDetection's ``CocoMetric``; where the package ``faster-coco-eval`` is installed, its C++ code matches and
    counts, with the same results in a fraction of the time. Ids of images that are no numbers, such as ADE20K's, and
    more than 100 results for an image, of which it counts other ones, are left to pycocotools.

    Of the annotations those of the evaluated images count: where a data set takes some ``indices`` only, the stock
    metric takes the objects of all others for missed ones.

    Args:
        faster: False takes pycocotools all the same.
        Others: as the stock metric.
    """

    def __init__(self, *args, faster: bool = True, **kwargs):
        super().__init__(*args, **kwargs)
        self.faster = faster

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        if 'segm' in self.metrics and any('masks' not in sample['pred_instances'] for sample in data_samples):
            raise ValueError(f'{type(self).__name__} has metric={self.metrics}, but the results are boxes without '
                             "masks: set metric=['bbox']")
        super().process(data_batch, data_samples)

    def compute_metrics(self, results: list) -> dict:
        if self._coco_api is not None:
            evaluated = {found['img_id'] for _, found in results}
            self.img_ids = [img_id for img_id in self._coco_api.get_img_ids() if img_id in evaluated]
        alike = all(isinstance(found['img_id'], Integral) and len(found['scores']) <= 100 for _, found in results)
        with faster_evaluation() if self.faster and alike else nullcontext():
            return super().compute_metrics(results)


def faster_evaluation() -> AbstractContextManager:
    """Inside, MMDetection's metric evaluates with ``faster-coco-eval``, where that is installed."""
    if find_spec('faster_coco_eval') is None:
        return nullcontext()
    from faster_coco_eval import COCOeval_faster
    return patch.object(coco_metric, 'COCOeval', partial(COCOeval_faster, print_function=print))


@METRICS.register_module()
class ThingMetric(CocoMetric):
    """``CocoMetric`` for the instances of a panoptic model whose data set knows its things by id.

    ``CocoMetric`` looks for the classes by name, leaves out those that it does not find, and counts the rest, so that
    one name in another spelling moves all labels behind it. Here label i is category ``thing_ids[i]`` of the data set's
    metainfo. For ADE20K, whose official panoptic and instance annotations spell their names differently.

    Raises:
        ValueError: the data set has no ``thing_ids``, or the JSON lacks one of them.
    """

    def compute_metrics(self, results: list) -> dict:
        ids = self.dataset_meta.get('thing_ids')
        if ids is None:
            raise ValueError('ThingMetric needs thing_ids in the metainfo of the data set; use CocoMetric, which goes '
                             'by the names of the classes')
        if self._coco_api is None:
            raise ValueError('ThingMetric needs ann_file, the instance annotations whose categories it goes by')
        missing = sorted(set(ids) - set(self._coco_api.get_cat_ids()))
        if missing:
            raise ValueError(f'the annotations of ThingMetric have no categories {missing}, which are things of the '
                             'data set')
        self.cat_ids = list(ids)
        return super().compute_metrics(results)
