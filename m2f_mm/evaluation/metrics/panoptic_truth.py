"""What the panoptic annotations of a data set say, for metrics."""

from collections.abc import Mapping, Sequence

from ...datasets.panoptic import PanopticDataset


def panoptic_truth(dataset_meta: dict, ann_file: str, seg_prefix: str, backend_args: dict | None) -> PanopticDataset:
    """The annotations under the labels of the evaluated data set.

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
    return PanopticDataset(
        ann_file,
        metainfo={name: dataset_meta[name] for name in names},
        data_prefix=dict(img='', seg=seg_prefix),
        test_mode=True,
        serialize_data=False,
        backend_args=backend_args,
    )


def listed_sizes(items: Mapping) -> dict:
    """Height and width of every image, by its id."""
    return {key: (item['height'], item['width']) for key, item in items.items()}


def require_listed_size(item: dict, shape: Sequence[int], file: str) -> None:
    """Raise unless a prediction has the size (H, W) that a file of annotations says."""
    listed = item['height'], item['width']
    if tuple(shape) != listed:
        swapped = ', height and width swapped' if tuple(shape) == listed[::-1] else ''
        raise ValueError(
            f'image {item["img_id"]!r} ({item["img_path"]}): the prediction has {shape[0]}x{shape[1]} '
            f'pixels (HxW), but {file} says {listed[0]}x{listed[1]}{swapped}. Correct height and width '
            'there'
        )
