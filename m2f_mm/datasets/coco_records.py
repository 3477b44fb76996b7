"""The records of COCO's instance annotations, checked before any other library reads them.

pycocotools trusts its input: an RLE that ends early gives it uninitialized memory, a polygon with 1e9 takes 16 GB, one
of two points becomes a box. Here every record of a file is looked at once; ``coco_faults`` says what is wrong.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import isfinite
from numbers import Integral, Real
from typing import Any

import numpy as np

from .faults import Fault

_EXPECTED = (
    'expected are polygons [[x0, y0, x1, y1, x2, y2, ...], ...] in pixels or an RLE '
    'dict(size=[height, width], counts=...)'
)
COMPUTED = dict(
    bbox='boxes that the file lacks or has as 0, computed', area='areas that the file lacks or has as 0, computed'
)
_MEND = 'Correct the annotation, or take it out of the file'


class WrongMask(ValueError):
    """A segmentation that is none, or that contradicts its image."""


def check_segmentation(segmentation: Any, height: int, width: int) -> None:
    """Raise ``WrongMask``, which says why, unless a segmentation is safe to decode at the size of its image.

    Args:
        segmentation: polygons, an RLE of counts, or a compressed RLE.
        height, width: of the image.
    """
    if isinstance(segmentation, (list, tuple)):  # a union would be built at every call
        _check_polygons(segmentation, height, width)
    elif isinstance(segmentation, dict):
        rle_counts(segmentation, height, width)
    else:
        raise WrongMask(f'the segmentation is {shown(segmentation)}; {_EXPECTED}')


def _check_polygons(polygons: Sequence, height: int, width: int) -> None:
    if not polygons:
        raise WrongMask(f'the segmentation is an empty list; {_EXPECTED}')
    for polygon in polygons:
        if not isinstance(polygon, (list, tuple)):
            flat = 'a flat list of numbers' if isinstance(polygon, Real) else f'a list of {type(polygon).__name__}'
            raise WrongMask(f'the segmentation is {flat}, {shown(polygons)}; {_EXPECTED}')
        if len(polygon) < 6 or len(polygon) % 2:
            raise WrongMask(
                f'a polygon has {len(polygon)} numbers, {shown(polygon)}; it needs x and y of 3 points or more'
            )
        try:
            finite = isfinite(sum(polygon))  # NaN and infinity reach the sum
        except TypeError:
            raise WrongMask(f'a polygon holds something else than numbers: {shown(polygon)}') from None
        except OverflowError:  # an integer beyond every float
            finite = False
        if not finite:
            raise WrongMask(f'a polygon has coordinates that are not finite: {shown(polygon)}')
        for axis, values, length in (('x', polygon[0::2], width), ('y', polygon[1::2], height)):
            low, high = min(values), max(values)
            if low < -length or high > 2 * length:
                raise WrongMask(
                    f'a polygon reaches from {axis}={low:g} to {axis}={high:g}, far outside of the image '
                    f'of {height}x{width} pixels (HxW)'
                )


def rle_counts(rle: Mapping, height: int, width: int) -> np.ndarray:
    """Lengths of the runs of an RLE, int64: off, on, off, ... in the order of the columns.

    Args:
        rle: ``size`` and ``counts``, a list of lengths or COCO's compressed text.
        height, width: of the image.

    Raises:
        WrongMask: the size is another one, or the runs do not cover exactly this many pixels.
    """
    size, counts = rle.get('size'), rle.get('counts')
    if not (isinstance(size, list | tuple) and len(size) == 2 and all(is_integer(side) for side in size)):
        raise WrongMask(f'an RLE has size={shown(size)}; expected is [height, width]')
    if tuple(size) != (height, width):
        swapped = ', height and width swapped' if tuple(size) == (width, height) else ''
        raise WrongMask(f'an RLE has size={list(size)}, but its image has {height}x{width} pixels (HxW){swapped}')
    if isinstance(counts, str | bytes):
        runs = _decompressed(counts)
    elif isinstance(counts, list) and all(map(is_integer, counts)):
        try:
            runs = np.array(counts, np.int64)
        except OverflowError:
            raise WrongMask(f'an RLE has counts of absurd size: {shown(counts)}') from None
    else:
        raise WrongMask(f'an RLE has counts={shown(counts)}; expected are whole numbers or compressed text')
    if (runs < 0).any():
        raise WrongMask(f'an RLE has negative counts: {shown(runs.tolist())}')
    covered = int(sum(runs.tolist()))
    if covered != height * width:
        raise WrongMask(
            f'the counts of an RLE cover {covered} pixels, but its image has {height * width} '
            f'({height}x{width}); the RLE is cut off or of another image'
        )
    return runs


def _decompressed(counts: str | bytes) -> np.ndarray:
    """COCO's text as counts: 5 bits a character from 48 on, low ones first, a sixth bit where more follow; from the
    fourth count on, differences to the count before the last."""
    try:
        codes = np.frombuffer(counts.encode('ascii') if isinstance(counts, str) else counts, np.uint8).astype(np.int64)
    except UnicodeEncodeError:
        codes = np.array([-1])
    codes = codes - 48
    if not len(codes) or codes.min() < 0 or codes.max() > 63 or codes[-1] & 32:
        raise WrongMask(f'an RLE has counts={shown(counts)}, which is no compressed text of COCO')
    more = (codes & 32) > 0
    starts = np.flatnonzero(np.concatenate(([True], ~more[:-1])))
    lengths = np.diff(starts, append=len(codes))
    if lengths.max() > 7:  # more than 32 bits and a sign
        raise WrongMask(f'an RLE has counts={shown(counts)}, which is no compressed text of COCO')
    places = np.arange(len(codes)) - np.repeat(starts, lengths)
    values = np.add.reduceat((codes & 31) << (5 * places), starts)
    negative = (codes[starts + lengths - 1] & 16) > 0
    values[negative] -= np.int64(1) << (5 * lengths[negative])
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values


def is_integer(value: Any) -> bool:
    return type(value) is int or isinstance(value, Integral) and not isinstance(value, bool)


def is_finite(value: Any) -> bool:
    """Whether it is a number that a double can hold; JSON's integers may be larger."""
    if type(value) is float:
        return isfinite(value)
    return isinstance(value, Real) and not isinstance(value, bool) and abs(value) < 1e300


