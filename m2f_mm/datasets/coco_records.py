"""The records of COCO's instance annotations, checked before any other library reads them.

Every record of a file is looked at once; ``coco_faults`` says what is wrong.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .faults import Fault
from .json_records import MEND, is_finite, is_id, is_integer, shown, what_of
from .record_faults import category_faults, image_faults, listed_names
from .segmentations import EXPECTED, WrongMask, check_segmentation


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
    first_with_id: dict[Any, int] = {}
    usable = 0
    present = set()
    for number, annotation in enumerate(content['annotations']):
        faults = list(
            annotation_faults(annotation, number, file, images, listed, names, asked, with_masks, first_with_id)
        )
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
        yield Fault('classes without any object', file, '', f'no object is a {listed_names(absent)}', fatal=False)


def no_object(file: str, annotations: int) -> Fault:
    """Of a file without any annotation that a training would use."""
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


def annotation_faults(
    annotation: Any,
    number: int,
    file: str,
    images: Mapping,
    listed: set,
    names: Mapping,
    asked: set | None,
    with_masks: bool,
    first_with_id: dict,
) -> Iterator[Fault]:
    """Of one annotation.

    Args:
        annotation: of the list.
        number: its place there.
        file: path of the JSON, for messages.
        images: records of the images that have a size, by id.
        listed: ids of all images.
        names: of the categories, by id.
        asked: names of the classes that are read; None for all.
        with_masks: whether its mask is read.
        first_with_id: place of the first annotation of each id; is added to.
    """
    if not isinstance(annotation, dict):
        yield Fault(
            'annotations that are no records',
            file,
            f'annotations[{number}]',
            f'it is {shown(annotation)}, not a JSON object',
            MEND,
        )
        return
    where = what_of(annotation, 'annotation', number)
    key, image_id, category = (annotation.get(name) for name in ('id', 'image_id', 'category_id'))
    if not is_id(key):
        yield Fault('annotations without an id', file, where, f'id is {shown(key)}', MEND)
    elif first_with_id.setdefault(key, number) != number:
        yield Fault(
            'annotation ids that occur twice',
            file,
            where,
            f'annotations[{first_with_id[key]}] and annotations[{number}] both have the id {key!r}',
            'Give each its own id',
        )
    if not is_id(image_id):
        yield Fault('annotations without image_id', file, where, f'image_id is {shown(image_id)}', MEND)
        return
    if image_id not in listed:
        other = type(next(iter(listed))) if listed else None
        if other is not None and not isinstance(image_id, other):
            yield Fault(
                'annotations with an image_id of another type',
                file,
                where,
                f'image_id is {image_id!r}, but images have ids of type {other.__name__}',
                MEND,
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
        yield Fault('annotations without category_id', file, where, f'category_id is {shown(category)}', MEND)
        return
    if category not in names:
        yield Fault(
            'annotations of categories that the file does not list', file, where, f'category_id is {category}', MEND
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
            'odd values of iscrowd', file, where, f'iscrowd is {shown(annotation["iscrowd"])}; it is 0 or 1', MEND
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
                f'there is no segmentation; {EXPECTED}',
                'Add it, or train on boxes alone: LoadAnnotations(with_mask=False)',
            )
            return
        try:
            check_segmentation(annotation['segmentation'], height, width)
        except WrongMask as error:
            yield Fault('masks that cannot be read', file, where, str(error), MEND)
            return
    box, area = annotation.get('bbox'), annotation.get('area')
    if area is not None and not is_finite(area):
        yield Fault('areas that are no numbers', file, where, f'area is {shown(area)}', MEND)
    if box is None and with_masks:
        return  # it is computed
    if not (isinstance(box, list) and len(box) == 4 and all(map(is_finite, box))):
        yield Fault(
            'boxes that are no boxes', file, where, f'bbox is {shown(box)}; expected is [x, y, width, height]', MEND
        )
        return
    if min(box[2:]) < 0:
        yield Fault(
            'boxes of negative size', file, where, f'bbox is {shown(box)}; expected is [x, y, width, height]', MEND
        )
    elif not with_masks and not _near(box, height, width):
        yield Fault(
            'boxes far outside of the image',
            file,
            where,
            f'bbox is {shown(box)}, the image has {height}x{width} pixels (HxW)',
            MEND,
        )


def _near(box: Sequence[float], height: int, width: int) -> bool:
    """Whether a box is at most as far from an image as that is long."""
    x, y, box_width, box_height = box
    return -width <= x and x + box_width <= 2 * width and -height <= y and y + box_height <= 2 * height
