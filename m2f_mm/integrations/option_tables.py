"""The engine that reads options of configs by tables: what each is called here, or which values it may have.

A table maps the path of an option, with dots between nested dicts, to an entry:

- a name, the constructor argument that gets the value; several paths may have one name and must agree then;
- ``Renamed(name, default)``: the same, with the value that the stock module has where its config says nothing;
- ``Old(name)``: an old name of the option, which works and warns once;
- ``Only(values)``: nothing else is computed here, so any other value is an error;
- ``ANY``: accepted without effect, as the value follows from other options or changes no result;
- ``Value(default, ...)``: kept under its own name, checked, with a default.
"""

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, NamedTuple

from m2f_mm.deprecation import warn_renamed

ABSENT = object()  # no default: an option that is not given is left out
ANY = object()


class Renamed(NamedTuple):
    """The argument ``name``.

    Args:
        name: of the argument.
        default: its value where a config has the stock dict two levels above, such as ``layer_cfg``, but says it
            neither here nor under its name.
        unless: path of another option that says the same; with it there is no default.
    """

    name: str
    default: Any = ABSENT
    unless: str = ''


class Old(NamedTuple):
    """An old name of the option ``name``."""

    name: str


class Only:
    """The values that an option may have."""

    def __init__(self, *values: Any):
        self.values = values


class Value(NamedTuple):
    """An option that is checked.

    Args:
        default: its value where the config says nothing.
        valid: whether a value is possible.
        expected: which values are, for error messages and the documentation.
        meaning: for the documentation.
        no_effect_with: name and value of another option; with it only the default is possible.
    """

    default: Any
    valid: Callable[[Any], bool]
    expected: str
    meaning: str
    no_effect_with: tuple[str, Any] | None = None


Table = Mapping[str, Any]  # path to entry


def switch(default: Any, meaning: str) -> Value:
    """True or False."""
    return Value(default, lambda value: isinstance(value, Integral) and value in (0, 1), 'True or False', meaning)


def share(default: Any, meaning: str) -> Value:
    """A number in 0..1."""
    return Value(default, lambda value: isinstance(value, Real) and 0 <= float(value) <= 1, 'a number in 0..1', meaning)


def number(default: Any, meaning: str, least: float, included: bool = True, none: bool = False) -> Value:
    """A number from ``least``, which may be included; or None."""

    def valid(value: Any) -> bool:
        if value is None:
            return none
        return isinstance(value, Real) and (float(value) > least or included and float(value) == least)

    expected = f'a number {"from" if included else "above"} {least}' + ' or None' * none
    return Value(default, valid, expected, meaning)


def count(default: Any, meaning: str, least: int = 1, none: bool = False) -> Value:
    """A whole number from ``least``, or None."""

    def valid(value: Any) -> bool:
        if value is None:
            return none
        return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least

    return Value(default, valid, f'a whole number from {least}' + ' or None' * none, meaning)


def choice(*values: Any, meaning: str) -> Value:
    """One of ``values``; the first is the default."""
    return Value(values[0], lambda value: value in values, ' or '.join(map(repr, values)), meaning)


def pair(meaning: str) -> Value:
    """Height and width, or None, the default."""

    def valid(value: Any) -> bool:
        return value is None or (
            isinstance(value, Sequence)
            and len(value) == 2
            and all(isinstance(side, Integral) and int(side) > 0 for side in value)
        )

    return Value(None, valid, 'two whole numbers from 1, height and width', meaning)


def nested(path: str, table: Table) -> dict[str, Any]:
    """The table of the options below ``path``."""
    return {f'{path}.{key}': entry for key, entry in table.items()}


