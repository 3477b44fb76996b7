"""Images in overlapping tiles, and the results of the tiles joined to one.

A tile owns the part of the image that lies nearer to its centre than to those of its neighbours. Objects of one class
in two tiles are one object where their masks agree in the pixels that both tiles have. Shapes: H x W the image.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from pycocotools import mask as coco_masks

from m2f_mm.boxes import box_of_mask
from m2f_mm.datasets.label_maps import default_ignore_index

from .results import Result, ResultSegment

SAME_OBJECT = 0.5  # share of the smaller mask, in the pixels that two tiles have, that the other must cover


class Tile(NamedTuple):
    """A part of an image: what is predicted, and what it owns, as slices of rows and columns."""

    rows: slice
    columns: slice
    own_rows: slice
    own_columns: slice


def image_tiles(tile: int | tuple[int, int], overlap: float = 0.2) -> Callable[[int, int], list[Tile]]:
    """A function that cuts images of any size (height, width) into tiles; images that fit into one give none.

    Args:
        tile: height and width in pixels, or one number for both.
        overlap: share of a tile that its neighbour has, too, at least.

    Raises:
        ValueError: the tile has no pixel, or the overlap is not in 0..0.9.
    """
    height, width = (tile, tile) if isinstance(tile, int) else tuple(tile)
    if min(height, width) < 16:
        raise ValueError(f'tile={tile!r}: take a height and width of at least 16 pixels')
    if not 0 <= overlap <= 0.9:
        raise ValueError(f'overlap={overlap!r} is a share of a tile: take a number in 0..0.9')

    def cut(image_height: int, image_width: int) -> list[Tile]:
        rows, columns = _parts(image_height, height, overlap), _parts(image_width, width, overlap)
        if len(rows) * len(columns) == 1:
            return []
        return [Tile(row, column, own_row, own_column) for row, own_row in rows for column, own_column in columns]

    return cut


def _parts(length: int, size: int, overlap: float) -> list[tuple[slice, slice]]:
    """Evenly spread parts of a side, each with what it owns."""
    if length <= size:
        return [(slice(0, length), slice(0, length))]
    number = 1 + int(np.ceil((length - size) / max(size * (1 - overlap), 1)))
    starts = np.linspace(0, length - size, number).round().astype(int).tolist()
    borders = [0, *((left + size + right) // 2 for left, right in zip(starts, starts[1:])), length]
    return [(slice(start, start + size), slice(*own)) for start, own in zip(starts, zip(borders, borders[1:]))]


def merge_tiles(parts: Sequence[Result], tiles: Sequence[Tile], image: np.ndarray) -> Result:
    """The result of an image from those of its tiles.

    Args:
        parts: of the tiles, of one kind.
        tiles: where they lie.
        image: RGB uint8 (H, W, 3).
    """
    first = parts[0]
    whole = Result(first.name, image, first.kind, [], first.classes, first.path, palette=first.palette)
    if first.kind == 'semantic':
        whole.semantic = np.full(whole.size, 0, first.semantic.dtype)
        for part, tile in zip(parts, tiles):
            whole.semantic[tile.own_rows, tile.own_columns] = _owned(part.semantic, tile)
        things = {segment.label: segment.is_thing for part in parts for segment in part}
        whole.add_classes(None if None in things.values() else things)
        return whole
    groups = _same_objects(parts, tiles)
    if first.kind == 'panoptic':
        _merge_panoptic(whole, parts, tiles, groups)
    else:
        _merge_instances(whole, parts, tiles, groups)
    return whole


def _owned(pixels: np.ndarray, tile: Tile) -> np.ndarray:
    """Of a map of a tile the part that the tile owns."""
    top, left = tile.own_rows.start - tile.rows.start, tile.own_columns.start - tile.columns.start
    height, width = (own.stop - own.start for own in (tile.own_rows, tile.own_columns))
    return pixels[top : top + height, left : left + width]


def _same_objects(parts: Sequence[Result], tiles: Sequence[Tile]) -> list[list[tuple[int, int]]]:
    """Segments (part, place in it) that are one, best score first."""
    keys = [(p, s) for p, part in enumerate(parts) for s in range(len(part))]
    parent = {key: key for key in keys}

    def root(key: tuple[int, int]) -> tuple[int, int]:
        while parent[key] != key:
            key = parent[key]
        return key

    for a, tile in enumerate(tiles):
        for b in range(a + 1, len(tiles)):
            shared = _shared(tile, tiles[b])
            if shared is None:
                continue
            ours, theirs = (_inside(parts[p], tiles[p], *shared) for p in (a, b))
            for i, mask in ours:
                for j, other in theirs:
                    if parts[a].segments[i].label == parts[b].segments[j].label and _agree(mask, other):
                        parent[root((b, j))] = root((a, i))
    if parts[0].kind == 'panoptic':  # a class of stuff is one segment
        stuff: dict[int, tuple[int, int]] = {}
        for key in keys:
            segment = parts[key[0]].segments[key[1]]
            if segment.is_thing is False:
                parent[root(key)] = root(stuff.setdefault(segment.label, key))
    groups: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for key in keys:
        groups.setdefault(root(key), []).append(key)

    def best(group: list[tuple[int, int]]) -> float:
        return -max(parts[p].segments[s].score or 0 for p, s in group)

    return sorted(groups.values(), key=best)


def _shared(a: Tile, b: Tile) -> tuple[slice, slice] | None:
    """Rows and columns that two tiles have; None where there are none."""
    sides = []
    for one, other in ((a.rows, b.rows), (a.columns, b.columns)):
        start, stop = max(one.start, other.start), min(one.stop, other.stop)
        if start >= stop:
            return None
        sides.append(slice(start, stop))
    return sides[0], sides[1]


def _inside(part: Result, tile: Tile, rows: slice, columns: slice) -> list[tuple[int, np.ndarray]]:
    """Segments that have pixels, or of boxes an area, in a region, with their masks there."""
    top, left = rows.start - tile.rows.start, columns.start - tile.columns.start
    height, width = rows.stop - rows.start, columns.stop - columns.start
    inside = []
    for index, segment in enumerate(part):
        x0, y0, x1, y1 = segment.box
        if x1 <= left or y1 <= top or x0 >= left + width or y0 >= top + height:
            continue
        if segment.has_mask:
            mask = segment.mask[top : top + height, left : left + width]
        else:
            mask = np.zeros((height, width), bool)
            x0, y0, x1, y1 = (round(float(side)) for side in segment.box)
            mask[max(y0 - top, 0) : max(y1 - top, 0), max(x0 - left, 0) : max(x1 - left, 0)] = True
        if mask.any():
            inside.append((index, mask))
    return inside


def _agree(a: np.ndarray, b: np.ndarray) -> bool:
    return (a & b).sum() >= SAME_OBJECT * min(a.sum(), b.sum())


def _merge_panoptic(
    whole: Result, parts: Sequence[Result], tiles: Sequence[Tile], groups: Sequence[Sequence[tuple[int, int]]]
) -> None:
    whole.panoptic = np.zeros(whole.size, np.int32)
    lookups = [np.zeros(max((segment.id for segment in part), default=0) + 1, np.int32) for part in parts]
    for number, group in enumerate(groups, 1):
        for p, s in group:
            lookups[p][parts[p].segments[s].id] = number
    for part, tile, lookup in zip(parts, tiles, lookups):
        whole.panoptic[tile.own_rows, tile.own_columns] = lookup[_owned(part.panoptic, tile)]
    void = default_ignore_index(len(whole.classes))
    labels = np.full(len(groups) + 1, void, parts[0].semantic.dtype)
    present = set(np.unique(whole.panoptic).tolist())
    for number, group in enumerate(groups, 1):
        members = [parts[p].segments[s] for p, s in group]
        labels[number] = members[0].label
        if number in present:  # otherwise all of it lay where other tiles own the pixels
            box = box_of_mask(whole.panoptic == number)
            whole.segments.append(
                replace(
                    members[0],
                    score=_score(members),
                    id=number,
                    box=box,
                    size=whole.size,
                    ids=whole.panoptic,
                    value=number,
                )
            )
    whole.semantic = labels[whole.panoptic]


def _score(members: Sequence[ResultSegment]) -> float | None:
    """Of the parts, weighted by their areas; the best where there are no areas."""
    scores = [(segment.score, segment.area) for segment in members if segment.score is not None]
    total = sum(area for _, area in scores)
    if not scores:
        return None
    return sum(score * area for score, area in scores) / total if total else max(score for score, _ in scores)


def _merge_instances(
    whole: Result, parts: Sequence[Result], tiles: Sequence[Tile], groups: Sequence[Sequence[tuple[int, int]]]
) -> None:
    for group in groups:
        members = [parts[p].segments[s] for p, s in group]
        boxes = []
        for (p, _), segment in zip(group, members):
            top, left = tiles[p].rows.start, tiles[p].columns.start
            x0, y0, x1, y1 = segment.box
            boxes.append((x0 + left, y0 + top, x1 + left, y1 + top))
        lower, upper = np.array(boxes)[:, :2].min(0), np.array(boxes)[:, 2:].max(0)
        rle = None
        if members[0].has_mask:
            mask = np.zeros(whole.size, np.uint8, order='F')
            for (p, _), segment in zip(group, members):
                mask[tiles[p].rows, tiles[p].columns] |= segment.mask
            rle = coco_masks.encode(mask)
        best = max(members, key=lambda segment: segment.score or 0)
        whole.segments.append(
            replace(
                best,
                id=len(whole.segments) + 1,
                box=tuple(map(float, (*lower, *upper))),
                size=whole.size,
                given_rle=rle,
            )
        )
