"""What is wrong with a data set: one form for every reader, so that training, evaluation and ``check_dataset`` agree.

A reader yields ``Fault``s. Training and evaluation call ``raise_faults``, which stops at those that are fatal and
warns once about the others; ``tools/check_dataset.py`` prints ``summary`` of all.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from mmengine.logging import print_log


class Fault(NamedTuple):
    """One record that is wrong.

    Args:
        kind: what kind of fault, in the same words for every record that has it; faults are counted by it.
        file: the file that is wrong: an annotation file, a label map or an image.
        record: where in the file: 'annotation 17 of image 3 (a.jpg)'; empty where it is the whole file.
        detail: the offending value, and what was expected.
        cure: how to mend it; the same for every record of the kind.
        fatal: whether training and evaluation refuse the data set. Otherwise the record is left out or taken as it is,
            as ``detail`` says, and one line tells so.
    """

    kind: str
    file: str
    record: str = ''
    detail: str = ''
    cure: str = ''
    fatal: bool = True

    def __str__(self) -> str:
        where = f'{self.file}: {self.record}' if self.record else self.file
        text = f'{where}: {self.detail or self.kind}'
        return with_cure(text, self.cure)


def with_cure(text: str, cure: str) -> str:
    """Two sentences, of which the second may be missing."""
    return f'{text}{"" if text.endswith("?") else "."} {cure}' if cure else text


def summary(faults: Iterable[Fault], examples: int = 3) -> list[str]:
    """A line for each kind of fault: how often, the first few records, and the cure."""
    kinds: dict[str, list[Fault]] = {}
    for fault in faults:
        kinds.setdefault(fault.kind, []).append(fault)
    return [_line(kind, found, examples) for kind, found in kinds.items()]


def _line(kind: str, faults: Sequence[Fault], examples: int) -> str:
    if len(faults) == 1:
        return str(faults[0])
    files = dict.fromkeys(fault.file for fault in faults)
    shown = []
    for fault in faults[:examples]:
        where = ': '.join(part for part in (fault.file if len(files) > 1 else '', fault.record) if part)
        shown.append(': '.join(part for part in (where, fault.detail) if part))
    more = f'; and {len(faults) - examples} more' if len(faults) > examples else ''
    place = f'{next(iter(files))}: ' if len(files) == 1 else ''
    return with_cure(f'{place}{kind}, {len(faults)} times: ' + '; '.join(filter(None, shown)) + more, faults[0].cure)


class FaultsError(ValueError):
    """A data set that is refused; ``faults`` are all that were found."""

    def __init__(self, faults: Sequence[Fault]):
        super().__init__('\n  '.join(summary(fault for fault in faults if fault.fatal)))
        self.faults = list(faults)


_collectors: list[list[Fault]] = []


@contextmanager
def collected_faults() -> Iterator[list[Fault]]:
    """A list to which ``raise_faults`` adds what is not fatal, instead of logging it."""
    _collectors.append([])
    try:
        yield _collectors[-1]
    finally:
        _collectors.pop()


def raise_faults(faults: Iterable[Fault]) -> None:
    """Stop at faults that are fatal, and say once what else is left out or odd.

    Raises:
        FaultsError: there are fatal ones; lists them by kind, with files, records, values and cures.
    """
    faults = list(faults)
    if any(fault.fatal for fault in faults):
        raise FaultsError(faults)
    if _collectors:
        _collectors[-1].extend(faults)
        return
    for line in summary(faults):
        print_log(line, logger='current', level=logging.WARNING)
