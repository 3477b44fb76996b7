"""The records of COCO's panoptic annotations, checked before anything is read from a PNG."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from .faults import Fault
from .json_records import MEND, is_finite, is_id, is_integer, records, shown
from .record_faults import category_faults, image_faults

MAX_ID = (1 << 24) - 1  # R + 256 G + 65536 B


def panoptic_faults(content: Mapping, file: str, classes: Sequence[str] | None = None) -> Iterator[Fault]:
    """Everything that is wrong with a COCO panoptic JSON, in one pass.

    Args:
        content: the JSON, with the lists ``images`` and ``categories``, and ``annotations`` where there are some.
        file: its path.
        classes: names in the metainfo; None for all of the file.
    """
    yield from image_faults(content, file)
    yield from category_faults(content, file, classes)
    for record in records(content, 'categories', file, 'category'):
        if not isinstance(record, Fault) and record[0].get('isthing', 0) not in (0, 1):
            yield Fault(
                'odd values of isthing',
                file,
                record[1],
                f'isthing is {shown(record[0]["isthing"])}; it is 0 or 1',
                MEND,
            )
    listed = {image.get('id') for image in content['images'] if isinstance(image, dict) and is_id(image.get('id'))}
    categories = {
        category.get('id')
        for category in content['categories']
        if isinstance(category, dict) and is_integer(category.get('id'))
    }
    images: dict[Any, int] = {}
    pngs: dict[str, int] = {}
    unlisted = []
    for number, annotation in enumerate(content.get('annotations', ())):
        if not isinstance(annotation, dict):
            yield Fault(
                'annotations that are no records',
                file,
                f'annotations[{number}]',
                f'it is {shown(annotation)}, not a JSON object',
                MEND,
            )
            continue
        image_id, name = annotation.get('image_id'), annotation.get('file_name')
        where = f'annotation of image {image_id!r}' if is_id(image_id) else f'annotations[{number}]'
        missing = [key for key in ('image_id', 'file_name', 'segments_info') if key not in annotation]
        if missing:
            yield Fault(
                'annotations that are not complete',
                file,
                where,
                f'annotation without {", ".join(missing)}: {shown(annotation, 200)}',
                MEND,
            )
            continue
        if image_id not in listed if is_id(image_id) else True:
            unlisted.append(image_id)
        elif images.setdefault(image_id, number) != number:
            yield Fault(
                'two annotations for one image',
                file,
                where,
                f'there are two annotations for image {image_id!r}',
                'Join them, or give the images ids of their own',
            )
        fault = name_fault(name, file, where)
        if fault:
            yield fault
        elif pngs.setdefault(name, number) != number:
            yield Fault(
                'PNGs with two annotations',
                file,
                where,
                f'{name} is the PNG of annotations[{pngs[name]}], too',
                'Each image has a PNG of its own',
            )
        yield from _segment_faults(annotation, file, f'segments of {name}', categories)
    if unlisted:
        types = sorted({type(key).__name__ for key in listed})
        yield Fault(
            'annotations of images that are not listed',
            file,
            '',
            f'it annotates images that it does not list: {unlisted[:10]}'
            + (f' (ids of images are of type {", ".join(types)})' if listed else ''),
            MEND,
        )


def name_fault(name: Any, file: str, where: str) -> Fault | None:
    """Of a file name in a JSON, which must stay below the folder that the config names."""
    if not isinstance(name, str) or not name.strip() or '\0' in name:
        return Fault('annotations without file_name', file, where, f'file_name is {shown(name)}', MEND)
    windows = PureWindowsPath(name)
    if PurePosixPath(name).is_absolute() or windows.drive or windows.root or '..' in windows.parts:
        return Fault(
            'file names outside of their folder',
            file,
            where,
            f'file_name is {name!r}, which leads out of the folder that the config names',
            'Write it relative to that folder',
        )
    return None


def _segment_faults(annotation: Mapping, file: str, where: str, categories: set) -> Iterator[Fault]:
    """Of the segments of one image."""
    name, segments = annotation['file_name'], annotation['segments_info']
    if not isinstance(segments, list) or not all(isinstance(segment, dict) for segment in segments):
        yield Fault(
            'segments_info that are no lists of segments', file, where, f'segments_info is {shown(segments)}', MEND
        )
        return
    ids = Counter(segment['id'] for segment in segments if is_integer(segment.get('id')))
    wrong = [key for key, count in ids.items() if count > 1 or not 0 < key <= MAX_ID]
    if wrong:
        yield Fault(
            'segment ids that are not unique or too large',
            file,
            '',
            f'segment ids {wrong[:10]} of {name} occur twice or lie outside of 1..{MAX_ID}',
            MEND,
        )
    for segment in segments:
        key, category = segment.get('id'), segment.get('category_id')
        missing = [key for key in ('id', 'category_id') if key not in segment]
        if missing:
            yield Fault(
                'segments that are not complete',
                file,
                '',
                f'segment of {name} without {", ".join(missing)}: {shown(segment)}',
                MEND,
            )
        elif not is_integer(key):
            yield Fault(
                'segment ids that are no integers', file, '', f'a segment of {name} has the id {shown(key)}', MEND
            )
        elif category not in categories if is_integer(category) else True:
            yield Fault(
                'segments of categories that the file does not list',
                file,
                '',
                f'segment {key} of {name} has category {shown(category)}, which is not among the categories of '
                'the file',
                MEND,
            )
        elif segment.get('iscrowd', 0) not in (0, 1):
            yield Fault(
                'odd values of iscrowd',
                file,
                '',
                f'segment {key} of {name} has iscrowd={shown(segment["iscrowd"])}; it is 0 or 1',
                MEND,
            )
        elif segment.get('area') is not None and not is_finite(segment['area']):
            yield Fault(
                'areas that are no numbers',
                file,
                '',
                f'segment {key} of {name} has area={shown(segment["area"])}',
                MEND,
            )
