"""Data of any format in the form that the data sets of this package read; the source stays as it is."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ..id_map import IdRuns
from ..io import encode_png, read_panoptic_png, refuse_inputs, write_file, write_json
from .parallel import parallel
from .records import ImageRecord, ObjectRecord, OwnData
from .run_lengths import coco_masks
from .splitting import training_splits


@dataclass
class SplitFiles:
    """What a config needs of one split; all paths are absolute.

    Args:
        ann_file: JSON of instances, segments or videos, or list of images.
        img_prefix: folder that the names of images in it start from.
        seg_prefix: folder of the label maps or panoptic PNGs; '' where there are none.
        images: how many there are.
        instances: JSON of the things, of a panoptic split for validation or test.
    """

    ann_file: str
    img_prefix: str
    seg_prefix: str
    images: int
    instances: str = ''


@dataclass
class TrainingForm:
    """What ``write_training_form`` wrote.

    Args:
        task: of ``TASKS``.
        classes: names, in the order of their labels; things first for panoptic training.
        thing_classes: those of them that are things, of panoptic training; () for other tasks.
        palette: RGB of each class.
        ignore_index: of label maps.
        splits: files of 'train', 'val' and, where there is one, 'test'.
        reason: how the splits came about.
    """

    task: str
    classes: tuple[str, ...]
    thing_classes: tuple[str, ...]
    palette: list[tuple[int, int, int]]
    ignore_index: int
    splits: dict[str, SplitFiles] = field(default_factory=dict)
    reason: str = ''

    @property
    def metainfo(self) -> dict:
        """The metainfo of the data sets."""
        metainfo: dict[str, Any] = dict(classes=self.classes, palette=self.palette)
        if self.task == 'panoptic':
            stuff = self.classes[len(self.thing_classes) :]
            metainfo.update(thing_classes=self.thing_classes, stuff_classes=stuff)
        return metainfo

    def dataset(self, split: str) -> dict:
        """Config of the data set of a split, without ``pipeline``; ``test_mode`` but for training."""
        files = self.splits[split]
        config: dict[str, Any] = dict(ann_file=files.ann_file, metainfo=self.metainfo, test_mode=split != 'train')
        if self.task == 'semantic':
            return dict(
                config,
                type='BaseSegDataset',
                data_prefix=dict(img_path=files.img_prefix, seg_map_path=files.seg_prefix),
                img_suffix='',  # the list of images has their whole names, as they may differ in it
                seg_map_suffix='.png',
                ignore_index=self.ignore_index,
            )
        if self.task == 'panoptic':
            prefix = dict(img=files.img_prefix, seg=files.seg_prefix)
            return dict(config, type='m2f_mm.PanopticDataset', data_prefix=prefix)
        if self.task == 'video':
            del config['metainfo']['palette']
            return dict(config, type='m2f_mm.VideoInstanceDataset', data_prefix=dict(img_path=files.img_prefix))
        return dict(config, type='m2f_mm.CocoDataset', data_prefix=dict(img=files.img_prefix))


def write_training_form(
    data: OwnData,
    folder: str,
    task: str | None = None,
    splits: Mapping[str, Sequence[ImageRecord]] | None = None,
    val_share: float = 0.2,
    seed: int = 0,
) -> TrainingForm:
    """Write annotations for training into a folder; images, and panoptic PNGs, are read where they lie.

    - instance and boxes: ``annotations/instances_SPLIT.json`` in COCO's form. Polygons stay polygons, all else is RLE.
    - semantic: ``annotations/SPLIT.txt``, a list of images, and ``label_maps/IMAGE.png``, 8 bits, 16 for more classes.
    - panoptic: ``annotations/panoptic_SPLIT.json`` beside the PNGs of the source.
    - video: ``annotations/videos_SPLIT.json`` in the form of YouTube-VIS.

    Args:
        data: of ``recognise``.
        folder: made where it is missing; not within the data. Each file is written whole or not at all.
        task: of ``data.tasks``; the first by default.
        splits: records by split; by default those of ``training_splits``.
        val_share: of a split that is not there, see ``split``.
        seed: the same.

    Raises:
        ValueError: the data do not allow the task, a split has nothing to learn from, or the folder lies in the data.
        OSError: a file cannot be written; names it.
    """
    task = data.task(task)
    folder = os.path.abspath(folder)
    refuse_inputs([folder], [data.folder], 'The training form', around=False)
    reason = 'as given'
    if splits is None:
        splits, reason = training_splits(data, val_share, seed)
    labels = data.labels_of(task)
    things = [label for label in labels if task == 'panoptic' and data.is_thing[label]]
    form = TrainingForm(
        task,
        tuple(data.classes[label] for label in labels),
        tuple(data.classes[label] for label in things),
        [tuple(data.palette[label]) for label in labels],
        data.ignore_index,
        reason=reason,
    )
    writers = dict(semantic=_write_semantic, panoptic=_write_panoptic, video=_write_videos)
    write = writers.get(task, partial(_write_instances, with_masks=task == 'instance'))
    for name, records in splits.items():
        form.splits[name] = write(data, records, labels, folder, name)
    return form


def common_folder(paths: Sequence[str]) -> str:
    """The innermost folder that has all the files in it."""
    return os.path.commonpath([os.path.dirname(path) for path in paths])


def _names(paths: Sequence[str], folder: str) -> list[str]:
    return [os.path.relpath(path, folder).replace(os.sep, '/') for path in paths]


def _images(records: Sequence[ImageRecord]) -> tuple[list[dict], str]:
    """COCO's records of images, and the folder that their names start from."""
    paths = [record.image for record in records]
    prefix = common_folder(paths)
    return [
        dict(id=number, file_name=name, height=record.size[0], width=record.size[1])
        for number, (name, record) in enumerate(zip(_names(paths, prefix), records), 1)
    ], prefix


