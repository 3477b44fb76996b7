"""Whether the evaluated images are those of the annotations, each once."""

from collections.abc import Container, Mapping, Sequence, Sized
from typing import Any

from mmengine.logging import print_log


def require_each_once(evaluated: Sequence[Any], annotated: Container | Sized | None, file: str | None) -> None:
    """Refuse images that were predicted twice, and say how many of a file were not.

    Args:
        evaluated: ids of the images with a result.
        annotated: ids of the images of the file; None where there is no file.
        file: the annotations.

    Raises:
        ValueError: one occurs twice.
    """
    ids = set()
    twice = list(dict.fromkeys(key for key in evaluated if key in ids or ids.add(key)))
    if twice:
        raise ValueError(
            f'{len(twice)} of {len(ids)} images were predicted more than once: '
            f'{", ".join(map(repr, twice[:3]))}; their objects would count twice. Is the data set '
            'repeated, or has it ids that occur twice?'
        )
    if annotated is not None and len(ids) < len(annotated):
        print_log(
            f'{file}: {len(annotated) - len(ids)} of {len(annotated)} images were not evaluated; their objects '
            'do not count',
            logger='current',
            level=30,
        )  # logging.WARNING


def require_listed(dataset: Any, sizes: Mapping[Any, tuple[int, int]], file: str) -> None:
    """Refuse a data set whose images are not those of a file of annotations, before any of them is predicted.

    Args:
        dataset: of MMEngine; its items may have ``img_id``, ``height`` and ``width``.
        sizes: height and width of every image of the file, by its id.
        file: the annotations.

    Raises:
        ValueError: images are not in the file, or have another size there.
    """
    items = [dataset.get_data_info(index) for index in range(len(dataset))]
    items = [item for item in items if isinstance(item, dict) and 'img_id' in item]
    missing = [item for item in items if item['img_id'] not in sizes]
    if missing:
        raise ValueError(
            f'{len(missing)} of {len(items)} images of the data set are not in {file}, such as '
            f'{missing[0]["img_id"]!r} ({missing[0].get("img_path")}); evaluator and data loader must use '
            f'the same annotation file'
        )
    wrong = [
        (item, (item['height'], item['width']))
        for item in items
        if 'height' in item and 'width' in item and (item['height'], item['width']) != sizes[item['img_id']]
    ]
    if wrong:
        item, size = wrong[0]
        raise ValueError(
            f'{len(wrong)} of {len(items)} images have another size in {file} than in the data set, such '
            f'as {item["img_id"]!r} ({item.get("img_path")}): {"x".join(map(str, sizes[item["img_id"]]))} '
            f'and {"x".join(map(str, size))} pixels (HxW)'
        )
