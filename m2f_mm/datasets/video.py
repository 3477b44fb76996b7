"""Data sets in the format of YouTube-VIS: a JSON of videos and of objects with a mask, or none, for each frame."""

from collections.abc import Sequence
from typing import Any

from mmengine.dataset import BaseDataset
from mmengine.fileio import join_path

from ..registry import DATASETS
from .categories import category_labels, distinct_colors
from .faults import raise_faults
from .io import read_json
from .video_records import video_faults
from .youtube_vis_categories import OVIS, YOUTUBE_VIS_2019, YOUTUBE_VIS_2021


@DATASETS.register_module()
class VideoInstanceDataset(BaseDataset):
    """Any data set in the format of YouTube-VIS, from the file as it is published; OVIS has the same.

    The classes are those of the JSON in the order of their ids, unless ``metainfo=dict(classes=(...))`` takes some of
    them; the objects of others are left out.

    Each item is a video as MMDetection's ``BaseVideoDataset`` gives it, so its transforms and its
    ``TrackAspectRatioBatchSampler`` fit:
    ``video_id``, ``video_length`` and ``images``, for each frame ``img_path``, ``img_id``, ``frame_id``, ``height``,
    ``width`` and ``instances``: of each object that is seen there ``mask`` (RLE or polygons), ``bbox``
    (x0, y0, x1, y1), ``bbox_label``, ``instance_id``, the id of the annotation, and ``ignore_flag`` (crowd). In
    training the pipeline gets such an item; in testing a dict of lists with an entry for each frame.

    Args:
        data_prefix: ``img_path`` is the folder that the file names in the JSON are relative to.
        filter_cfg: in training, ``filter_empty_gt=True`` leaves out videos without any object; the official recipe
            keeps them.
        backend_args: how to read files, see ``mmengine.fileio``.
        kwargs: see ``mmengine.dataset.BaseDataset``.

    Raises:
        FileNotFoundError: there is no annotation file.
        ValueError: the annotations contradict themselves or the metainfo; names file, video and annotation.
    """

    def __init__(
        self,
        ann_file: str,
        metainfo: dict | None = None,
        data_prefix: dict | None = None,
        backend_args: dict | None = None,
        **kwargs,
    ):
        self.backend_args = backend_args
        self._selected = 'classes' in (metainfo or {})
        super().__init__(ann_file=ann_file, metainfo=metainfo, data_prefix=data_prefix or dict(img_path=''), **kwargs)

    def load_data_list(self) -> list[dict]:
        """The videos of the JSON, see the class."""
        content = self._read()
        raise_faults(
            video_faults(
                content,
                self.ann_file,
                self._metainfo['classes'] if self._selected else None,
                training=not self.test_mode,
            )
        )
        labels = self._labels(content['categories'])
        objects = {}
        for annotation in content.get('annotations') or []:
            objects.setdefault(annotation['video_id'], []).append(annotation)
        items, number = [], 0
        for video in content['videos']:
            items.append(self._item(video, objects.get(video['id'], []), labels, number))
            number += len(video['file_names'])
        return items

    def _read(self) -> dict:
        needs = ('videos', 'categories') if self.test_mode else ('videos', 'annotations', 'categories')
        form = (
            "the format of YouTube-VIS (MMDetection's YouTubeVISDataset reads what its converter makes of the "
            'published file, this data set the file itself)'
        )
        return read_json(self.ann_file, 'video', form, needs, self.backend_args)

    def _labels(self, categories: Sequence[dict]) -> dict[int, int]:
        """Label of each category id, -1 for classes that are not selected; completes the metainfo."""
        categories = sorted(categories, key=lambda category: category['id'])
        if not self._selected:
            expected = self.METAINFO.get('classes')
            if expected is not None and len(expected) != len(categories):
                raise ValueError(
                    f'{self.ann_file} has {len(categories)} categories, but {type(self).__name__} has '
                    f'{len(expected)} classes: take VideoInstanceDataset for other classes'
                )
            self._metainfo['classes'] = tuple(category['name'] for category in categories)
        labels = category_labels(categories, self._metainfo['classes'], self.ann_file)
        ids = {label: category_id for category_id, label in labels.items() if label >= 0}
        self._metainfo['category_ids'] = tuple(ids[label] for label in range(len(ids)))
        self._metainfo.setdefault('palette', distinct_colors(len(ids)))
        return labels

    def _item(self, video: dict, annotations: Sequence[dict], labels: dict[int, int], number: int) -> dict:
        length = len(video['file_names'])
        frames = [
            dict(
                img_path=join_path(self.data_prefix.get('img_path', ''), name),
                img_id=number + t,
                frame_id=t,
                height=video['height'],
                width=video['width'],
                instances=[],
            )
            for t, name in enumerate(video['file_names'])
        ]
        for annotation in annotations:
            label = labels[annotation['category_id']]
            boxes = annotation.get('bboxes') or [None] * length
            for frame, mask, box in zip(frames, annotation['segmentations'], boxes if label >= 0 else ()):
                if mask:
                    x, y, width, height = box or (0, 0, video['width'], video['height'])
                    frame['instances'].append(
                        dict(
                            mask=mask,
                            bbox=[x, y, x + width, y + height],
                            bbox_label=label,
                            instance_id=annotation['id'],
                            ignore_flag=int(bool(annotation.get('iscrowd', False))),
                        )
                    )
        return dict(video_id=video['id'], video_length=length, images=frames)

    def filter_data(self) -> list[dict]:
        """The videos that ``filter_cfg`` leaves; at least one."""
        filter_empty = not self.test_mode and (self.filter_cfg or {}).get('filter_empty_gt', False)
        items = [
            item
            for item in self.data_list
            if item['images'] and not (filter_empty and not any(frame['instances'] for frame in item['images']))
        ]
        if not items:
            raise ValueError(
                f'{self.ann_file}: none of its {len(self.data_list)} videos is left: they have no frames, '
                f'or no objects and filter_cfg={self.filter_cfg}'
            )
        return items

    def prepare_data(self, idx: int) -> Any:
        """What the pipeline makes of a video: a training pipeline chooses frames, a test pipeline gets all."""
        item = self.get_data_info(idx)
        if not self.test_mode:
            return self.pipeline(item)
        length = len(item['images'])
        frames = [
            dict(frame, video_id=item['video_id'], video_length=length, ori_video_length=length)
            for frame in item['images']
        ]
        return self.pipeline({key: [frame[key] for frame in frames] for key in frames[0]})

    def get_cat_ids(self, idx: int) -> list[int]:
        """Labels in a video, which MMEngine's ``ClassBalancedDataset`` asks for."""
        return [
            instance['bbox_label'] for frame in self.get_data_info(idx)['images'] for instance in frame['instances']
        ]


@DATASETS.register_module()
class YouTubeVIS2019Dataset(VideoInstanceDataset):
    """YouTube-VIS 2019: 40 classes."""

    METAINFO = dict(classes=YOUTUBE_VIS_2019)


@DATASETS.register_module()
class YouTubeVIS2021Dataset(VideoInstanceDataset):
    """YouTube-VIS 2021: 40 classes, other ones."""

    METAINFO = dict(classes=YOUTUBE_VIS_2021)


@DATASETS.register_module()
class OVISDataset(VideoInstanceDataset):
    """OVIS, occluded video instance segmentation: 25 classes."""

    METAINFO = dict(classes=OVIS)
