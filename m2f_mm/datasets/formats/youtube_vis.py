"""Videos in the format of YouTube-VIS."""

from collections.abc import Mapping
from typing import Any

from ..json_records import is_id
from ..video_records import video_faults
from .coco import class_labels, image_folders, usable_images
from .folder import Folder, split_of_file
from .options import Options
from .records import ImageRecord, ObjectRecord, OwnData
from .shapes import polygon_array, rle_of


def read_youtube_vis(folder: Folder, options: Options) -> OwnData | None:
    """The videos of all JSONs of this form in a folder, a record for each frame; None where there is none."""
    files = [(name, content) for name, content in folder.jsons() if _is_videos(content)]
    if not files:
        return None
    files.sort(key=lambda file: split_of_file(file[0]) == '')
    data = OwnData(
        folder.root, 'YouTube-VIS', f'{files[0][0]} has the list videos', ('video', 'instance', 'boxes'), [], []
    )
    taken: set[str] = set()
    for name, content in files:
        if not isinstance(content.get('annotations'), list) or not content['annotations']:
            data.notes.append(f'{name} has no annotations and is left out.')
            continue
        _read_file(folder, data, name, content, taken)
    return data


def _is_videos(content: Any) -> bool:
    return isinstance(content, dict) and all(isinstance(content.get(key), list) for key in ('videos', 'categories'))


def _read_file(folder: Folder, data: OwnData, name: str, content: Mapping, taken: set[str]) -> None:
    path = folder.path(name)
    labels = class_labels(data, content, name, path)
    videos = usable_images(folder, content, name, 'videos', 'file_names')
    faults = list(video_faults(content, path))
    known = set(folder.faults)
    folder.faults.extend(fault for fault in faults if fault not in known)
    fatal = any(fault.fatal for fault in faults)
    split = split_of_file(name)
    near = image_folders(name, split, [video['file_names'][0] for video in videos[:20] if video['file_names']], folder)
    frames: dict[Any, list[ImageRecord]] = {}
    for video in videos:
        records = _frames(folder, name, video, near, split)
        if any(record.image in taken for record in records):
            data.notes.append(f'{name}: video {video["id"]} has frames of another one, too, and is left out.')
        elif records:
            taken.update(record.image for record in records)
            frames[video['id']] = records
            data.records.extend(records)
    alone = {video['id']: video for video in videos}
    for track, annotation in enumerate(content['annotations']):
        if fatal and not _is_whole(annotation, alone, content, path):
            continue
        if annotation['video_id'] not in frames:
            continue
        label, crowd = labels[annotation['category_id']], bool(annotation.get('iscrowd', 0))
        for record, mask in zip(frames[annotation['video_id']], annotation['segmentations']):
            if mask:
                shape = (
                    dict(polygons=[polygon_array(each) for each in mask])
                    if isinstance(mask, list)
                    else dict(rle=rle_of(mask, record.size))
                )
                record.objects.append(ObjectRecord(label, is_crowd=crowd, track=track, **shape))


def _frames(folder: Folder, name: str, video: Mapping, near: list[str], split: str) -> list[ImageRecord]:
    """Records of the frames of a video, none where one of them is missing or broken."""
    records = []
    for file_name in video['file_names']:
        file = folder.find_image(file_name, near)
        if file is None:
            folder.missing_image(name, f'video {video["id"]}', file_name)
        elif size := folder.size(file, (video['height'], video['width'])):
            records.append(ImageRecord(file, size, split, video=f'{name}:{video["id"]}'))
    return records if len(records) == len(video['file_names']) else []


def _is_whole(annotation: Any, videos: Mapping, content: Mapping, path: str) -> bool:
    """Whether one annotation, alone, is without a fatal fault."""
    if not isinstance(annotation, dict) or not is_id(annotation.get('video_id')):
        return False
    video = videos.get(annotation['video_id'])
    if video is None:
        return False
    return not any(fault.fatal for fault in video_faults(dict(content, videos=[video], annotations=[annotation]), path))