def _write_instances(
    data: OwnData,
    records: Sequence[ImageRecord],
    labels: Sequence[int],
    folder: str,
    split: str,
    with_masks: bool = True,
) -> SplitFiles:
    images, prefix = _images(records)
    category = {label: number for number, label in enumerate(labels, 1)}
    annotations = []
    for image, objects in zip(images, parallel(data.objects, records)):
        size = image['height'], image['width']
        for each in objects:
            if each.has_mask or not with_masks:
                annotations.append(
                    dict(
                        id=len(annotations) + 1,
                        image_id=image['id'],
                        category_id=category[each.label],
                        iscrowd=int(each.is_crowd),
                        **_extent(each, size, with_masks),
                    )
                )
    if not annotations:
        raise ValueError(f'{data.folder}: none of the {len(records)} images for {split} has an object to learn')
    categories = [dict(id=number, name=data.classes[label]) for label, number in category.items()]
    path = os.path.join(folder, 'annotations', f'instances_{split}.json')
    write_json(path, dict(images=images, annotations=annotations, categories=categories))
    return SplitFiles(path, prefix, '', len(records))


def _extent(each: ObjectRecord, size: tuple[int, int], with_masks: bool) -> dict:
    """Box, area and mask of an object in COCO's form."""
    if not with_masks:
        x0, y0, x1, y1 = each.bounds(size)
        return dict(bbox=[x0, y0, x1 - x0, y1 - y0], area=(x1 - x0) * (y1 - y0))
    rle = each.as_rle(size)
    box, area = coco_masks().toBbox(rle).tolist(), int(coco_masks().area(rle))
    if each.polygons is not None and not each.is_crowd:
        return dict(bbox=box, area=area, segmentation=[polygon.reshape(-1).tolist() for polygon in each.polygons])
    return dict(bbox=box, area=area, segmentation=_text_rle(rle))


def _text_rle(rle: dict) -> dict:
    return dict(size=list(rle['size']), counts=rle['counts'].decode())


