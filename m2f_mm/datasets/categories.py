"""Which class a category is: names, order and thingness from a JSON's categories and a data set's metainfo."""

import colorsys
from collections.abc import Mapping, Sequence

from . import ade20k_categories, cityscapes_categories, coco_categories, mapillary_categories


def things_first(names: Sequence[str], thing_ids: Sequence[int], palette: Sequence[tuple[int, int, int]]) -> dict:
    """Metainfo of a panoptic data set whose classes are listed with things and stuff mixed.

    MMDetection wants things first; so the labels are not the positions in the list, see ``label_order``.

    ``thing_ids`` of the metainfo are the ids of the things in instance annotations that name them otherwise,
    ``class_ids`` the place of each label in the list, which is the order of published weights.
    """
    order = label_order(len(names), thing_ids)
    classes = tuple(names[i] for i in order)
    return dict(
        classes=classes,
        thing_classes=classes[: len(thing_ids)],
        stuff_classes=classes[len(thing_ids) :],
        palette=[palette[i] for i in order],
        thing_ids=tuple(thing_ids),
        class_ids=tuple(order),
    )


def label_order(number: int, thing_ids: Sequence[int]) -> list[int]:
    """The id of each label: things first, each in the order of the ids."""
    return sorted(range(number), key=lambda i: i not in thing_ids)


COCO_PANOPTIC = dict(
    classes=coco_categories.THINGS + coco_categories.STUFF,
    thing_classes=coco_categories.THINGS,
    stuff_classes=coco_categories.STUFF,
    palette=coco_categories.PALETTE,
)
ADE20K_PANOPTIC, CITYSCAPES_PANOPTIC, MAPILLARY_PANOPTIC = (
    things_first(classes.NAMES, classes.THING_IDS, classes.PALETTE)
    for classes in (ade20k_categories, cityscapes_categories, mapillary_categories)
)


def resolve_metainfo(given: Mapping, defaults: Mapping, categories: Sequence[Mapping], source: str) -> dict:
    """Complete metainfo: classes, thing_classes, stuff_classes and palette, things first.

    Args:
        given: what the user says; any of the four keys, and others that are kept. ``classes`` alone selects and
            orders classes.
        defaults: the same of the data set's Python class, may be empty.
        categories: those of the JSON; they are asked where ``given`` and ``defaults`` are silent.
        source: the JSON's path, for errors.

    Raises:
        ValueError: a class is neither known as thing nor as stuff, or stuff stands before things.
    """
    isthing = {_name(category): bool(category['isthing']) for category in categories if 'isthing' in category}
    known = dict(_thingness(defaults), **isthing)
    known.update(_thingness(given))
    for key in ('classes', 'thing_classes', 'stuff_classes'):
        if isinstance(given.get(key), str):
            raise ValueError(
                f'metainfo of {source} has {key}={given[key]!r}, a text instead of a list: write '
                f'{key}=({given[key]!r}, )'
            )
    if 'classes' in given:
        classes = tuple(given['classes'])
    elif 'thing_classes' in given or 'stuff_classes' in given:
        classes = tuple(given.get('thing_classes', ())) + tuple(given.get('stuff_classes', ()))
    elif 'classes' in defaults:
        classes = tuple(defaults['classes'])
    else:
        names = [_name(category) for category in sorted(categories, key=lambda category: category['id'])]
        classes = tuple(sorted(names, key=lambda name: not known.get(name, True)))  # stable: things first
    unknown = [name for name in classes if name not in known]
    if unknown:
        raise ValueError(
            f'{source}: nothing says whether {_list(unknown)} are things or stuff; give the categories '
            f'"isthing", or the data set metainfo=dict(classes=..., thing_classes=..., stuff_classes=...)'
        )
    things = tuple(name for name in classes if known[name])
    stuff = tuple(name for name in classes if not known[name])
    if len(set(classes)) < len(classes):
        raise ValueError(f'metainfo of {source} names a class twice: {_list(classes)}')
    if classes != things + stuff:
        raise ValueError(
            f'metainfo of {source} must list things before stuff, got {_list(classes)}; use classes={things + stuff}'
        )
    palette = given.get('palette') or _palette(classes, defaults, categories)
    extra = {}
    for key, owners in (('thing_ids', 'thing_classes'), ('class_ids', 'classes')):
        ids = dict(zip(defaults.get(owners, ()), defaults.get(key, ())))
        if ids:
            extra[key] = tuple(ids[name] for name in (things if key == 'thing_ids' else classes) if name in ids)
    if 'classes' not in defaults and not given.keys() & {'classes', 'thing_classes', 'stuff_classes'}:
        extra['class_ids'] = tuple(names.index(name) for name in classes)  # their order in the JSON
    return dict(given, classes=classes, thing_classes=things, stuff_classes=stuff, palette=palette, **extra)