def translate(where: str, cfg: Mapping[str, Any] | None, table: Table) -> dict[str, Any]:
    """The options of a config under our names.

    Args:
        where: the owner of the options, for error messages.
        cfg: as the config has it.
        table: see the module.

    Raises:
        ValueError: an option is not in the table, has a value that it cannot have, or contradicts another one; names
            the option, and the nearest known one or the possible values.
    """
    given = dict(_flatten(cfg or {}, table))
    for path, entry in table.items():
        if isinstance(entry, Renamed) and entry.default is not ABSENT:
            said = any(option in given for option in (path, entry.name, entry.unless))
            if not said and _has_dict(cfg or {}, path.split('.')[:-2]):
                given[path] = entry.default
    options = {path: entry.default for path, entry in table.items() if isinstance(entry, Value)}
    options = {path: default for path, default in options.items() if default is not ABSENT}
    origins: dict[str, str] = {}
    for path, value in given.items():
        owner, _, key = f'{where}.{path}'.rpartition('.')
        entry = table.get(path)
        if entry is None:
            raise _unknown(owner, path, value, table)
        if entry is ANY:
            continue
        if isinstance(entry, Only):
            if (class_name(value) if key == 'type' else value) not in entry.values:
                raise ValueError(
                    f'{owner}: {key}={value!r} is not supported, only {" or ".join(map(repr, entry.values))}'
                )
            continue
        name = path if isinstance(entry, Value) else str(getattr(entry, 'name', entry))
        if isinstance(entry, Old):
            warn_renamed(f'{owner}: {key}', name)
            entry = table.get(name, entry)
        if isinstance(entry, Value) and not entry.valid(value):
            raise ValueError(f'{owner}: {key}={value!r}: must be {entry.expected}, got {value!r}')
        if name in origins and options[name] != value:
            other, _, other_key = f'{where}.{origins[name]}'.rpartition('.')
            raise ValueError(
                f'{other}: {other_key}={options[name]!r}, but {owner}: {key}={value!r}; these must be the same'
            )
        options[name], origins[name] = value, path
    for name, value in options.items():
        entry = table.get(name)
        if isinstance(entry, Value) and entry.no_effect_with is not None and value != entry.default:
            other, useless = entry.no_effect_with
            if options[other] == useless:
                raise no_effect(where, name, value, f'{other}={useless!r}', entry.default)
    return options


def no_effect(where: str, name: str, value: Any, cause: str, default: Any) -> ValueError:
    """The error for an option that nothing would read because of another one."""
    return ValueError(f'{where}: {name}={value!r} has no effect with {cause}; leave it out, or at {default!r}')


def _has_dict(cfg: Mapping[str, Any], keys: Sequence[str]) -> bool:
    """Whether there is a dict at the path ``keys``; an empty path is the config itself."""
    value: Any = cfg
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return isinstance(value, Mapping)


def _flatten(cfg: Mapping[str, Any], table: Table, prefix: str = '') -> Iterator[tuple[str, Any]]:
    """Paths and values; a dict is one value where the table has no options below it."""
    for key, value in cfg.items():
        path = f'{prefix}{key}'
        if isinstance(value, Mapping) and any(known.startswith(f'{path}.') for known in table):
            yield from _flatten(value, table, f'{path}.')
        else:
            yield path, value


def _unknown(owner: str, path: str, value: Any, table: Table) -> ValueError:
    prefix, _, key = path.rpartition('.')
    prefix = f'{prefix}.' if prefix else ''
    below = {known.removeprefix(prefix): entry for known, entry in table.items() if known.startswith(prefix)}
    known = list(dict.fromkeys(name.split('.')[0] for name, entry in below.items() if not isinstance(entry, Old)))
    if key in known:
        inside = [name.removeprefix(f'{key}.') for name in below if name.startswith(f'{key}.')]
        return ValueError(f'{owner}: {key}={value!r} is not supported, only a dict of {", ".join(inside)}')
    return unknown_option(owner, key, value, known)


def unknown_option(where: str, key: str, value: Any, known: Iterable[str]) -> ValueError:
    """The error for an option that nothing reads; names the nearest one that there is."""
    known = list(known)
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    hint = f'; did you mean {near[0]}?' if near else f'; known are {", ".join(known)}' if known else ''
    return ValueError(f'{where}: unknown option {key}={value!r}{hint}')


def translate_by_type(
    where: str, cfg: Mapping[str, Any] | None, tables: Mapping[str, Table], default: str
) -> tuple[str, dict[str, Any]]:
    """The options of a config whose ``type`` says which table it has.

    Returns:
        The type, without its scope, and the options under our names.

    Raises:
        ValueError: there is no table for the type, or see ``translate``.
    """
    options = dict(cfg or {})
    kind = options.pop('type', default)
    if class_name(kind) not in tables:
        raise ValueError(f'{where}: type={class_name(kind)!r} is not supported, only {" or ".join(map(repr, tables))}')
    return class_name(kind), translate(where, options, tables[class_name(kind)])


def class_name(kind: str | type) -> str:
    """The name of a registered class, without its scope."""
    return kind.split('.')[-1] if isinstance(kind, str) else getattr(kind, '__name__', repr(kind))
