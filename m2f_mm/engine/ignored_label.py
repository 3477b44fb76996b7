"""The label that is ignored is said once, by the head: data sets, padding, preprocessor and metric follow it."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

from mmengine.logging import print_log

from m2f_mm.datasets.id_map import IGNORE
from m2f_mm.datasets.label_maps import default_ignore_index, label_loader
from m2f_mm.datasets.pipelines import placed_transforms
from m2f_mm.datasets.wrappers import iter_datasets
from m2f_mm.heads import read

from .class_counts import counts_of


class Setting(NamedTuple):
    """A place where an ignored label is said."""

    place: str
    value: int | None
    change: Callable[[int], None]  # to another value


def is_semantic(dataset: Any) -> bool:
    """Whether a data set has label maps, as those of MMSegmentation."""
    return hasattr(dataset, 'reduce_zero_label') and hasattr(dataset, 'ignore_index')


def ignored_of_heads(model: Any) -> Iterator[tuple[Setting, int]]:
    """Ignored label and number of classes of the heads of a segmentor or of its config, the decode head first."""
    model = read(model, 'module') or model  # of DDP, then of test-time augmentation
    model = read(model, 'module') or model
    for slot in ('decode_head', 'auxiliary_head'):
        heads = read(model, slot)
        several = isinstance(heads, list | tuple) or type(heads).__name__ == 'ModuleList'
        for index, head in enumerate(heads if several else [heads]):
            place = f'model.{slot}{f"[{index}]" if several else ""}'
            num_classes = None if head is None else counts_of(head, place)[0]
            if isinstance(num_classes, int):
                ignored = read(head, 'ignore_index')
                if ignored is None:
                    ignored = default_ignore_index(num_classes)
                yield Setting(f'{place}.ignore_index', ignored, partial(setattr, head, 'ignore_index')), num_classes


def paddings(steps: Any, place: str) -> Iterator[Setting]:
    """What the steps of a built pipeline fill label maps with, or leave out."""
    for step, here in placed_transforms(steps, place):
        fill = getattr(step, 'pad_val', None)
        if isinstance(fill, dict) and isinstance(fill.get('seg'), int):
            yield Setting(f"{here}.pad_val['seg']", fill['seg'], partial(_set_fill, step))
        for key in ('seg_pad_val', 'ignore_index'):
            if isinstance(getattr(step, key, None), int):
                yield Setting(f'{here}.{key}', getattr(step, key), partial(setattr, step, key))


def _set_fill(step: Any, value: int) -> None:
    step.pad_val = {**step.pad_val, 'seg': value}  # the dict may be the config's


def use_one_ignored_label(
    model: Any, dataset: Any, place: str, metrics: Sequence[Any] = (), training: bool = False
) -> None:
    """Let data set, metrics and padding ignore the label that the decode head ignores.

    Those that say nothing else, that is, the default 255, follow the head; it is logged.

    Args:
        model: built, also inside wrappers, or its config.
        dataset: built, also inside wrappers; its values change in place.
        place: what messages call the data set.
        metrics: of the evaluator.
        training: whether label maps are padded, which they are in training only.

    Raises:
        ValueError: one of them says a label that is neither 255 nor the head's, or label maps are loaded with 8 bits
            where it needs 16; all places and values are named.
    """
    heads = list(ignored_of_heads(model))
    parts = [(part, where) for part, where in iter_datasets(dataset, place) if is_semantic(part)]
    if not heads or not parts:
        return
    (first, ignored, _), num_classes = heads[0]
    settings = [setting for setting, _ in heads[1:]]
    for part, where in parts:
        settings.append(Setting(f'{where}.ignore_index', part.ignore_index, partial(setattr, part, 'ignore_index')))
        if training:
            settings += paddings(part.pipeline, f'{where}.pipeline')
            if ignored > IGNORE and label_loader(part.pipeline) == 'LoadAnnotations':
                raise ValueError(
                    f'{first} = {ignored} needs 16 bits, of which the LoadAnnotations of {where}.pipeline '
                    "keeps 8. Load label maps with dict(type='m2f_mm.LoadLabelMap')"
                )
    settings += [
        Setting(f'{type(metric).__name__}.ignore_index', metric.ignore_index, partial(setattr, metric, 'ignore_index'))
        for metric in metrics
        if hasattr(metric, 'ignore_index')
    ]
    preprocessor = read(read(model, 'module') or model, 'data_preprocessor')
    if training and isinstance(read(preprocessor, 'seg_pad_val'), int):
        settings.append(
            Setting(
                'model.data_preprocessor.seg_pad_val',
                preprocessor.seg_pad_val,
                partial(setattr, preprocessor, 'seg_pad_val'),
            )
        )
    others = [setting for setting in settings if setting.value != ignored]
    if {setting.value for setting in others} - {None, IGNORE} or 0 <= ignored < num_classes:
        lines = [
            f'{where} = {value}' + (', which is a class' if 0 <= value < num_classes else '')
            for where, value, _ in [heads[0][0], *settings]
            if value is not None
        ]
        raise ValueError(
            'Not one label is ignored, but several:\n  ' + '\n  '.join(lines) + f'\nSet {first} to the '
            'value of the label maps that stands for no class; what is not set elsewhere follows it'
        )
    for setting in others:
        setting.change(ignored)
    others = [setting for setting in others if setting.value is not None]
    if others:
        print_log(
            f'The label {ignored} is ignored, as {first} says; so it is in '
            f'{", ".join(setting.place for setting in others)}',
            'current',
        )
