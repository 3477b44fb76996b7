"""The data sets inside of wrappers such as ``ConcatDataset`` and ``RepeatDataset``, built or as configs.

A wrapper has the list ``datasets`` or the one ``dataset``.
"""

from collections.abc import Iterator, Mapping
from typing import Any


def inner_datasets(dataset: Any, place: str = 'dataset') -> list[tuple[Any, str]]:
    """The data sets directly inside of one, each with its path; none where it is no wrapper.

    Args:
        dataset: built, or its config.
        place: its path in a config, such as 'train_dataloader.dataset'.
    """
    if isinstance(dataset, Mapping):
        several, single = dataset.get('datasets'), dataset.get('dataset')
        single = single if isinstance(single, Mapping) else None
    else:
        several, single = getattr(dataset, 'datasets', None), getattr(dataset, 'dataset', None)
    if several:
        return [(each, f'{place}.datasets[{index}]') for index, each in enumerate(several)]
    return [] if single is None else [(single, f'{place}.dataset')]


def iter_datasets(dataset: Any, place: str = 'dataset', wrappers: bool = False) -> Iterator[tuple[Any, str]]:
    """The data sets that are no wrappers, each with its path in the config.

    Args:
        dataset: built, or its config.
        place: its path, such as 'train_dataloader.dataset'.
        wrappers: give the wrappers, too, each before what it wraps.
    """
    inner = inner_datasets(dataset, place)
    if wrappers or not inner:
        yield dataset, place
    for part, path in inner:
        yield from iter_datasets(part, path, wrappers)
