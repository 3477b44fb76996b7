"""Files that name the classes of label maps, by their number, their color, or their place in the list."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from .folder import Folder
from .value_maps import color_number

VOID = (
    'void',
    'unlabeled',
    'unlabelled',
    'ignore',
    'ignored',
    'ignore_label',
    '__ignore__',
    '_ignore_',
    'ignored_area',
)
NAMES = (
    'classes.txt', 'labels.txt', 'class_names.txt', 'classes.csv', '_classes.csv', 'names.txt', 'obj.names',
    'objectinfo150.txt', 'colors.csv', 'colors.txt', 'color_map.csv', 'colormap.csv', 'label_colors.txt',
    'class_dict.csv', 'class_dict_seg.csv', 'labelmap.txt',
)  # fmt: skip


class ClassList(NamedTuple):
    """Names of classes.

    Args:
        file: that lists them, for messages.
        names: in the order of the file.
        values: number of each, where the file says it.
        colors: number of the color of each, see ``value_maps.color_number``, where the file says it.
    """

    file: str
    names: list[str]
    values: list[int] | None = None
    colors: list[int] | None = None


def find_class_list(folder: Folder, *names: str) -> ClassList | None:
    """The list of classes in a folder, nearest to its top; None where there is none.

    Args:
        folder: that is read.
        names: of the file; by default all that are known.

    Raises:
        ValueError: there are two in one place that say different things.
    """
    lists = [
        each
        for each in (read_class_list(folder.path(name), name) for name in folder.named(*(names or NAMES)))
        if each is not None
    ]
    # One with colors or numbers says more than one of names alone.
    lists.sort(key=lambda each: (each.file.count('/'), each.colors is None, each.values is None))
    for other in lists[1:]:
        if other.file.rsplit('/', 1)[-1] == lists[0].file.rsplit('/', 1)[-1] and other[1:] != lists[0][1:]:
            raise ValueError(f'{folder.root}: {lists[0].file} and {other.file} list different classes')
    return lists[0] if lists else None


def read_class_list(path: str, name: str = '') -> ClassList | None:
    """The classes that a file names, a line each: a name, with a number or the red, green and blue of a color before or
    behind it. None where it is no such file.

    Args:
        path: of the file.
        name: for messages; the path by default.
    """
    try:
        with open(path, encoding='utf-8-sig') as file:
            lines = [line.strip() for line in file]
    except UnicodeDecodeError:
        return None
    entries = [_entry(line) for line in lines if line and not line.startswith('#')]
    if len(entries) > 1 and not entries[0][1] and any(numbers for _, numbers in entries[1:]):
        entries = entries[1:]  # a header
    if not entries or any(not text for text, _ in entries):
        return None
    names = [text for text, _ in entries]
    kinds = {len(numbers) for _, numbers in entries}
    if len(set(names)) < len(names) or kinds not in ({0}, {1}, {3}):
        return None
    numbers = [each for _, each in entries]
    if kinds == {1}:
        return ClassList(name or path, names, values=[each[0] for each in numbers])
    if kinds == {3} and all(0 <= part < 256 for each in numbers for part in each):
        return ClassList(name or path, names, colors=[color_number(each) for each in numbers])
    return ClassList(name or path, names) if kinds == {0} else None


def _entry(line: str) -> tuple[str, tuple[int, ...]]:
    """Text and whole numbers of a line."""
    if re.fullmatch(r'[^:]+:\d+,\d+,\d+:[^:]*:.*', line):  # CVAT's labelmap.txt
        name, color = line.split(':')[:2]
        return name.strip(), tuple(map(int, color.split(',')))
    if '\t' in line and line.count('\t') >= 4:  # ADE20K's objectInfo150.txt
        parts: Sequence[str] = line.split('\t')
        parts = (parts[0], parts[-1])
    else:
        parts = re.split(r'[,;\t]', line)
        if len(parts) == 1:  # numbers may stand before or behind a name with blanks
            match = re.fullmatch(r'((?:\d+\s+)*)(.*?)((?:\s+\d+){3})?', line)
            parts = [*match[1].split(), match[2], *(match[3] or '').split()]
    parts = [part.strip().strip('"\'') for part in parts if part.strip()]
    parts = [piece for part in parts for piece in (part.split() if re.fullmatch(r'[\d\s]+', part) else [part])]
    numbers = tuple(int(part) for part in parts if re.fullmatch(r'\d{1,5}', part))
    text = ' '.join(part for part in parts if not re.fullmatch(r'\d{1,5}', part))
    return text, numbers
