"""Old names, kept for one release: they work, and warn once."""

import functools
import sys
import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, TypeVar

_warned: set[str] = set()
Returned = TypeVar('Returned')


def warn_renamed(old: str, new: str) -> None:
    """Say once in a process that ``old`` is called ``new`` now."""
    if old not in _warned:
        _warned.add(old)
        warnings.warn(f'{old} is deprecated and will go in the next release: use {new}', FutureWarning, stacklevel=3)


def renamed_attributes(module: str, names: Mapping[str, str]) -> Callable[[str], Any]:
    """A module's ``__getattr__`` that answers to old names of functions and classes.

    Args:
        module: ``__name__`` of the module that had them.
        names: old name to new one, with its module where that is another: ``m2f_mm.mask_ops.dot``.
    """

    def __getattr__(name: str) -> Any:
        if name not in names:
            raise AttributeError(f'module {module!r} has no attribute {name!r}')
        place, _, new = names[name].rpartition('.')
        warn_renamed(f'{module}.{name}', f'{place or module}.{new}')
        return getattr(import_module(place) if place else sys.modules[module], new)

    return __getattr__


def rename_option(where: str, options: dict[str, Any], old: str, new: str) -> None:
    """Move the value of an option that has been renamed to its new name, in place.

    Raises:
        ValueError: both names are given.
    """
    if old not in options:
        return
    if new in options:
        raise ValueError(f'{where}: {old} is the old name of {new}; give only {new}')
    warn_renamed(f'{where}: {old}', new)
    options[new] = options.pop(old)


def renamed_arguments(**names: str) -> Callable[[Callable[..., Returned]], Callable[..., Returned]]:
    """A decorator of functions and constructors whose keyword arguments go by their old names, too.

    Args:
        **names: old name to new one.
    """

    def decorate(function: Callable[..., Returned]) -> Callable[..., Returned]:
        where = function.__qualname__.removesuffix('.__init__')

        @functools.wraps(function)
        def with_old_names(*args: Any, **kwargs: Any) -> Returned:
            for old, new in names.items():
                rename_option(where, kwargs, old, new)
            return function(*args, **kwargs)

        return with_old_names

    return decorate


def renamed_value(where: str, value: Any, names: Mapping[str, str]) -> Any:
    """The new name of a value of an option, which warns, or the value itself."""
    if not isinstance(value, str) or value not in names:
        return value
    warn_renamed(f'{where}={value!r}', repr(names[value]))
    return names[value]