def is_id(value: Any) -> bool:
    """COCO's ids are integers; ADE20K's JSON has text for images."""
    return type(value) is int or isinstance(value, str) or is_integer(value)


def shown(value: Any, limit: int = 80) -> str:
    """A value as Python writes it, cut where it is long."""
    if isinstance(value, list | tuple | str | bytes):
        value = value[:limit]  # a list of a million numbers would be written out first
    text = repr(value)
    return text if len(text) <= limit else f'{text[:limit]}...'


def records(content: Mapping, key: str, file: str, what: str) -> Iterator[tuple[dict, str] | Fault]:
    """The records of a list, each with its name for messages; a fault for what is no record."""
    for number, record in enumerate(content[key]):
        if isinstance(record, dict):
            yield record, what_of(record, what, number)
        else:
            yield Fault(
                f'entries of {key} that are no records',
                file,
                f'{key}[{number}]',
                f'it is {shown(record)}, not a JSON object',
                _MEND,
            )


def what_of(record: Mapping, what: str, number: int) -> str:
    """How a message calls a record: by its id, else by its place in the list."""
    key = record.get('id')
    return f'{what} {key}' if is_id(key) else f'{what} number {number} of the list'


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
    for found in records(content, 'categories', file, 'category'):
        if isinstance(found, Fault):
            yield found
            continue
        category, where = found
        missing = [key for key in ('id', 'name') if key not in category]
        if missing:
            yield Fault(
                'categories that are not complete',
                file,
                where,
                f'category without {", ".join(missing)}: {shown(category)}',
                _MEND,
            )
            continue
        if not is_integer(category.get('id')):
            yield Fault('categories without an integer as id', file, where, f'id is {shown(category.get("id"))}', _MEND)
        elif category['id'] in ids:
            yield Fault(
                'category ids that occur twice',
                file,
                where,
                f'id {category["id"]} occurs twice, for '
                f'{shown(names[ids.index(category["id"])])} and {shown(category.get("name"))}',
                _MEND,
            )
        if not isinstance(category.get('name'), str) or not category['name'].strip():
            yield Fault('categories without a name', file, where, f'name is {shown(category.get("name"))}', _MEND)
            continue
        name = category['name'] if in_order else category['name'].strip()
        if name in names:
            yield Fault('category names that occur twice', file, where, f'{name!r} has several ids', _MEND)
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
        yield Fault('classes that are named twice', file, '', f'metainfo has classes={_names(asked)}', 'Name each once')
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
            f'it has no category {_names(missing)}, which metainfo asks for{": " + ", ".join(near) if near else ""}. '
            f'Categories of the file: {_names(names)}; classes of metainfo: {_names(classes)}',
            'Set metainfo=dict(classes=(...)) to names of the file',
        )
        return
    expected = [name for name in names if name in asked]
    if in_order and asked != expected:
        yield Fault(
            'classes in another order than in the file',
            file,
            '',
            f"metainfo has classes={_names(asked)}, the file's order is {_names(expected)}",
            "MMDetection numbers labels by the file's order, so names would go to wrong labels: list them so",
        )


