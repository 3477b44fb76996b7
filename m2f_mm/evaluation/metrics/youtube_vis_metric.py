"""Video instance segmentation as a metric of MMEngine: YouTube-VIS's AP, and files for its servers and OVIS's."""

import io
import json
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger

from ...datasets.io import write_file
from ...datasets.segmentations import to_rle
from ...registry import METRICS
from ...structures import Track
from .completeness import require_each_once


@METRICS.register_module()
class YouTubeVISMetric(BaseMetric):
    """MMDetection's ``YouTubeVISMetric`` on any NumPy, whose objects have the sizes of their masks and not of their
    boxes, and whose files carry the categories' own ids.

    Reads ``pred_track_instances`` of every frame and the objects from the ``instances`` of its meta information, so the
    annotations of exactly the evaluated videos. Each video is reduced to RLE where it was predicted.

    Gives ``youtube_vis/segm_mAP`` and the others, in 0..1; -1 where there is no object to find.

    Args:
        metric: the stock option, 'youtube_vis_ap'.
        metric_items: which numbers to give, see ``video_ap.STATS``; all by default.
        outfile_prefix: also write the results, as ``{outfile_prefix}.json`` and, for the evaluation servers, in
            ``{outfile_prefix}.submission_file.zip`` as ``results.json``.
        format_only: write them and compute nothing, for videos without annotations.
        collect_device, prefix: see ``mmengine.evaluator.BaseMetric``.

    Raises:
        ValueError: no video has an annotation, and there is nothing to compare with.
    """

    default_prefix = 'youtube_vis'

    def __init__(
        self,
        metric: str | Sequence[str] = 'youtube_vis_ap',
        metric_items: Sequence[str] | None = None,
        outfile_prefix: str | None = None,
        format_only: bool = False,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ):
        super().__init__(collect_device=collect_device, prefix=prefix)
        unknown = set([metric] if isinstance(metric, str) else metric) - {'youtube_vis_ap'}
        if unknown:
            raise ValueError(f"metric must be 'youtube_vis_ap', got {metric!r}")
        from ..functional.video_ap import STATS  # needs pycocotools

        unknown = set(metric_items or ()) - set(STATS)
        if unknown:
            raise ValueError(f'metric_items are among {", ".join(STATS)}, got {", ".join(sorted(unknown))}')
        if format_only and not outfile_prefix:
            raise ValueError('YouTubeVISMetric(format_only=True) writes files only; say where with outfile_prefix=...')
        self.metric_items = tuple(metric_items or STATS)
        self.outfile_prefix = outfile_prefix
        self.format_only = format_only

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Take the tracks and objects of each video."""
        for sample in data_samples:
            frames = sample['video_data_samples']
            if len(frames) != frames[0].ori_video_length:
                raise ValueError(
                    f'video {frames[0].video_id} has {frames[0].ori_video_length} frames, but the results '
                    f'are of {len(frames)}: this metric wants whole videos (a sampler of videos, not '
                    'TrackImgSampler)'
                )
            self.results.append((frames[0].video_id, found_tracks(frames), annotated_tracks(frames)))

    def compute_metrics(self, results: list[tuple[int, list[Track], list[Track]]]) -> dict[str, float]:
        """The numbers of ``metric_items``, in 0..1."""
        from ..functional.video_ap import video_average_precision

        require_each_once([video for video, *_ in results], None, None)
        tracks, objects = ([track for result in results for track in result[side]] for side in (1, 2))
        if self.outfile_prefix:
            self._write(tracks)
        if self.format_only:
            return {}
        if not objects:
            raise ValueError(
                'no evaluated video has an annotation: give the data set those of a validation set, or '
                'the metric format_only=True to write results for an evaluation server'
            )
        numbers = video_average_precision(
            objects, tracks, [video for video, *_ in results], len(self.dataset_meta['classes'])
        )
        return {f'segm_{name}': numbers[name] for name in self.metric_items}

    def _write(self, tracks: Sequence[Track]) -> None:
        """Both files, each whole or not at all."""
        ids = self.dataset_meta.get('category_ids') or range(1, len(self.dataset_meta['classes']) + 1)
        content = json.dumps(
            [
                dict(
                    video_id=track.video,
                    category_id=ids[track.label],
                    score=track.score,
                    segmentations=[
                        None if mask is None else dict(size=mask['size'], counts=mask['counts'].decode())
                        for mask in track.masks
                    ],
                )
                for track in tracks
            ]
        ).encode()
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, 'w', zipfile.ZIP_DEFLATED) as file:
            file.writestr('results.json', content)
        write_file(f'{self.outfile_prefix}.json', content)
        write_file(f'{self.outfile_prefix}.submission_file.zip', archive.getvalue())
        MMLogger.get_current_instance().info(
            f'results are in {self.outfile_prefix}.json, and for an evaluation server '
            f'in {self.outfile_prefix}.submission_file.zip'
        )


def found_tracks(frames: Sequence) -> list[Track]:
    """Results of a video: of each ``instances_id`` its masks, the mean of its scores and its most frequent class."""
    from pycocotools import mask as coco_masks

    masks, scores, labels = {}, {}, {}
    for t, frame in enumerate(frames):
        predicted = frame.pred_track_instances
        rles = predicted.masks if isinstance(predicted.masks, list) else encoded(predicted.masks)
        for key, code, score, label in zip(
            predicted.instances_id.tolist(), rles, predicted.scores.tolist(), predicted.labels.tolist()
        ):
            masks.setdefault(key, [None] * len(frames))[t] = code if code['counts'] and coco_masks.area(code) else None
            scores.setdefault(key, []).append(score)
            labels.setdefault(key, []).append(label)
    return [
        Track(int(np.bincount(labels[key]).argmax()), masks[key], float(np.mean(scores[key])), frames[0].video_id)
        for key in masks
    ]


def annotated_tracks(frames: Sequence) -> list[Track]:
    """Objects of a video, by ``instance_id``; none where it has no annotations."""
    tracks = {}
    for t, frame in enumerate(frames):
        for instance in frame.get('instances', ()):
            track = tracks.setdefault(
                instance['instance_id'],
                Track(
                    instance['bbox_label'],
                    [None] * len(frames),
                    video=frame.video_id,
                    crowd=bool(instance.get('ignore_flag', False)),
                ),
            )
            track.masks[t] = to_rle(instance['mask'], *frame.ori_shape[:2])
    return list(tracks.values())


def encoded(masks: torch.Tensor | np.ndarray) -> list[dict]:
    """COCO's compressed RLE of bool masks (K, H, W)."""
    from pycocotools import mask as coco_masks

    bits = np.asarray(masks.cpu() if isinstance(masks, torch.Tensor) else masks, dtype=np.uint8)
    return [coco_masks.encode(np.asfortranarray(mask)) for mask in bits]
