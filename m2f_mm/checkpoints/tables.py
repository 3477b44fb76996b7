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
        name = None if prefix is None else _translate(key[len(prefix):], tables[prefix][1])
        if name:
            mapped[key] = tables[prefix][0] + name
        else:
            unknown.append(key)
    if unknown:
        raise KeyError(f'{len(unknown)} keys are not those of {source}: {", ".join(unknown[:8])}'
                       f'{", ..." if len(unknown) > 8 else ""}. Check where the file comes from')
    return mapped


def _translate(key: str, rows: list[Row]) -> str | None:
    for pattern, name in rows:
        match = re.fullmatch(pattern, key)
        if match:
            return match.expand(name) if isinstance(name, str) else name(match)
    return None


def reorder_patch_merging(value: Tensor) -> Tensor:
    """Norm or reduction of Swin's patch merging, in the order of OpenMMLab.

    OpenMMLab unfolds, so its four sub-grids come channel-major and columns before rows; elsewhere they are
    concatenated, rows before columns.
    """
    groups = value.unflatten(-1, (4, -1))[..., torch.tensor([0, 2, 1, 3]), :]
    return groups.transpose(-1, -2).flatten(-2).contiguous()
