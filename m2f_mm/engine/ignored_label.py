"""Do model, data, metric and padding agree on the label that is ignored? It is said in several places."""
from collections.abc import Iterator, Sequence
from typing import Any

from m2f_mm.datasets.id_map import IGNORE

from .class_counts import read


def leaves(dataset: Any, place: str) -> Iterator[tuple[Any, str]]:
    """The data sets inside of wrappers, each with its place."""
    inner = getattr(dataset, 'datasets', None)
    if inner is None and hasattr(dataset, 'dataset'):
        inner = [dataset.dataset]
    if not inner:
        yield dataset, place
        return
    for index, part in enumerate(inner):
        yield from leaves(part, f'{place}.datasets[{index}]' if len(inner) > 1 else f'{place}.dataset')


def is_semantic(dataset: Any) -> bool:
    """Whether a data set has label maps, as those of MMSegmentation."""
    return hasattr(dataset, 'reduce_zero_label') and hasattr(dataset, 'ignore_index')


def ignored_of_heads(model: Any) -> Iterator[tuple[str, int, int]]:
    """Place, ignored label and number of classes of the decode heads of a built model."""
    model = getattr(model, 'module', model)  # of DDP, then of test-time augmentation
    model = getattr(model, 'module', model)
    heads = read(model, 'decode_head')
    several = isinstance(heads, list | tuple) or type(heads).__name__ == 'ModuleList'
    for index, head in enumerate(heads if several else [heads]):
        ignored, num_classes = (getattr(head, key, None) for key in ('ignore_index', 'num_classes'))
        if isinstance(ignored, int) and isinstance(num_classes, int):
            yield f'model.decode_head{f"[{index}]" if several else ""}.ignore_index', ignored, num_classes


def paddings(steps: Any, place: str) -> Iterator[tuple[str, int]]:
    """What the steps of a built pipeline fill label maps with, or leave out."""
    for index, step in enumerate(getattr(steps, 'transforms', steps) or ()):
        here = f'{place}[{index}] ({type(step).__name__})'
        if isinstance(step, list | tuple) or hasattr(step, 'transforms'):
            yield from paddings(step, here)
        fill = getattr(step, 'pad_val', None)
        if isinstance(fill, dict) and isinstance(fill.get('seg'), int):
            yield f"{here}.pad_val['seg']", fill['seg']
        for key in ('seg_pad_val', 'ignore_index'):
            if isinstance(getattr(step, key, None), int) and getattr(step, 'cat_max_ratio', 0) < 1:
                yield f'{here}.{key}', getattr(step, key)


def require_one_ignored_label(model: Any, dataset: Any, place: str, metrics: Sequence[Any] = (),
                              training: bool = False) -> None:
    """Raise ValueError, naming all places and values, where segmentor, data, metrics and padding ignore other labels.

    Args:
        model: built, also inside wrappers.
        dataset: built, also inside wrappers.
        place: what messages call the data set.
        metrics: of the evaluator.
        training: whether label maps are padded, which they are in training only.
    """
    heads = list(ignored_of_heads(model))
    parts = [(part, where) for part, where in leaves(dataset, place) if is_semantic(part)]
    if not heads or not parts:
        return
    num_classes = heads[0][2]
    found = [(where, ignored) for where, ignored, _ in heads]
    for part, where in parts:
        if not part.ignore_index == IGNORE < num_classes:  # the stock default, which says nothing where it is a class
            found.append((f'{where}.ignore_index', part.ignore_index))
        if training:
            found += paddings(part.pipeline, f'{where}.pipeline')
    for metric in metrics:
        if isinstance(getattr(metric, 'ignore_index', None), int):
            found.append((f'{type(metric).__name__}.ignore_index', metric.ignore_index))
    inner = getattr(model, 'module', model)
    fill = getattr(getattr(inner, 'data_preprocessor', None), 'seg_pad_val', None)
    if training and isinstance(fill, int):
        found.append(('model.data_preprocessor.seg_pad_val', fill))
    if len({ignored for _, ignored in found}) > 1:
        lines = [f'{where} = {ignored}' + (', which is a class' if 0 <= ignored < num_classes else '')
                 for where, ignored in found]
        raise ValueError('Not one label is ignored, but several:\n  ' + '\n  '.join(lines) + '\nSet all of them to the '
                         'value of the label maps that stands for no class')