def _names(names: Sequence[str], limit: int = 20) -> str:
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
    for found in records(content, key, file, what):
        if isinstance(found, Fault):
            yield found
            continue
        image, where = found
        missing = [name for name in ('id', names, 'height', 'width') if name not in image]
        if missing:
            yield Fault(
                f'{key} that are not complete',
                file,
                where,
                f'{what} without {", ".join(missing)}: {shown(image, 200)}',
                _MEND,
            )
            continue
        if not is_id(image['id']):
            yield Fault(f'{key} without an id', file, where, f'id is {shown(image["id"])}', _MEND)
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
            yield Fault(f'{key} without {names}', file, where, f'{names} is {shown(name)}', _MEND)
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


def coco_faults(
    content: Mapping, file: str, classes: Sequence[str] | None = None, with_masks: bool = True, training: bool = False
) -> Iterator[Fault]:
    """Everything that is wrong with COCO instance annotations, in one pass.

    Faults that would change a number are fatal. Annotations of images that are not listed, or of classes that are not
    asked for, are left out, which is said; see also ``complete_records``.

    Args:
        content: the JSON, with the lists ``images``, ``annotations`` and ``categories``, see ``io.read_json``.
        file: its path.
        classes: names in the metainfo; None for all of the file.
        with_masks: whether masks are read; otherwise objects need boxes alone.
        training: an object to learn from is needed.
    """
    yield from image_faults(content, file)
    yield from category_faults(content, file, classes, in_order=True)
    images = {
        image['id']: image
        for image in content['images']
        if isinstance(image, dict) and is_id(image.get('id')) and _has_size(image)
    }
    listed = {image.get('id') for image in content['images'] if isinstance(image, dict) and is_id(image.get('id'))}
    names = {
        category['id']: category.get('name')
        for category in content['categories']
        if isinstance(category, dict) and is_integer(category.get('id'))
    }
    asked = None if classes is None or isinstance(classes, str) else set(map(str, classes))
    seen: dict[Any, int] = {}
    usable = 0
    present = set()
    for number, annotation in enumerate(content['annotations']):
        faults = list(_annotation_faults(annotation, number, file, images, listed, names, asked, with_masks, seen))
        yield from faults
        if not faults and not annotation.get('iscrowd'):
            usable += 1
            present.add(annotation['category_id'])
    if training and not usable:
        yield no_object(file, len(content['annotations']))
    absent = [
        name
        for key, name in names.items()
        if key not in present and (asked is None or isinstance(name, str) and name in asked)
    ]
    if usable and absent:
        yield Fault('classes without any object', file, '', f'no object is a {_names(absent)}', fatal=False)


