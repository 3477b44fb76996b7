"""Images with label maps in folders beside them: numbers, palettes or colors, also Roboflow's ``*_mask.png``.

Nothing in such files says what 0 and 255 mean. A list of classes, a class that is called background, or the values
themselves decide what they can; the rest becomes a ``Question`` with the facts and the default that is taken:

- 255 beside two other values or more is ignored; 0 and 255 alone are background and foreground.
- 0 that a list of classes passes over is a class of its own, ``background``.
"""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from ..image_files import read_header, spread
from ..label_maps import WrongLabelMap
from .class_lists import VOID, ClassList, find_class_list
from .folder import Folder, split_of_folders
from .label_map_reader import Pair, counted_maps, label_map_data, total_values
from .options import Options
from .records import BACKGROUND, OwnData, Question, background_label
from .value_maps import ValueTable, color_number, color_of, read_colors, share, shown_values

_FILES = ('.png', '.tif', '.tiff', '.bmp', '.gif', '.jpg', '.jpeg', '.webp')
_SUFFIXES = (
    '_mask', '_masks', '-mask', '.mask', '_label', '_labels', '_gt', '_seg', '_segmentation', '_labelTrainIds',
    '_labelIds', '_L', '_annotation', '_ann',
)  # fmt: skip
_HINT = re.compile(r'mask|annot|label|seg|(^|[^a-z])(gt|ann|target)([^a-z]|$)|ground.?truth')
_COLORS_SHOWN, _MANY_COLORS, _LOOKED_AT = 20, 256, 50
FOREGROUND = 'foreground'


def read_masks(folder: Folder, options: Options) -> OwnData | None:
    """Images with label maps in folders of equal names; None where there are none."""
    matched, where, others = pair_masks(folder)
    if not matched:
        return None
    roboflow = find_class_list(folder, '_classes.csv') if '_mask' in where else None
    pairs = [Pair(folder.path(image), folder.path(mask), split_of_folders(image)) for image, mask in matched]
    listed = given_classes(options) or roboflow or find_class_list(folder)
    colored = mostly_colored(pairs)
    if listed is not None and listed.colors and not colored:
        listed = ClassList(listed.file, listed.names)  # a table of colors for files of numbers: the order counts
    gray = colored and not (listed is not None and listed.colors) and _is_gray(pairs)
    if colored and not gray and (listed is None or not listed.colors):
        raise ValueError(_without_table(folder, pairs))
    table = ValueTable({}, colored and not gray, gray)
    records = counted_maps(folder, pairs, table)
    meanings, notes, questions = decide(total_values(records), listed, options, table.colored)
    if roboflow:
        form = "Roboflow's masks"
    else:
        form = 'RGB masks' if table.colored else 'index masks'
    data = label_map_data(folder, form, where, records, meanings, table, order=_order(listed, meanings))
    data.notes, data.questions = notes, questions
    if options.ignore is None and not table.colored:
        data.questions += _lonely_255(data, meanings)
    if gray:
        data.notes.append('The masks are RGB files without color: the values of a channel are the numbers of classes.')
    if others:
        data.notes.append(f'Named alike, and not read: {", ".join(others[:5])}.')
    masks = {pair.label_map for pair in pairs}
    images = {pair.image for pair in pairs}
    lonely = [each for each in folder.images if folder.path(each) not in masks | images]
    if lonely:
        data.notes.append(f'{len(lonely)} image files belong to no pair of image and mask, such as {lonely[0]}.')
    return data


def _lonely_255(data: OwnData, meanings: Mapping[int, str | None]) -> list[Question]:
    """Of files in which an ignored 255 is all that there is beside 0, so that it may be an object there."""
    alone = [record for record in data.records if 255 in record.values and record.values.keys() <= {0, 255}]
    if not alone or meanings.get(255, '') is not None:
        return []
    return [
        Question(
            f'255 stands beside 0 alone in {len(alone)} of {len(data.records)} masks, such as {alone[0].label_map}: '
            'there it may be an object.',
            ('ignore',),
            'It is ignored, as in the others',
        )
    ]


def given_classes(options: Options) -> ClassList | None:
    """The classes that a user gave."""
    if options.colors:
        return ClassList(
            'colors=', list(options.colors), colors=[color_number(each) for each in options.colors.values()]
        )
    if isinstance(options.classes, Mapping):
        return ClassList('classes=', list(options.classes.values()), values=list(options.classes))
    return None if options.classes is None else ClassList('classes=', list(options.classes))


def _order(listed: ClassList | None, meanings: Mapping[int, str | None]) -> list[str]:
    """Classes in the order of the list, what it passes over first."""
    names = list(dict.fromkeys(name for _, name in sorted(meanings.items()) if name is not None))
    if listed is None:
        return names
    return [name for name in names if name not in listed.names] + [name for name in listed.names if name in names]