def category_labels(categories: Sequence[Mapping], classes: Sequence[str], source: str) -> dict[int, int]:
    """Label of each category id, the position of its name in ``classes``; -1 for categories that are not wanted.

    Raises:
        ValueError: the JSON lacks a class, or names two categories alike.
    """
    names = [_name(category) for category in categories]
    missing = [name for name in classes if name not in names]
    if missing:
        raise ValueError(
            f'{source} has no category {_list(missing)}, which the metainfo asks for; its categories are '
            f'{_list(names)}. Set metainfo=dict(classes=(...)) of data set and metric to its names'
        )
    if len(set(names)) < len(names) or len({category['id'] for category in categories}) < len(names):
        raise ValueError(
            f'{source} lists a category id or name twice: '
            f'{_list([(category["id"], _name(category)) for category in categories])}'
        )
    labels = {name: label for label, name in enumerate(classes)}
    return {category['id']: labels.get(_name(category), -1) for category in categories}


def _thingness(metainfo: Mapping) -> dict[str, bool]:
    """True for thing classes, False for stuff; with ``classes`` and one of the two lists, the rest is the other."""
    known = {}
    for key, is_thing in (('thing_classes', True), ('stuff_classes', False)):
        if key in metainfo:
            known.update((name, not is_thing) for name in metainfo.get('classes', ()) if name not in known)
            known.update((name, is_thing) for name in metainfo[key])
    return known


def _palette(classes: Sequence[str], defaults: Mapping, categories: Sequence[Mapping]) -> list[tuple[int, int, int]]:
    """Colors by class name from the defaults or the JSON; hues that are far apart for the others."""
    colors = {_name(category): tuple(category['color']) for category in categories if 'color' in category}
    colors.update(zip(defaults.get('classes', ()), defaults.get('palette', ())))
    return [colors.get(name, other) for name, other in zip(classes, distinct_colors(len(classes)))]


# Searched for on a grid of sRGB (lightness 38 to 88, chroma above 42 of CIELAB), so that the least distance of two is
# large: of the first 12 it is 27 in CIELAB as seen with deuteranopia or protanopia, and 41 otherwise; of all 32 it is
# 11. Each later one is the farthest from all before it.
_DISTINCT = (
    (105, 105, 255), (195, 135, 0), (45, 225, 240), (255, 90, 105), (0, 105, 30), (180, 240, 15), (180, 0, 165),
    (30, 240, 180), (165, 75, 120), (225, 225, 120), (135, 165, 255), (105, 0, 255), (255, 90, 180), (75, 180, 135),
    (195, 0, 30), (165, 0, 210), (240, 120, 75), (180, 210, 60), (195, 105, 210), (165, 45, 135), (165, 45, 75),
    (120, 135, 255), (135, 240, 150), (90, 240, 210), (180, 90, 60), (15, 90, 210), (45, 210, 255), (105, 75, 255),
    (255, 165, 120), (255, 150, 15), (195, 105, 30), (240, 45, 105),
)  # fmt: skip


def distinct_colors(number: int) -> list[tuple[int, int, int]]:
    """RGB colors that differ much, the first 12 for colour-blind readers, too; a longer list begins like a shorter one.

    After the first 32, which are far apart, come steps of the golden ratio around the color circle.
    """
    hsv = [(0.618 * i % 1, 0.5 + 0.5 * (i % 2), 0.9 - 0.25 * (i % 3)) for i in range(len(_DISTINCT), number)]
    more = [tuple(round(255 * part) for part in colorsys.hsv_to_rgb(*color)) for color in hsv]
    return [*_DISTINCT, *more][:number]


def _name(category: Mapping) -> str:
    """Without blanks around it: ADE20K's official JSON has a class "window "."""
    return category['name'].strip()


def _list(items: Sequence, limit: int = 10) -> str:
    shown = ', '.join(repr(item) for item in items[:limit])
    return f'{shown} and {len(items) - limit} more' if len(items) > limit else shown