def no_object(file: str, annotations: int) -> Fault:
    return Fault(
        'no object to train on',
        file,
        '',
        f'none of its {annotations} annotations is an object to train on, '
        'that is, of one of the classes, in a listed image, no crowd and not empty',
        'Check image_id, category_id, iscrowd and bbox of the annotations',
    )


def _has_size(image: Mapping) -> bool:
    return all(is_integer(image.get(side)) and image[side] > 0 for side in ('height', 'width'))


def _annotation_faults(
    annotation: Any,
    number: int,
    file: str,
    images: Mapping,
    listed: set,
    names: Mapping,
    asked: set | None,
    with_masks: bool,
    seen: dict,
) -> Iterator[Fault]:
    """Of one annotation; ``seen`` remembers the ids."""
    if not isinstance(annotation, dict):
        yield Fault(
            'annotations that are no records',
            file,
            f'annotations[{number}]',
            f'it is {shown(annotation)}, not a JSON object',
            _MEND,
        )
        return
    where = what_of(annotation, 'annotation', number)
    key, image_id, category = (annotation.get(name) for name in ('id', 'image_id', 'category_id'))
    if not is_id(key):
        yield Fault('annotations without an id', file, where, f'id is {shown(key)}', _MEND)
    elif seen.setdefault(key, number) != number:
        yield Fault(
            'annotation ids that occur twice',
            file,
            where,
            f'annotations[{seen[key]}] and annotations[{number}] both have the id {key!r}',
            'Give each its own id',
        )
    if not is_id(image_id):
        yield Fault('annotations without image_id', file, where, f'image_id is {shown(image_id)}', _MEND)
        return
    if image_id not in listed:
        other = type(next(iter(listed))) if listed else None
        if other is not None and not isinstance(image_id, other):
            yield Fault(
                'annotations with an image_id of another type',
                file,
                where,
                f'image_id is {image_id!r}, but images have ids of type {other.__name__}',
                _MEND,
            )
        else:
            yield Fault(
                'annotations of images that the file does not list',
                file,
                where,
                f'its image {image_id!r} is not in the list, so it is left out',
                fatal=False,
            )
        return
    where = f'{where} of image {image_id}'
    if not is_integer(category):
        yield Fault('annotations without category_id', file, where, f'category_id is {shown(category)}', _MEND)
        return
    if category not in names:
        yield Fault(
            'annotations of categories that the file does not list', file, where, f'category_id is {category}', _MEND
        )
        return
    if asked is not None and names[category] not in asked:
        yield Fault(
            f'annotations of category {category}, {names[category]!r}, which is not among the classes',
            file,
            where,
            fatal=False,
        )
        return
    if annotation.get('iscrowd', 0) not in (0, 1):
        yield Fault(
            'odd values of iscrowd', file, where, f'iscrowd is {shown(annotation["iscrowd"])}; it is 0 or 1', _MEND
        )
    image = images.get(image_id)
    if image is None:  # the image has no size, which was said
        return
    yield from _extent_faults(annotation, image, file, where, with_masks)


def _extent_faults(annotation: Mapping, image: Mapping, file: str, where: str, with_masks: bool) -> Iterator[Fault]:
    """Of box, area and mask."""
    height, width = image['height'], image['width']
    if with_masks:
        if 'segmentation' not in annotation:
            yield Fault(
                'annotations without a mask',
                file,
                where,
                f'there is no segmentation; {_EXPECTED}',
                'Add it, or train on boxes alone: LoadAnnotations(with_mask=False)',
            )
            return
        try:
            check_segmentation(annotation['segmentation'], height, width)
        except WrongMask as error:
            yield Fault('masks that cannot be read', file, where, str(error), _MEND)
            return
    box, area = annotation.get('bbox'), annotation.get('area')
    if area is not None and not is_finite(area):
        yield Fault('areas that are no numbers', file, where, f'area is {shown(area)}', _MEND)
    if box is None and with_masks:
        return  # it is computed
    if not (isinstance(box, list) and len(box) == 4 and all(map(is_finite, box))):
        yield Fault(
            'boxes that are no boxes', file, where, f'bbox is {shown(box)}; expected is [x, y, width, height]', _MEND
        )
        return
    if min(box[2:]) < 0:
        yield Fault(
            'boxes of negative size', file, where, f'bbox is {shown(box)}; expected is [x, y, width, height]', _MEND
        )
    elif not with_masks and not _near(box, height, width):
        yield Fault(
            'boxes far outside of the image',
            file,
            where,
            f'bbox is {shown(box)}, the image has {height}x{width} pixels (HxW)',
            _MEND,
        )


