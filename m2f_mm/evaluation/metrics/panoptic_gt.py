"""The panoptic ground truth of a data set, for metrics."""

import os
from collections.abc import Mapping, Sequence
from weakref import WeakValueDictionary

from ...datasets.panoptic import PanopticDataset


class PanopticGt:
    """Panoptic annotations under the labels of the evaluated data set.

    Args:
        dataset: that lists them.

    Attributes:
        items: of ``PanopticDataset``, by the id of the image.
        category_ids: category id of each label.
    """

    def __init__(self, dataset: PanopticDataset):
        self.items = {item['img_id']: item for item in dataset.data_list}
        self.category_ids = dataset.category_ids

    def sizes(self) -> dict:
        """Height and width of every image, by its id."""
        return {key: (item['height'], item['width']) for key, item in self.items.items()}


_shared: WeakValueDictionary[str, PanopticGt] = WeakValueDictionary()  # as long as a metric has it


def panoptic_gt(dataset_meta: dict, ann_file: str, seg_prefix: str, backend_args: dict | None) -> PanopticGt:
    """The ground truth of a file, one object for all metrics that ask for the same.

    Raises:
        ValueError: the metainfo does not say which classes are things.
    """
    names = ('classes', 'thing_classes', 'stuff_classes')
    missing = [name for name in names if name not in dataset_meta]
    if missing:
        raise ValueError(
            f'the metric needs {", ".join(missing)} in the metainfo of the data set, as '
            f"m2f_mm.PanopticDataset and MMDetection's CocoPanopticDataset have them"
        )
    metainfo = {name: dataset_meta[name] for name in names}
    changed = os.stat(ann_file).st_mtime_ns if os.path.isfile(ann_file) else None
    key = repr((ann_file, changed, seg_prefix, backend_args, metainfo))
    gt = _shared.get(key)
    if gt is None:
        dataset = PanopticDataset(
            ann_file,
            metainfo=metainfo,
            data_prefix=dict(img='', seg=seg_prefix),
            test_mode=True,
            serialize_data=False,
            backend_args=backend_args,
        )
        gt = _shared[key] = PanopticGt(dataset)
    return gt


def require_listed_size(item: Mapping, shape: Sequence[int], file: str) -> None:
    """Raise unless a prediction has the size (H, W) that a file of annotations says."""
    listed = item['height'], item['width']
    if tuple(shape) != listed:
        swapped = ', height and width swapped' if tuple(shape) == listed[::-1] else ''
        raise ValueError(
            f'image {item["img_id"]!r} ({item["img_path"]}): the prediction has {shape[0]}x{shape[1]} '
            f'pixels (HxW), but {file} says {listed[0]}x{listed[1]}{swapped}. Correct height and width '
            'there'
        )
