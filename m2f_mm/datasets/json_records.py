"""The values and records of a JSON of annotations, whose types are not known before they are looked at."""

from collections.abc import Iterator, Mapping
from math import isfinite
from numbers import Integral, Real
from typing import Any

from .faults import Fault

MEND = 'Correct the annotation, or take it out of the file'


def is_integer(value: Any) -> bool:
    """Whether it is a whole number; truth values are none."""
    return type(value) is int or isinstance(value, Integral) and not isinstance(value, bool)


def is_finite(value: Any) -> bool:
    """Whether it is a number that a double can hold; JSON's integers may be larger."""
    if type(value) is float:
        return isfinite(value)
    return isinstance(value, Real) and not isinstance(value, bool) and abs(value) < 1e300


def is_id(value: Any) -> bool:
    """COCO's ids are integers; ADE20K's JSON has text for images."""
    return type(value) is int or isinstance(value, str) or is_integer(value)


def shown(value: Any, limit: int = 80) -> str:
    """A value as Python writes it, cut where it is long."""
    if isinstance(value, list | tuple | str | bytes):
        value = value[:limit]  # a list of a million numbers would be written out first
    text = repr(value)
    return text if len(text) <= limit else f'{text[:limit]}...'


def records(content: Mapping, key: str, file: str, what: str) -> Iterator[tuple[dict, str] | Fault]:
    """The records of a list, each with its name for messages; a fault for what is no record."""
    for number, record in enumerate(content[key]):
        if isinstance(record, dict):
            yield record, what_of(record, what, number)
        else:
            yield Fault(
                f'entries of {key} that are no records',
                file,
                f'{key}[{number}]',
                f'it is {shown(record)}, not a JSON object',
                MEND,
            )


def what_of(record: Mapping, what: str, number: int) -> str:
    """How a message calls a record: by its id, else by its place in the list."""
    key = record.get('id')
    return f'{what} {key}' if is_id(key) else f'{what} number {number} of the list'
