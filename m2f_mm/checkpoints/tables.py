"""Tables that translate the names of weights, and what the tables of all sources share."""

import re
from collections.abc import Callable, Iterable
from re import Match

import torch
from torch import Tensor

Row = tuple[str, str | Callable[[Match], str]]  # pattern of a whole key behind its prefix; our name, or how to make it


def translate_keys(keys: Iterable[str], tables: dict[str, tuple[str, list[Row]]], source: str) -> dict[str, str]:
    """Every key to our name, by the first row that matches behind the first prefix that fits.

    Args:
        keys: of a checkpoint, without those that nothing here needs.
        tables: the source's prefix to our prefix and the rows for what follows.
        source: what the error message calls the source.

    Raises:
        KeyError: names the keys that no row knows.
    """
    mapped, unknown = {}, []
    for key in keys:
        prefix = next((prefix for prefix in tables if key.startswith(prefix)), None)
        name = None if prefix is None else _translate(key[len(prefix) :], tables[prefix][1])
        if name:
            mapped[key] = tables[prefix][0] + name
        else:
            unknown.append(key)
    _require_all(unknown, source)
    return mapped


def _translate(key: str, rows: list[Row]) -> str | None:
    for pattern, name in rows:
        match = re.fullmatch(pattern, key)
        if match:
            return match.expand(name) if isinstance(name, str) else name(match)
    return None


# An index in a template, such as {i}, {i-1}, {2*i} or {3-i}: a factor, a letter and a constant.
_INDEX = re.compile(r'(?:(\d+)\*)?([a-z])([+-]\d+)?|(\d+)-([a-z])')
_PLACE = re.compile(r'\{([^}]+)\}')


class Template:
    """A name with places in braces: indices (lower case, see ``_INDEX``), ``{P}`` for a word, ``{R}`` for the rest."""

    def __init__(self, text: str):
        *pieces, self.end = re.split(_PLACE, text)
        self.parts = list(zip(pieces[::2], pieces[1::2]))  # what stands before each place, and the place
        pattern = ''.join(re.escape(before) + self._group(place) for before, place in self.parts)
        self.pattern = re.compile(pattern + re.escape(self.end))

    @staticmethod
    def _group(place: str) -> str:
        return {'P': r'(\w+)', 'R': r'(.+)'}.get(place, r'(\d+)')

    @staticmethod
    def _line(place: str) -> tuple[str, int, int]:
        """Letter, factor and constant of an index."""
        factor, letter, constant, minuend, subtrahend = _INDEX.fullmatch(place).groups()
        if subtrahend:
            return subtrahend, -1, int(minuend)
        return letter, int(factor or 1), int(constant or 0)

    def read(self, name: str) -> dict[str, str | int] | None:
        """The values of the places in a name, None for a name of another form."""
        match = self.pattern.fullmatch(name)
        if match is None:
            return None
        values: dict[str, str | int] = {}
        for (_, place), text in zip(self.parts, match.groups()):
            if place in 'PR':
                values[place] = text
                continue
            letter, factor, constant = self._line(place)
            values[letter], rest = divmod(int(text) - constant, factor)
            if rest or values[letter] < 0:
                return None
        return values

    def write(self, values: dict[str, str | int]) -> str:
        """The name with these values."""
        text = ''
        for before, place in self.parts:
            if place in 'PR':
                text += f'{before}{values[place]}'
            else:
                letter, factor, constant = self._line(place)
                text += f'{before}{factor * values[letter] + constant}'
        return text + self.end


def translate_templates(
    keys: Iterable[str], tables: dict[str, tuple[str, list[tuple[str, str]]]], source: str, backwards: bool = False
) -> dict[str, str]:
    """Every key by the first pair of templates that fits behind the first prefix that fits.

    Args:
        keys: of a checkpoint, without those that nothing here needs.
        tables: the source's prefix to our prefix and the pairs, theirs and ours, of what follows.
        source: what the error message calls the source.
        backwards: from our names to the source's.

    Raises:
        KeyError: names the keys that no pair knows.
    """
    compiled = {}
    for theirs, (ours, pairs) in tables.items():
        start, goal = (ours, theirs) if backwards else (theirs, ours)
        compiled[start] = goal, [tuple(map(Template, pair[::-1] if backwards else pair)) for pair in pairs]
    mapped, unknown = {}, []
    for key in keys:
        prefix = next((prefix for prefix in compiled if key.startswith(prefix)), None)
        name = None if prefix is None else _rewritten(key[len(prefix) :], compiled[prefix][1])
        if name is None:
            unknown.append(key)
        else:
            mapped[key] = compiled[prefix][0] + name
    _require_all(unknown, source)
    return mapped


def _rewritten(name: str, pairs: list[tuple[Template, Template]]) -> str | None:
    for template, target in pairs:
        values = template.read(name)
        if values is not None:
            return target.write(values)
    return None


def _require_all(unknown: list[str], source: str) -> None:
    if unknown:
        raise KeyError(
            f'{len(unknown)} keys are not those of {source}: {", ".join(unknown[:8])}'
            f'{", ..." if len(unknown) > 8 else ""}. Check where the file comes from'
        )


def reorder_patch_merging(value: Tensor) -> Tensor:
    """Norm or reduction of Swin's patch merging, in the order of OpenMMLab.

    OpenMMLab unfolds, so its four sub-grids come channel-major and columns before rows; elsewhere they are
    concatenated, rows before columns.
    """
    groups = value.unflatten(-1, (4, -1))[..., torch.tensor([0, 2, 1, 3]), :]
    return groups.transpose(-1, -2).flatten(-2).contiguous()


def restore_patch_merging(value: Tensor) -> Tensor:
    """The inverse of ``reorder_patch_merging``."""
    groups = value.unflatten(-1, (-1, 4)).transpose(-1, -2)[..., torch.tensor([0, 2, 1, 3]), :]
    return groups.flatten(-2).contiguous()