def _near(box: Sequence[float], height: int, width: int) -> bool:
    """Whether a box is at most as far from an image as that is long."""
    x, y, box_width, box_height = box
    return -width <= x and x + box_width <= 2 * width and -height <= y and y + box_height <= 2 * height


def _empty(box: Sequence[float], height: int, width: int) -> bool:
    """Whether MMDetection leaves out an object of this box: it is less than a pixel long or wide, or outside."""
    x, y, box_width, box_height = box
    return (
        box_width < 1
        or box_height < 1
        or min(x + box_width, width) <= max(x, 0)
        or min(y + box_height, height) <= max(y, 0)
    )


def complete_records(
    content: Mapping,
    file: str,
    mask_area: Callable[[Any, int, int], float],
    mask_box: Callable[[Any, int, int], Sequence[float]],
    with_masks: bool = True,
) -> list[Fault]:
    """Compute area and box of annotations where a file has none or a mistaken one: an area that is not above 0, a box
    without extent around a mask that has one.

    Args:
        content: the JSON, without fatal faults; changed in place.
        file: its path.
        mask_area, mask_box: of a segmentation, and height and width of its image.
        with_masks: whether masks are read and were checked; otherwise areas are those of the boxes.

    Returns:
        What was computed, and which objects the data set leaves out, being empty.
    """
    sizes = {image['id']: (image['height'], image['width']) for image in content['images']}
    said = []
    for number, annotation in enumerate(content['annotations']):
        size = sizes[annotation['image_id']]
        mask = annotation.get('segmentation') if with_masks else None
        box, area = annotation.get('bbox'), annotation.get('area')
        if mask and (box is None or _empty(box, *size)):
            drawn = list(mask_box(mask, *size))
            if box is None or min(drawn[2:]) >= 2:  # what is thin in mask and box alike is left out, as elsewhere
                annotation['bbox'] = drawn
        if area is None or area <= 0:
            annotation['area'] = mask_area(mask, *size) if mask else float(np.prod(annotation['bbox'][2:]))
        for key, old in (('bbox', box), ('area', area)):
            if annotation.get(key) != old:
                said.append(
                    Fault(
                        COMPUTED[key],
                        file,
                        _where(annotation, number),
                        f'{key} is {shown(old)}, computed is {shown(annotation[key])}',
                        fatal=False,
                    )
                )
        reason = (
            'it is marked by ignore'
            if annotation.get('ignore')
            else f'bbox is {shown(annotation["bbox"])}'
            if _empty(annotation['bbox'], *size)
            else 'its mask draws no pixel'
            if annotation['area'] <= 0
            else ''
        )
        if reason:
            said.append(
                Fault(
                    'objects without extent in the image or marked by ignore, left out',
                    file,
                    _where(annotation, number),
                    f'left out, as {reason}',
                    fatal=False,
                )
            )
        elif _no_pixel(mask):
            said.append(
                Fault(
                    'objects with an empty mask',
                    file,
                    _where(annotation, number),
                    'no pixel is set in its RLE',
                    fatal=False,
                )
            )
    return said


def _where(annotation: Mapping, number: int) -> str:
    return f'{what_of(annotation, "annotation", number)} of image {annotation["image_id"]}'


def _no_pixel(mask: Any) -> bool:
    """Whether an RLE has no foreground; polygons are drawn too late to know."""
    if not isinstance(mask, Mapping):
        return False
    counts = mask['counts']
    return not (any(counts[1::2]) if isinstance(counts, list) else _decompressed(counts)[1::2].any())
