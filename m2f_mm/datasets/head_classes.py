"""The classes of a head, from a data set's metainfo or from numbers."""

from typing import NamedTuple

from mmengine.fileio import list_from_file

from m2f_mm.registry import DATASETS


class ClassCounts(NamedTuple):
    """What a head has to know of the classes: how many, which are things, and where published weights have them."""

    is_thing: list[bool]
    class_ids: tuple[int, ...] | None = None  # place of each in the published order; None where that is the same
    names: tuple[str, ...] | None = None  # None where only numbers are known

    @property
    def things(self) -> int:
        """Number of thing classes."""
        return sum(self.is_thing)

    @property
    def stuff(self) -> int:
        """Number of other classes."""
        return len(self.is_thing) - self.things


def class_counts(
    where: str,
    metainfo: dict | str | None = None,
    num_things: int | None = None,
    num_stuff: int | None = None,
    num_classes: int | None = None,
) -> ClassCounts:
    """From a data set's metainfo, or from numbers; from both only where they agree.

    Args:
        where: what the error message calls the owner of the options.
        metainfo: a dict with ``classes`` or ``thing_classes`` and ``stuff_classes``, or the type of a registered data
            set.
        num_things: MMDetection's number of thing classes, which come first.
        num_stuff: MMDetection's number of other classes.
        num_classes: MMSegmentation's number; everything is stuff.
    """
    counted = None
    if metainfo is not None:
        counted = _of_metainfo(where, metainfo)
    if num_classes is not None:
        numbers = [False] * num_classes
    elif num_things is not None or num_stuff is not None:
        numbers = [True] * (num_things or 0) + [False] * (num_stuff or 0)
    elif counted is not None:
        return counted
    else:
        raise ValueError(
            f'{where} does not know its classes: give it metainfo (the one of the data set, or its type) '
            'or the numbers (num_things_classes and num_stuff_classes, or num_classes)'
        )
    if counted is not None:
        same = len(counted.is_thing) == len(numbers) and (num_classes is not None or counted.things == sum(numbers))
        if not same:
            raise ValueError(
                f'{where}: the numbers say {sum(numbers)} things and {len(numbers) - sum(numbers)} other '
                f'classes, but its metainfo lists {counted.things} thing classes among '
                f'{len(counted.is_thing)}. Leave the numbers out'
            )
        return counted
    return ClassCounts(numbers)


def _of_metainfo(where: str, metainfo) -> ClassCounts:
    if isinstance(metainfo, str):
        with DATASETS.switch_scope_and_registry(None) as registry:  # the default scope, as for a data set itself
            dataset = registry.get(metainfo)
        if dataset is None:
            raise ValueError(f'{where}: metainfo={metainfo!r} names no registered data set')
        metainfo = dataset.METAINFO
    metainfo = {key.lower(): value for key, value in metainfo.items()}
    things, stuff = metainfo.get('thing_classes'), metainfo.get('stuff_classes')
    classes = metainfo.get('classes')
    if isinstance(classes, str):  # MMEngine reads a file of names here
        try:
            classes = list_from_file(classes)
        except OSError as error:
            raise ValueError(
                f'{where}: metainfo has classes={classes!r}, a text instead of a list, and no file '
                f'of names has that path. Write classes=({classes!r}, )'
            ) from error
    if classes is None:
        if things is None:
            raise ValueError(f'{where}: metainfo has neither classes nor thing_classes, only {sorted(metainfo)}')
        classes = tuple(things) + tuple(stuff or ())
    is_thing = [stuff is None or name not in stuff if things is None else name in things for name in classes]
    return ClassCounts(is_thing, metainfo.get('class_ids'), tuple(map(str, classes)))
