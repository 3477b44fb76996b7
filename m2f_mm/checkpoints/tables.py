"""The language of the tables that translate names of weights, and the function that applies a table in both directions.

A row is a pair of patterns, the source's name and ours, and optionally a ``Reordering`` of the values:

    ('res{i}.{j}.conv{k}.norm.{P}', 'layer{i-1}.{j}.bn{k}.{P}')

- ``{i}``, a lower-case letter: a number; also ``{i-1}``, ``{2*i}`` and ``{3-i}``;
- ``{P}``: a word, such as ``weight`` or ``running_mean``; ``{R}``: the rest of the name, dots included;
- ``#0``, ``#1``, ``#2`` behind our name: the source keeps queries, keys and values in three tensors, which are
  concatenated here.

Of several rows that fit, the first counts, in both directions: the name that the way back writes stands first.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

PART, PARTS = '#', 3  # queries, keys, values


class Reordering(NamedTuple):
    """What happens to the values of a tensor beside its new name."""

    to_ours: Callable[[Tensor], Tensor]
    to_theirs: Callable[[Tensor], Tensor]


Row = tuple[str, str] | tuple[str, str, Reordering]
Values = dict[str, str | int]  # of the places of a pattern in a name


class Pattern:
    """A name with places in braces, see the module's docstring."""

    # {i}, {i-1}, {2*i} or {3-i}: a factor, a letter and a constant
    INDEX = re.compile(r'(?:(\d+)\*)?([a-z])([+-]\d+)?|(\d+)-([a-z])')
    GROUPS = dict(P=r'(\w+)', R=r'(.+)')

    def __init__(self, text: str):
        *pieces, self.end = re.split(r'\{([^}]+)\}', text)
        self.places = list(zip(pieces[::2], pieces[1::2]))  # the text before each place, and the place
        regex = ''.join(re.escape(before) + self.GROUPS.get(place, r'(\d+)') for before, place in self.places)
        self.regex = re.compile(regex + re.escape(self.end))

    def read(self, name: str) -> Values | None:
        """The values of the places in a name, None for a name of another form."""
        match = self.regex.fullmatch(name)
        if match is None:
            return None
        values: Values = {}
        for (_, place), text in zip(self.places, match.groups()):
            if place in self.GROUPS:
                values[place] = text
                continue
            letter, factor, constant = self._index(place)
            values[letter], rest = divmod(int(text) - constant, factor)
            if rest or values[letter] < 0:
                return None
        return values

    def write(self, values: Values) -> str:
        """The name with these values."""
        text = ''
        for before, place in self.places:
            if place in self.GROUPS:
                text += f'{before}{values[place]}'
            else:
                letter, factor, constant = self._index(place)
                text += f'{before}{factor * values[letter] + constant}'
        return text + self.end

    def _index(self, place: str) -> tuple[str, int, int]:
        """Letter, factor and constant of an index."""
        factor, letter, constant, minuend, subtrahend = self.INDEX.fullmatch(place).groups()
        return (subtrahend, -1, int(minuend)) if subtrahend else (letter, int(factor or 1), int(constant or 0))


pattern = lru_cache(maxsize=None)(Pattern)


def below(theirs: str, ours: str, rows: Iterable[Row]) -> list[Row]:
    """The rows with a prefix before the source's names and one before ours."""
    return [(theirs + row[0], ours + row[1], *row[2:]) for row in rows]


def rename(keys: Iterable[str], rows: Sequence[Row], source: str, backwards: bool = False) -> dict[str, str]:
    """The other side's name of every key.

    Args:
        keys: names of weights.
        rows: of the table.
        source: what the error message calls the owner of the names.
        backwards: from our names to the source's.

    Raises:
        KeyError: names the keys that no row fits.
    """
    return {key: name for key, (name, _) in _matches(keys, rows, source, backwards).items()}


def translate_weights(
    state_dict: dict[str, Tensor], rows: Sequence[Row], source: str, backwards: bool = False
) -> dict[str, Tensor]:
    """Weights under the other side's names, in its order of values and its division into tensors.

    Args:
        state_dict: weights by name.
        rows: as for ``rename``.
        source: as for ``rename``.
        backwards: as for ``rename``.

    Raises:
        KeyError: names the weights that no row fits.
    """
    if backwards:
        state_dict = _split(state_dict, rows)
    whole: dict[str, Tensor] = {}
    parts: dict[str, dict[str, Tensor]] = {}
    for key, (name, reordering) in _matches(state_dict, rows, source, backwards).items():
        value = state_dict[key]
        if reordering is not None:
            value = (reordering.to_theirs if backwards else reordering.to_ours)(value)
        name, _, part = name.partition(PART)
        if part:
            parts.setdefault(name, {})[part] = value
        else:
            whole[name] = value
    return whole | {name: torch.cat([values[part] for part in sorted(values)]) for name, values in parts.items()}


def _split(state_dict: dict[str, Tensor], rows: Sequence[Row]) -> dict[str, Tensor]:
    """Our weights with those cut into parts that the source has as several tensors."""
    joined = [pattern(row[1].removesuffix(f'{PART}0')) for row in rows if row[1].endswith(f'{PART}0')]
    state = {}
    for name, value in state_dict.items():
        if any(one.read(name) for one in joined):
            state.update((f'{name}{PART}{number}', part) for number, part in enumerate(value.chunk(PARTS)))
        else:
            state[name] = value
    return state


def _matches(
    keys: Iterable[str], rows: Sequence[Row], source: str, backwards: bool
) -> dict[str, tuple[str, Reordering | None]]:
    """Name and reordering for every key."""
    table = [(pattern(row[backwards]), pattern(row[not backwards]), row[2] if len(row) > 2 else None) for row in rows]
    matches, unknown = {}, []
    for key in keys:
        for start, goal, reordering in table:
            values = start.read(key)
            if values is not None:
                matches[key] = goal.write(values), reordering
                break
        else:
            unknown.append(key)
    if unknown:
        raise KeyError(
            f'{len(unknown)} keys are not those of {source}: {", ".join(unknown[:8])}'
            f'{", ..." if len(unknown) > 8 else ""}. Check where the file comes from'
        )
    return matches


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


PATCH_MERGING = Reordering(reorder_patch_merging, restore_patch_merging)
