"""Old names, kept for one release: they work, and warn once."""

import sys
import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

_warned: set[str] = set()


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
