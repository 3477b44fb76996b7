"""MMDetection's COCO-like data sets and their loader, behind the checks of ``datasets.checked_coco``."""

from mmdet.datasets import ADE20KInstanceDataset as StockADE20KInstanceDataset
from mmdet.datasets import CityscapesDataset as StockCityscapesDataset
from mmdet.datasets import CocoDataset as StockCocoDataset
from mmdet.datasets import Objects365V1Dataset as StockObjects365V1Dataset
from mmdet.datasets import Objects365V2Dataset as StockObjects365V2Dataset
from mmdet.datasets.transforms import LoadAnnotations as StockLoadAnnotations
from mmdet.datasets.transforms import LoadTrackAnnotations as StockLoadTrackAnnotations
from mmdet.datasets.transforms import Resize
from mmdet.registry import DATASETS as MMDET_DATASETS
from mmdet.registry import TRANSFORMS as MMDET_TRANSFORMS

from m2f_mm.datasets.checked_coco import CheckedCoco
from m2f_mm.datasets.transforms.safe_masks import SafeMasks
from m2f_mm.datasets.transforms.stock_types import TakenForStock
from m2f_mm.registry import DATASETS, TRANSFORMS


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
    KeyError where a record lacks something, and a stock loader passes over masks in silence. A class of another
    package under such a name stays.
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