def _write_semantic(
    data: OwnData, records: Sequence[ImageRecord], labels: Sequence[int], folder: str, split: str
) -> SplitFiles:
    paths = [record.image for record in records]
    prefix = common_folder(paths)
    names = _names(paths, prefix)
    odd = [name for name in names if name != name.strip() or '\n' in name]
    if odd:
        raise ValueError(f'{data.folder}: the image {odd[0]!r} has blanks around its name: rename it and its label map')
    maps = os.path.join(folder, 'label_maps', split)
    for _ in parallel(partial(_write_map, data, maps), zip(records, names)):
        pass
    path = os.path.join(folder, 'annotations', f'{split}.txt')
    write_file(path, '\n'.join([*names, '']).encode())
    return SplitFiles(path, prefix, maps, len(records))


def _write_map(data: OwnData, folder: str, item: tuple[ImageRecord, str]) -> None:
    record, name = item
    write_file(os.path.join(folder, *f'{name}.png'.split('/')), encode_png(data.label_map(record)))


def _write_panoptic(
    data: OwnData, records: Sequence[ImageRecord], labels: Sequence[int], folder: str, split: str
) -> SplitFiles:
    images, prefix = _images(records)
    pngs = [str(record.panoptic) for record in records]
    seg_prefix = common_folder(pngs)
    category = {label: number for number, label in enumerate(labels, 1)}
    annotations = [
        dict(image_id=image['id'], file_name=name, segments_info=segments)
        for image, name, segments in zip(
            images, _names(pngs, seg_prefix), parallel(partial(_segments, category), records)
        )
    ]
    categories = [
        dict(id=number, name=data.classes[label], isthing=int(data.is_thing[label]), color=list(data.palette[label]))
        for label, number in category.items()
    ]
    path = os.path.join(folder, 'annotations', f'panoptic_{split}.json')
    write_json(path, dict(images=images, annotations=annotations, categories=categories))
    files = SplitFiles(path, prefix, seg_prefix, len(records))
    things = [label for label in labels if data.is_thing[label]]
    if split != 'train' and any(each.label in things for record in records for each in record.segments):
        files.instances = _write_instances(data, records, things, folder, split).ann_file
    return files


def _segments(category: Mapping[int, int], record: ImageRecord) -> list[dict]:
    runs = IdRuns(read_panoptic_png(str(record.panoptic)))
    return [
        dict(
            id=each.id,
            category_id=category[each.label],
            iscrowd=int(each.is_crowd),
            area=int(runs.lengths[runs.values == each.id].sum()),
        )
        for each in record.segments
    ]


def _write_videos(
    data: OwnData, records: Sequence[ImageRecord], labels: Sequence[int], folder: str, split: str
) -> SplitFiles:
    prefix = common_folder([record.image for record in records])
    category = {label: number for number, label in enumerate(labels, 1)}
    videos: dict[str, list[ImageRecord]] = {}
    for record in records:
        videos.setdefault(record.video, []).append(record)
    content: dict[str, list] = dict(videos=[], annotations=[])
    for number, frames in enumerate(videos.values(), 1):
        height, width = frames[0].size
        names = _names([frame.image for frame in frames], prefix)
        content['videos'].append(dict(id=number, file_names=names, height=height, width=width, length=len(frames)))
        tracks = {each.track: each for frame in frames for each in frame.objects}
        for track, first in tracks.items():
            shapes = [next((each for each in frame.objects if each.track == track), None) for frame in frames]
            extents = [each and _extent(each, (height, width), True) for each in shapes]
            content['annotations'].append(
                dict(
                    id=len(content['annotations']) + 1,
                    video_id=number,
                    category_id=category[first.label],
                    iscrowd=int(first.is_crowd),
                    segmentations=[each and _text_rle(each.as_rle((height, width))) for each in shapes],
                    bboxes=[each and each['bbox'] for each in extents],
                    areas=[each and each['area'] for each in extents],
                )
            )
    content['categories'] = [dict(id=number, name=data.classes[label]) for label, number in category.items()]
    path = os.path.join(folder, 'annotations', f'videos_{split}.json')
    write_json(path, content)
    return SplitFiles(path, prefix, '', len(records))
