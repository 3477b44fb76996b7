"""Do model and data agree on the classes and on the ignored label? Compared before anything expensive happens.

A head with too few classes fails deep inside a CUDA kernel, one with too many, or with others of the same number,
trains silently to a wrong result.
"""

import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope

from m2f_mm.datasets.head_classes import class_counts
from m2f_mm.datasets.wrappers import inner_datasets, iter_datasets
from m2f_mm.heads import HEAD_NAMES, read


class HeadClasses(NamedTuple):
    """Classes of one head; ``things`` and ``stuff`` are None for a purely semantic one, ``names`` where only numbers
    are known."""

    place: str
    total: int | None
    things: int | None
    stuff: int | None
    names: tuple[str, ...] | None = None


class DataClasses(NamedTuple):
    """Names that one data set lists; None where it does not say."""

    place: str
    classes: tuple[str, ...] | None
    thing_classes: tuple[str, ...] | None
    stuff_classes: tuple[str, ...] | None
    text: str | None = None  # where a text stands for the classes, and no file of names has that path


def compare(head: HeadClasses, data: DataClasses) -> list[str]:
    """Every disagreement between a head and a data set, each naming both places and both values."""
    if data.text is not None:
        return [
            f'{data.place} has classes={data.text!r}, a text instead of a list; write classes=({data.text!r}, ), '
            'or the path of a file with a name in each line'
        ]
    pairs = []
    # Without the split, e.g. an instance data set, only the sum can be compared.
    if data.thing_classes is not None and data.stuff_classes is not None:
        pairs = [
            ('num_things_classes', head.things, 'thing_classes', data.thing_classes),
            ('num_stuff_classes', head.stuff, 'stuff_classes', data.stuff_classes),
        ]
    total = head.total if head.things is None or head.stuff is None else head.things + head.stuff
    if not any(count not in (None, len(names)) for _, count, _, names in pairs):
        label = 'num_classes' if head.things is None else 'num_things_classes + num_stuff_classes'
        pairs.append((label, total, 'classes', data.classes))
    counts = [
        f'{head.place}.{field} is {count}, but {data.place} lists {len(names)} {key} ({shorten(names)})'
        for field, count, key, names in pairs
        if count is not None and names is not None and count != len(names)
    ]
    return counts or compare_names(head, data)


def compare_names(head: HeadClasses, data: DataClasses) -> list[str]:
    """How the class names differ, where both sides know as many; both lists are named."""
    if head.names is None or data.classes is None or len(head.names) != len(data.classes):
        return []
    ours, theirs = ([str(name).strip() for name in names] for names in (head.names, data.classes))
    differing = [
        f'{label}: {one!r} and {other!r}' for label, (one, other) in enumerate(zip(ours, theirs)) if one != other
    ]
    if not differing:
        return []
    how = 'the same names in another order' if sorted(ours) == sorted(theirs) else 'other names'
    return [
        f'{head.place} has the classes {shorten(ours, 20)}, but {data.place} has {how}: {shorten(theirs, 20)} '
        f'(class {"; ".join(differing[:3])}{"; ..." if len(differing) > 3 else ""})'
    ]


def shorten(names: Sequence[str], limit: int = 3) -> str:
    """The first names, for a message."""
    return ', '.join(map(str, names[:limit])) + (', ...' if len(names) > limit else '')


def require_agreement(heads: list[HeadClasses], data: list[DataClasses]) -> None:
    """Raise ValueError, naming all disagreements, when there is one."""
    problems = [problem for item in data for head in heads for problem in compare(head, item)]
    if problems:
        raise ValueError(
            'The classes of model and data disagree:\n  '
            + '\n  '.join(dict.fromkeys(problems))
            + "\nSet the model's classes, or the data set's metainfo (classes, thing_classes, "
            'stuff_classes), so that both say the same.'
        )


def heads_of(model: Any, place: str = 'model') -> list[HeadClasses]:
    """Heads with class counts in a built model or in its config; wrappers (DDP, TTA) are looked through."""
    inner = read(model, 'module')
    if inner is not None:
        return heads_of(inner, f'{place}.module' if isinstance(model, dict) else place)
    classes = []
    for slot in (*HEAD_NAMES, 'panoptic_fusion_head'):
        slot_heads = read(model, slot)
        several = not isinstance(slot_heads, dict) and isinstance(slot_heads, list | tuple)
        for index, head in enumerate(slot_heads if several else [slot_heads]):
            if head is None:
                continue
            name = f'{place}.{slot}[{index}]' if several else f'{place}.{slot}'
            classes.append(HeadClasses(name, *counts_of(head, name)))
    return classes


