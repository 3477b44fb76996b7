"""The records of annotations in the format of YouTube-VIS, checked in one pass before anything is drawn."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .faults import Fault
from .json_records import MEND, is_finite, is_id, is_integer, shown
from .record_faults import category_faults, image_faults
from .segmentations import WrongMask, check_segmentation


def video_faults(
    content: Mapping, file: str, classes: Sequence[str] | None = None, training: bool = False
) -> Iterator[Fault]:
    """Everything that is wrong with the annotations of videos.

    Args:
        content: the JSON, with the lists ``videos`` and ``categories``, and ``annotations`` or none.
        file: its path.
        classes: names in the metainfo; None for all of the file.
        training: an object to learn from is needed.
    """
    yield from image_faults(content, file, 'videos', 'file_names')
    yield from category_faults(content, file, classes)
    videos = {video['id']: video for video in content['videos'] if isinstance(video, dict) and is_id(video.get('id'))}
    names = {
        category['id']: str(category.get('name')).strip()
        for category in content['categories']
        if isinstance(category, dict) and is_integer(category.get('id'))
    }
    annotations = content.get('annotations') or []
    unlisted: list[Any] = []
    first_with_id: dict[int, int] = {}
    present = set()
    for number, annotation in enumerate(annotations):
        faults = list(_annotation_faults(annotation, number, file, videos, names, first_with_id, unlisted))
        yield from faults
        if not faults and not annotation.get('iscrowd') and any(annotation['segmentations']):
            present.add(names[annotation['category_id']])
    if unlisted:
        yield Fault(
            'annotations of videos that the file does not list',
            file,
            '',
            f'it annotates videos that it does not list: {unlisted[:10]}',
            'List them, or take these out',
        )
    asked = (
        list(names.values()) if classes is None or isinstance(classes, str) else [str(name).strip() for name in classes]
    )
    absent = [name for name in asked if name not in present]
    if training and len(absent) == len(asked):
        yield Fault(
            'no object to train on',
            file,
            '',
            f'none of its {len(annotations)} annotations is an object to '
            'train on, that is, of one of the classes, no crowd, and seen in a frame',
            'Check video_id, category_id, iscrowd and segmentations of the annotations',
        )
    elif training and absent:
        yield Fault(
            'classes without any object', file, '', f'no object is a {", ".join(map(repr, absent[:20]))}', fatal=False
        )


def _annotation_faults(
    annotation: Any,
    number: int,
    file: str,
    videos: Mapping,
    names: Mapping,
    first_with_id: dict[int, int],
    unlisted: list,
) -> Iterator[Fault]:
    """Of one annotation; ``seen`` remembers the ids, ``unlisted`` the videos that are not there."""
    if not isinstance(annotation, dict):
        yield Fault(
            'annotations that are no records',
            file,
            f'annotations[{number}]',
            f'it is {shown(annotation)}, not a JSON object',
            MEND,
        )
        return
    missing = [key for key in ('id', 'video_id', 'category_id', 'segmentations') if key not in annotation]
    if missing:
        yield Fault(
            'annotations that are not complete',
            file,
            f'annotations[{number}]',
            f'annotation without {", ".join(missing)}: {shown(annotation, 200)}',
            MEND,
        )
        return
    key, video_id, category = annotation['id'], annotation['video_id'], annotation['category_id']
    if not is_integer(key) or not -1 << 31 <= key < 1 << 31:
        yield Fault(
            'annotation ids that are no 32-bit integers',
            file,
            f'annotations[{number}]',
            f'id is {shown(key)}',
            'Number the annotations',
        )
    elif first_with_id.setdefault(key, number) != number:
        yield Fault(
            'annotation ids that occur twice',
            file,
            f'annotations[{number}]',
            f'it has the id {key} of annotations[{first_with_id[key]}]',
            'Give each its own id',
        )
    where = f'annotation {shown(key)} of video {shown(video_id)}'
    if not is_id(video_id) or video_id not in videos:
        if video_id not in unlisted:
            unlisted.append(video_id)
    elif not is_integer(category) or category not in names:
        yield Fault(
            'annotations of categories that the file does not list',
            file,
            '',
            f'{where} has category {shown(category)}, which is not among the categories of the file',
            MEND,
        )
    else:
        yield from _frame_faults(annotation, videos[video_id], file, where)


def _frame_faults(annotation: Mapping, video: Mapping, file: str, where: str) -> Iterator[Fault]:
    """Of what an annotation says of each frame."""
    if annotation.get('iscrowd', 0) not in (0, 1):
        yield Fault(
            'odd values of iscrowd', file, where, f'iscrowd is {shown(annotation["iscrowd"])}; it is 0 or 1', MEND
        )
    frames, size = video.get('file_names'), (video.get('height'), video.get('width'))
    if not isinstance(frames, list) or not all(is_integer(side) and side > 0 for side in size):
        return  # which was said
    masks, boxes = annotation['segmentations'], annotation.get('bboxes')
    for key, what, values in (('segmentations', 'masks', masks), ('bboxes', 'boxes', boxes)):
        if key == 'bboxes' and values is None:
            continue
        if not isinstance(values, list):
            yield Fault(
                f'{key} that are no lists',
                file,
                where,
                f'{key} is {shown(values)}; expected is a list with '
                'an entry for each frame, null where the object is not seen',
                MEND,
            )
        elif len(values) != len(frames):
            yield Fault(
                f'{key} of another number of frames',
                file,
                where,
                f'it has {what} for {len(values)} frames, the video has {len(frames)}',
                MEND,
            )
    if not isinstance(masks, list) or len(masks) != len(frames):
        return
    for t, (name, mask) in enumerate(zip(frames, masks)):
        if not mask and (mask is None or isinstance(mask, list | dict)):  # not seen
            continue
        try:
            check_segmentation(mask, *size)
        except WrongMask as error:
            yield Fault('masks that cannot be read', file, f'{where}, frame {t} ({name})', str(error), MEND)
    for t, box in enumerate(boxes if isinstance(boxes, list) else ()):
        if box and not (isinstance(box, list) and len(box) == 4 and all(map(is_finite, box))):
            yield Fault(
                'boxes that are no boxes',
                file,
                f'{where}, frame {t}',
                f'bbox is {shown(box)}; expected is [x, y, width, height]',
                MEND,
            )