def pair_masks(folder: Folder) -> tuple[list[tuple[str, str]], str, list[str]]:
    """Images and masks that belong together, what told, and other folders of such masks, which are passed over.

    Their folders differ in one part of the path, which of the mask's side sounds like masks or has files of one
    channel; or the mask is in the folder of the image and has a suffix such as ``_mask`` in its name.
    """
    images: dict[tuple, list[tuple[str, str]]] = defaultdict(list)
    for name in folder.images:
        for key, part in _keys(name, os.path.splitext(os.path.basename(name))[0]):
            images[key].append((part, name))
    votes: dict[tuple[int, str, str], list[tuple[str, str]]] = defaultdict(list)
    for mask in folder.with_suffix(*_FILES):
        stem = os.path.splitext(os.path.basename(mask))[0]
        for suffix in ('', *_SUFFIXES):
            if not stem.endswith(suffix) or stem == suffix:
                continue
            for key, part in _keys(mask, stem[: len(stem) - len(suffix)]):
                for other, image in images.get(key, ()):
                    if image != mask and (other != part if key[0] >= 0 else suffix):
                        votes[key[0], other, part if key[0] >= 0 else suffix].append((image, mask))
    kinds = [kind for kind in votes if _plausible(folder, kind, votes[kind])]
    kinds.sort(key=lambda kind: (-len(votes[kind]), _is_colored(folder.path(votes[kind][0][1])), kind))
    taken: dict[str, str] = {}
    masks: set[str] = set()
    told, others, sources = [], [], set()
    for kind in kinds:
        new = [(image, mask) for image, mask in votes[kind] if not {image, mask} & (taken.keys() | masks)]
        place, image_part, mask_part = kind
        where = f'*{mask_part} beside images' if place < 0 else f'{image_part} and {mask_part}'
        if new:
            told.append(where)
            sources.add(image_part)
        elif image_part in sources:
            others.append(where)
        for image, mask in new:
            if image not in taken and mask not in masks:
                taken[image] = mask
                masks.add(mask)
    text = ', '.join(told[:3])
    return sorted(taken.items()), f'files of equal names: {text}' if told else '', others


def _keys(name: str, stem: str) -> list[tuple[tuple, str]]:
    """The path with each of its folders left open, and that folder; and the path as it is."""
    parts = name.split('/')[:-1]
    open_one = [((i, *parts[:i], '*', *parts[i + 1 :], stem), parts[i]) for i in range(len(parts))]
    return [*open_one, ((-1, *parts, stem), '')]


def _plausible(folder: Folder, kind: tuple[int, str, str], pairs: Sequence[tuple[str, str]]) -> bool:
    place, image_part, mask_part = kind
    if place < 0:
        return True
    hints = bool(_HINT.search(mask_part.lower())), bool(_HINT.search(image_part.lower()))
    if hints[0] != hints[1]:
        return hints[0]
    image, mask = pairs[0]
    try:
        return (
            mask.lower().endswith('.png')
            and read_header(folder.path(mask)).mode in ('L', 'P', '1', 'I', 'I;16')
            and read_header(folder.path(image)).mode not in ('L', 'P', '1', 'I', 'I;16')
        )
    except ValueError:
        return False


def _is_colored(path: str) -> bool:
    try:
        return read_header(path).mode in ('RGB', 'RGBA')
    except ValueError:
        return True


def mostly_colored(pairs: Sequence[Pair]) -> bool:
    """Whether most masks are images of three channels."""
    modes: Counter = Counter()
    for pair in spread(pairs, _LOOKED_AT):
        try:
            modes[read_header(pair.label_map).mode in ('RGB', 'RGBA')] += 1
        except ValueError:
            continue
    return modes[True] > modes[False]


def _colors(pairs: Sequence[Pair]) -> Counter:
    """Pixels of each color in some masks."""
    total: Counter = Counter()
    for pair in spread(pairs, _LOOKED_AT):
        try:
            colors, counts = np.unique(read_colors(pair.label_map), return_counts=True)
        except WrongLabelMap as error:
            if 'JPEG' in error.fault.kind or 'WEBP' in error.fault.kind:
                raise
            continue
        total.update(dict(zip(colors.tolist(), counts.tolist())))
    return total


def _is_gray(pairs: Sequence[Pair]) -> bool:
    colors = list(_colors(pairs))
    return bool(colors) and all(len(set(color_of(color))) == 1 for color in colors)


def _without_table(folder: Folder, pairs: Sequence[Pair]) -> str:
    """What to say of colored masks whose colors have no names."""
    colors = _colors(pairs)
    if len(colors) > _MANY_COLORS:
        return (
            f'{folder.root}: masks such as {pairs[0].label_map} have {len(colors)} colors, too many for classes: are '
            'they panoptic PNGs whose JSON is missing, or colored for display?'
        )
    lines = [f'  {color_of(color)}  {share(colors, color)}' for color, _ in colors.most_common(_COLORS_SHOWN)]
    more = f'\n  and {len(colors) - _COLORS_SHOWN} more' if len(colors) > _COLORS_SHOWN else ''
    return (
        f'{folder.root}: masks such as {pairs[0].label_map} have colors, and no file says which class a color is. Put '
        'a file colors.csv with lines name,red,green,blue into the folder, or give colors=dict(name=(red, green, '
        f'blue)). Colors and their shares of the pixels:\n' + '\n'.join(lines) + more
    )