def counts_of(head: Any, name: str) -> tuple[int | None, int | None, int | None, tuple[str, ...] | None]:
    """Classes, things, stuff and names of a built head or of its config, which may name a metainfo instead."""
    if isinstance(head, dict) and head.get('metainfo') is not None:
        counts = class_counts(
            name, *(head.get(key) for key in ('metainfo', 'num_things_classes', 'num_stuff_classes', 'num_classes'))
        )
        split = counts.things > 0  # a purely semantic head has classes only
        return len(counts.is_thing), counts.things if split else None, counts.stuff if split else None, counts.names
    numbers = (count_or_none(read(head, key)) for key in ('num_classes', 'num_things_classes', 'num_stuff_classes'))
    names = None if isinstance(head, dict) else getattr(head, 'class_names', None)
    return (*numbers, names)


def count_or_none(value: Any) -> int | None:
    """A number of classes; None for anything else."""
    return value if isinstance(value, int) and value >= 0 else None


def data_of(dataset: Any, place: str) -> list[DataClasses]:
    """Classes of a built data set; wrappers without a metainfo of their own are looked through."""
    metainfo = getattr(dataset, 'metainfo', None)
    if isinstance(metainfo, dict) and metainfo:  # of data sets that differ MMDetection's ConcatDataset has a list
        return [from_metainfo(metainfo, f'{place} ({type(dataset).__name__})', built=True)]
    return [item for part, path in inner_datasets(dataset, place) for item in data_of(part, path)]


def from_metainfo(metainfo: dict, place: str, built: bool) -> DataClasses:
    """Names of a metainfo, given in a config or ``built``."""

    def names(key: str) -> tuple[str, ...] | None:
        value = metainfo.get(key)
        return tuple(value) if isinstance(value, list | tuple) else None

    text = metainfo.get('classes')
    if not isinstance(text, str) or not built and (os.path.splitext(text)[1] or os.path.exists(text)):
        text = None  # the path of a file with the names, which only the built data set has read
    return DataClasses(place, names('classes'), names('thing_classes'), names('stuff_classes'), text)


def configured_data(dataset: dict, place: str, scope: str | None) -> Iterator[DataClasses]:
    """Classes of a data set that is not built yet: those of its class, overridden by its config's ``metainfo``."""
    for part, path in iter_datasets(dataset, place):
        kind = part.get('type')
        if isinstance(kind, str):
            name, kind = kind, DATASETS.get(kind if '.' in kind or not scope else f'{scope}.{kind}')
        else:
            name = getattr(kind, '__name__', str(kind))
        if hasattr(kind, 'set_dataset_classes') and part.get('dataset_version'):  # MMDetection's YouTubeVISDataset
            kind = type(kind.__name__, (kind,), {})
            kind.set_dataset_classes(part['dataset_version'])
        metainfo = {**(getattr(kind, 'METAINFO', None) or {}), **(part.get('metainfo') or {})}
        yield from_metainfo(metainfo, f'{path} ({name})', built=False)


def fill_classes(cfg: Config) -> None:
    """Give the head of a config the classes of its training data (or, without any, of its test data), where the head
    says nothing, or names the type of the data set whose own ``metainfo`` has other classes.

    Args:
        cfg: is changed; its framework has been imported.
    """
    model = cfg.get('model') or {}
    while isinstance(model.get('module'), dict):  # test-time augmentation
        model = model['module']
    heads = [model[name] for name in HEAD_NAMES if isinstance(model.get(name), dict)]
    loaders = [cfg[key] for key in ('train_dataloader', 'val_dataloader', 'test_dataloader') if cfg.get(key)]
    if len(heads) != 1 or not loaders or not str(heads[0].get('type', '')).startswith('m2f_mm.'):
        return
    (head,) = heads
    dataset, _ = next(iter_datasets(loaders[0]['dataset']))
    given = head.get('metainfo')
    counted = any(head.get(key) is not None for key in ('num_classes', 'num_things_classes', 'num_stuff_classes'))
    if given is None and counted or isinstance(given, dict):
        return
    own = {key.lower(): value for key, value in (dataset.get('metainfo') or {}).items()}
    if 'classes' in own and (given is None or given == dataset.get('type')):
        head['metainfo'] = dict(dataset['metainfo'])
    elif given is None and isinstance(dataset.get('type'), str):
        head['metainfo'] = dataset['type']


def check_class_counts(cfg: Config, parts: tuple[str, ...] = ('train', 'val', 'test')) -> None:
    """Compare the counts that a config gives its model with those of its data sets, before either is built.

    ``parts`` names the loaders that will be used: ``train`` for ``train_dataloader`` and so on. Raises ValueError
    naming both places and both values.
    """
    scope = cfg.get('default_scope')
    data = [
        item
        for part in parts
        if cfg.get(f'{part}_dataloader')
        for item in configured_data(cfg[f'{part}_dataloader']['dataset'], f'{part}_dataloader.dataset', scope)
    ]
    with DefaultScope.overwrite_default_scope(scope):
        heads = heads_of(cfg.model)
    require_agreement(heads, data)
