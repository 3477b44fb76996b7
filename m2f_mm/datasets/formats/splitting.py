"""A split of images that keeps frames of a video, scenes, and copies of one photo on one side."""

import os
import random
import re
from collections.abc import Sequence
from typing import NamedTuple

from .records import ImageRecord, OwnData

_COPY = re.compile(r'\.rf\.[0-9a-zA-Z]+$')  # Roboflow's, of a photo that it has augmented
_NUMBER = re.compile(r'[-_ .]*(frame|f)?[-_ .]*\d+$', re.IGNORECASE)
_MIN_GROUPS, _TRIES = 4, 20


class Split(NamedTuple):
    """Records of both sides, and how they came about."""

    train: list[ImageRecord]
    val: list[ImageRecord]
    reason: str


def split(records: Sequence[ImageRecord], val_share: float = 0.2, seed: int = 0) -> Split:
    """Divide images at random, the same way for the same names, seed and share; none is on both sides.

    Images of one video, or of one folder and one name but for a number at its end, stay together, if there are 4 such
    groups or more, some of several images, and every class of the validation side is on the training side, too.
    Otherwise images are divided one by one, but copies of a photo that Roboflow has augmented stay together always.

    Args:
        records: to divide, two at least.
        val_share: share of the images for validation, between 0 and 1; a group is not cut, so it is met roughly.
        seed: of the draw.

    Raises:
        ValueError: there are less than two images, or the share is not between 0 and 1.
    """
    if not 0 < val_share < 1:
        raise ValueError(f'val_share must be between 0 and 1, got {val_share}')
    units = _grouped(records, _photo)
    if len(units) < 2:
        raise ValueError(f'{len(records)} images cannot be divided into training and validation: two are needed')
    groups = _grouped(records, _group)
    count = len(records)
    share = f'{val_share:.0%} of {count} images for validation, seed {seed}'
    if len(groups) >= _MIN_GROUPS and len(groups) < len(units):
        for trial in range(_TRIES):
            train, val = _divide(groups, val_share, seed + 1000 * trial)
            near = abs(len(val) / count - val_share) <= max(0.1, val_share / 2)
            if near and _classes(val) <= _classes(train):
                named = ', '.join(repr(os.path.basename(key)) for key in sorted(groups)[:3])
                return Split(train, val, f'{share}; {len(groups)} groups of images stay together, such as {named}')
    train, val = _divide(units, val_share, seed)
    return Split(train, val, f'{share}; image by image')


def training_splits(data: OwnData, val_share: float = 0.2, seed: int = 0) -> tuple[dict[str, list[ImageRecord]], str]:
    """Records for training, validation and, where there are some, test; and a sentence that says how they came about.

    The folder's own splits are kept. Images without a split are taken for training where it has one; what is missing
    for validation is split off, see ``split``.

    Raises:
        ValueError: every image is of the split for test, or there is only one.
    """
    splits = data.splits
    train = splits.get('train', []) + splits.get('', [])
    if not train and not splits.get('val'):
        raise ValueError(f'{data.folder}: all {len(data.records)} images are for test, none is for training')
    result = dict(train=train, val=splits.get('val', []), test=splits.get('test', []))
    reason = "the folder's own split"
    if not result['val']:
        divided = split(train, val_share, seed)
        result.update(train=divided.train, val=divided.val)
        reason = divided.reason
    elif not train:
        divided = split(result['val'], val_share, seed)
        result.update(train=divided.train, val=divided.val)
        reason = f'there are no images for training but those for validation: {divided.reason}'
    return {name: records for name, records in result.items() if records}, reason


def _photo(record: ImageRecord) -> str:
    if record.video:
        return record.video
    stem = _COPY.sub('', os.path.splitext(record.image)[0])
    return stem


def _group(record: ImageRecord) -> str:
    return record.video or _NUMBER.sub('', _photo(record))


def _grouped(records: Sequence[ImageRecord], key) -> dict[str, list[ImageRecord]]:
    groups: dict[str, list[ImageRecord]] = {}
    for record in sorted(records, key=lambda record: record.image):
        groups.setdefault(key(record), []).append(record)
    return groups


def _divide(
    groups: dict[str, list[ImageRecord]], val_share: float, seed: int
) -> tuple[list[ImageRecord], list[ImageRecord]]:
    """Whole groups, in an order drawn at random, go to validation until it has its share."""
    names = sorted(groups)
    random.Random(seed).shuffle(names)
    count = sum(map(len, groups.values()))
    val: list[ImageRecord] = []
    val_names = set()
    for name in names[:-1]:
        more = len(groups[name])
        if val and abs(len(val) + more - val_share * count) > abs(len(val) - val_share * count):
            continue
        val += groups[name]
        val_names.add(name)
        if len(val) >= val_share * count:
            break
    return [each for name in sorted(groups) if name not in val_names for each in groups[name]], val


def _classes(records: Sequence[ImageRecord]) -> set[int]:
    """Labels of objects, or values of label maps."""
    return {
        label
        for record in records
        for label in (
            [each.label for each in record.objects] + [each.label for each in record.segments] + [*record.values]
        )
    }