def decide(
    counts: Counter, listed: ClassList | None, options: Options, colored: bool = False
) -> tuple[dict[int, str | None], list[str], list[Question]]:
    """What each value of label maps means.

    Args:
        counts: pixels of each value in all files.
        listed: the classes, where a file or the user names them.
        options: what the user says of background and ignored values.
        colored: whether values are colors.

    Returns:
        The class of each value, None for what is ignored; notes; questions.
    """
    notes: list[str] = []
    questions: list[Question] = []
    meanings = _listed_meanings(counts, listed, options, colored, notes, questions)
    ignored = None if options.ignore is None else {_value(each) for each in options.ignore}
    background = None if options.background is None else _value(options.background)
    if ignored is not None:
        meanings.update(dict.fromkeys(ignored))
        notes.append(f'Ignored, as the option ignore says: {shown_values(sorted(ignored), colored)}.')
    if background is not None and background not in (ignored or ()):
        meanings[background] = meanings.get(background) or BACKGROUND
        notes.append(f'Background, as the option background says: {shown_values([background], colored)}.')
    if not colored and 255 in counts and 255 not in meanings and ignored is None:
        _decide_255(counts, meanings, listed, notes, questions)
    if 0 in counts and 0 not in meanings:
        _decide_0(counts, meanings, listed, colored, questions)
    if listed is None:
        for value in counts:
            meanings.setdefault(value, f'class_{value}')
        unnamed = [name for name in meanings.values() if name and name.startswith('class_')]
        if unnamed:
            questions.append(
                Question(
                    f'No file such as classes.txt names the classes of {shown_values(sorted(counts), colored, 20)}.',
                    ('classes',),
                    'They are called class_ and their number',
                )
            )
    return meanings, notes, questions


def _listed_meanings(
    counts: Counter,
    listed: ClassList | None,
    options: Options,
    colored: bool,
    notes: list[str],
    questions: list[Question],
) -> dict[int, str | None]:
    if listed is None:
        return {}
    if colored:
        values: Sequence[int] = listed.colors or ()
    elif listed.values is not None:
        values = listed.values
    else:
        ignored = {255} if options.ignore is None else {_value(each) for each in options.ignore}
        highest = max((value for value in counts if value not in ignored), default=0)
        number = len(listed.names)
        first = 1 if highest == number else 0
        values = range(first, first + number)
        told = f'{listed.file} names {number} classes without their values; values reach up to {highest}'
        if highest >= number - 1 or background_label(listed.names) == 0 or counts.keys() <= {0, 255}:
            notes.append(f'{told}, so the first of them is {first}.')
        else:
            questions.append(
                Question(
                    f'{told}, which can be a list from 0 on or one from 1 on.',
                    ('classes',),
                    'The first of them is taken as 0',
                )
            )
    meanings: dict[int, str | None] = dict(zip(values, listed.names))
    for value, name in meanings.items():
        if name is not None and name.lower().strip() in VOID:
            meanings[value] = None
            notes.append(
                f'{name!r} ({shown_values([value], colored)}, {share(counts, value)} of the pixels) is ignored, by its '
                'name.'
            )
    return meanings


def _decide_255(
    counts: Counter,
    meanings: dict[int, str | None],
    listed: ClassList | None,
    notes: list[str],
    questions: list[Question],
) -> None:
    others = [value for value in counts if value != 255]
    facts = f'255 has {share(counts, 255)} of the pixels'
    names = [] if listed is None else listed.names
    if others == [0] and len(names) <= 2 and (listed is None or listed.values is None):
        name = names[-1] if names else FOREGROUND
        meanings.clear()
        meanings.update({0: names[0] if len(names) == 2 else BACKGROUND, 255: name})
        questions.append(
            Question(
                f'Masks have the values 0 ({share(counts, 0)} of the pixels) and 255 alone.',
                ('ignore',),
                f'0 is taken as {meanings[0]}, 255 as the class {name}',
            )
        )
    elif listed is not None:
        meanings[255] = None
        notes.append(f'{facts} and is not among the classes of {listed.file}: ignored.')
    else:
        meanings[255] = None
        notes.append(f'{facts} beside {len(others)} other values: ignored.')


def _decide_0(
    counts: Counter, meanings: dict[int, str | None], listed: ClassList | None, colored: bool, questions: list[Question]
) -> None:
    what = 'Black' if colored else '0'
    if listed is not None:
        meanings[0] = BACKGROUND
        questions.append(
            Question(
                f'{what} has {share(counts, 0)} of the pixels and is not among the classes of {listed.file}.',
                ('ignore',),
                f'It is taken as a class of its own, {BACKGROUND}',
            )
        )
    else:
        meanings[0] = 'class_0'
        questions.append(
            Question(
                f'{what} has {share(counts, 0)} of the pixels, and nothing says whether it is a class, background, or '
                'without annotation.',
                ('background', 'ignore'),
                'It is taken as a class like the others, class_0',
            )
        )


def _value(value: int | Sequence[int]) -> int:
    return value if isinstance(value, int) else color_number(tuple(value))
