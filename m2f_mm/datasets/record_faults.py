"""Faults of what all forms of COCO have: categories, the classes of the metainfo, images or videos."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .faults import Fault
from .json_records import MEND, is_id, is_integer, records, shown


def category_faults(
    content: Mapping, file: str, classes: Sequence[str] | None, in_order: bool = False
) -> Iterator[Fault]:
    """Of categories, and of the classes of the metainfo that have none.

    Args:
        content: of the JSON.
        file: its path.
        classes: that the config asks for; None for all.
        in_order: whether they must stand in the order of the file and be spelled alike, also in blanks around them.
    """
    names: list[str] = []
    ids: list[Any] = []
    for record in records(content, 'categories', file, 'category'):
        if isinstance(record, Fault):
            yield record
            continue
        category, where = record
        missing = [key for key in ('id', 'name') if key not in category]
        if missing:
            yield Fault(
                'categories that are not complete',
                file,
                where,
                f'category without {", ".join(missing)}: {shown(category)}',
                MEND,
            )
            continue
        if not is_integer(category.get('id')):
            yield Fault('categories without an integer as id', file, where, f'id is {shown(category.get("id"))}', MEND)
        elif category['id'] in ids:
            yield Fault(
                'category ids that occur twice',
                file,
                where,
                f'id {category["id"]} occurs twice, for '
                f'{shown(names[ids.index(category["id"])])} and {shown(category.get("name"))}',
                MEND,
            )
        if not isinstance(category.get('name'), str) or not category['name'].strip():
            yield Fault('categories without a name', file, where, f'name is {shown(category.get("name"))}', MEND)
            continue
        name = category['name'] if in_order else category['name'].strip()
        if name in names:
            yield Fault('category names that occur twice', file, where, f'{name!r} has several ids', MEND)
        names.append(name)
        ids.append(category.get('id'))
    if not content['categories']:
        yield Fault('no categories', file, '', 'the list of categories is empty', 'Add the classes of the data set')
    yield from class_faults(names, file, classes, in_order)


def class_faults(names: Sequence[str], file: str, classes: Any, in_order: bool = False) -> Iterator[Fault]:
    """Of classes that a config asks for and a file does not have.

    Args:
        names: of the categories of the file; without blanks around them unless ``in_order``.
        file: its path.
        classes: of the metainfo; None for all.
        in_order: whether they must stand in the order of the file, as MMDetection numbers labels by that, and be
            spelled alike to the last blank, as its metric looks for them.
    """
    if classes is None:
        return
    if isinstance(classes, str):
        yield Fault(
            'classes are one text',
            file,
            '',
            f'metainfo has classes={classes!r}, a text instead of a list',
            f'Write classes=({classes!r}, ), or the path of a file with a name in each line',
        )
        return
    if not all(isinstance(name, str) for name in classes):
        yield Fault('classes that are no names', file, '', f'metainfo has classes={shown(classes)}', 'Write the names')
        return
    asked = list(classes) if in_order else [name.strip() for name in classes]
    if len(set(asked)) < len(asked):
        yield Fault(
            'classes that are named twice', file, '', f'metainfo has classes={listed_names(asked)}', 'Name each once'
        )
    missing = [name for name in asked if name not in names]
    if missing:
        spelled = {name.strip().casefold(): name for name in names}
        near = [
            f'{name!r} is {spelled[key]!r} there' for name in missing if (key := name.strip().casefold()) in spelled
        ]
        yield Fault(
            'classes that the file does not have',
            file,
            '',
            f'it has no category {listed_names(missing)}, which metainfo asks for'
            f'{": " + ", ".join(near) if near else ""}. '
            f'Categories of the file: {listed_names(names)}; classes of metainfo: {listed_names(classes)}',
            'Set metainfo=dict(classes=(...)) to names of the file',
        )
        return
    expected = [name for name in names if name in asked]
    if in_order and asked != expected:
        yield Fault(
            'classes in another order than in the file',
            file,
            '',
            f"metainfo has classes={listed_names(asked)}, the file's order is {listed_names(expected)}",
            "MMDetection numbers labels by the file's order, so names would go to wrong labels: list them so",
        )


def listed_names(names: Sequence[str], limit: int = 20) -> str:
    """The first names, for a message."""
    return ', '.join(map(repr, names[:limit])) + (f' and {len(names) - limit} more' if len(names) > limit else '')


def image_faults(content: Mapping, file: str, key: str = 'images', names: str = 'file_name') -> Iterator[Fault]:
    """Of the records of images or videos: ids, names, sizes.

    Args:
        content: of the JSON.
        file: its path.
        key: of the list, 'images' or 'videos'.
        names: key of the file name, or of the list of names.
    """
    what = key.removesuffix('s')
    seen_ids: dict[Any, dict] = {}
    seen_names: dict[str, dict] = {}
    for record in records(content, key, file, what):
        if isinstance(record, Fault):
            yield record
            continue
        image, where = record
        missing = [name for name in ('id', names, 'height', 'width') if name not in image]
        if missing:
            yield Fault(
                f'{key} that are not complete',
                file,
                where,
                f'{what} without {", ".join(missing)}: {shown(image, 200)}',
                MEND,
            )
            continue
        if not is_id(image['id']):
            yield Fault(f'{key} without an id', file, where, f'id is {shown(image["id"])}', MEND)
        elif image['id'] in seen_ids:
            yield Fault(
                f'{what} ids that occur twice',
                file,
                where,
                f'{shown(seen_ids[image["id"]].get(names))} and '
                f'{shown(image.get(names))} both have the id {image["id"]!r}',
                'Annotations would go to the wrong one: give each its own id',
            )
        else:
            seen_ids[image['id']] = image
        name = image.get(names)
        good = (
            all(isinstance(each, str) and each for each in name)
            if names == 'file_names' and isinstance(name, list)
            else names == 'file_name' and isinstance(name, str) and name
        )
        if not good:
            yield Fault(f'{key} without {names}', file, where, f'{names} is {shown(name)}', MEND)
        elif names == 'file_name':
            if name in seen_names and seen_names[name].get('id') != image.get('id'):
                yield Fault(
                    f'{what} files that are listed twice',
                    file,
                    where,
                    f'{name!r} is {what} {seen_names[name].get("id")!r}, too',
                    'Annotations of one would be missing in the other: join the two',
                )
            seen_names.setdefault(name, image)
        sides = [image.get(side) for side in ('height', 'width')]
        if not all(is_integer(side) and side > 0 for side in sides):
            yield Fault(
                f'{key} without a size',
                file,
                where,
                f'height is {shown(sides[0])}, width is {shown(sides[1])}',
                'Write the size of the file in pixels',
            )
    if not content[key]:
        yield Fault(f'no {key}', file, '', f'the list of {key} is empty', 'Add them')
