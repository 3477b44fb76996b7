"""Images with label maps in folders beside them: numbers, palettes or colors, also Roboflow's ``*_mask.png``."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from ..image_files import read_header, spread
from ..label_maps import WrongLabelMap
from .class_lists import ClassList, find_class_list
from .folder import Folder, split_of_folders
from .label_map_reader import Pair, counted_maps, label_map_data, total_values
from .meanings import decide, given_classes
from .options import Options
from .records import OwnData, Question
from .value_maps import ValueTable, color_of, read_colors, share

_FILES = ('.png', '.tif', '.tiff', '.bmp', '.gif', '.jpg', '.jpeg', '.webp')
_SUFFIXES = (
    '_mask', '_masks', '-mask', '.mask', '_label', '_labels', '_gt', '_seg', '_segmentation', '_labelTrainIds',
    '_labelIds', '_L', '_annotation', '_ann',
)  # fmt: skip
_HINT = re.compile(r'mask|annot|label|seg|(^|[^a-z])(gt|ann|target)([^a-z]|$)|ground.?truth')
_COLORS_SHOWN, _MANY_COLORS, _LOOKED_AT = 20, 256, 50


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
        colored = _palette_has(pairs, listed.colors)
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


def _order(listed: ClassList | None, meanings: Mapping[int, str | None]) -> list[str]:
    """Classes in the order of the list, what it passes over first."""
    names = list(dict.fromkeys(name for _, name in sorted(meanings.items()) if name is not None))
    if listed is None:
        return names
    return [name for name in names if name not in listed.names] + [name for name in listed.names if name in names]


def pair_masks(folder: Folder) -> tuple[list[tuple[str, str]], str, list[str]]:
    """Images and masks that belong together, the reason, and other folders of such masks, which are passed over.

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
    reasons, others, sources = [], [], set()
    for kind in kinds:
        new = [(image, mask) for image, mask in votes[kind] if not {image, mask} & (taken.keys() | masks)]
        place, image_part, mask_part = kind
        where = f'*{mask_part} beside images' if place < 0 else f'{image_part} and {mask_part}'
        if new:
            reasons.append(where)
            sources.add(image_part)
        elif image_part in sources:
            others.append(where)
        for image, mask in new:
            if image not in taken and mask not in masks:
                taken[image] = mask
                masks.add(mask)
    text = ', '.join(reasons[:3])
    return sorted(taken.items()), f'files of equal names: {text}' if reasons else '', others


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


def _palette_has(pairs: Sequence[Pair], colors: Sequence[int]) -> bool:
    """Whether masks have palettes, whose colors are those of a table; black may be without a name."""
    try:
        if read_header(pairs[0].label_map).mode != 'P':
            return False
    except ValueError:
        return False
    return _colors(pairs).keys() <= {0, *colors}


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
