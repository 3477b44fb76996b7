"""Average precision of video instance segmentation, as YouTube-VIS's evaluation code defines it: COCO's, with objects
of a whole video in the place of objects of an image (Yang et al., "Video Instance Segmentation", section 3.2).

Here are the IoU of two sequences of masks, from sums of intersections and unions over all frames, and the size of an
object, its mean area in the frames that show it; pycocotools does the rest.

Shapes: D results and G objects of a video, T frames.
"""

from collections.abc import Sequence

import numpy as np
from pycocotools import mask as coco_masks
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from m2f_mm.structures import Track

AREAS = dict(all=(0, 1e5**2), small=(0, 128**2), medium=(128**2, 256**2), large=(256**2, 1e5**2))
MAX_RESULTS = (1, 10, 100)  # for each video
STATS = (
    'mAP',
    'mAP_50',
    'mAP_75',
    'mAP_s',
    'mAP_m',
    'mAP_l',
    'AR@1',
    'AR@10',
    'AR@100',
    'AR_s@100',
    'AR_m@100',
    'AR_l@100',
)


def video_average_precision(
    objects: Sequence[Track], results: Sequence[Track], videos: Sequence[int], num_classes: int
) -> dict[str, float]:
    """The numbers named in ``STATS``, in 0..1; -1 where there is no object.

    Args:
        objects: ground truth.
        results: predicted tracks.
        videos: ids of all that were evaluated.
        num_classes: C.
    """
    evaluation = VideoEvaluation(_coco(objects, videos, num_classes), _coco(results, videos, num_classes))
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return dict(zip(STATS, map(float, evaluation.stats)))


class VideoEvaluation(COCOeval):
    """pycocotools' evaluation of ``_coco`` sets, in which a video stands for an image."""

    def __init__(self, objects: COCO, results: COCO):
        super().__init__(objects, results, 'bbox')  # which leaves the annotations as they are
        self.params.areaRng = [list(area) for area in AREAS.values()]
        self.params.areaRngLbl = list(AREAS)
        self.params.maxDets = list(MAX_RESULTS)

    def computeIoU(self, imgId: int, catId: int) -> np.ndarray | list:
        """IoUs (D, G) of the results of a video and class, best first, with its objects."""
        objects, results = self._gts[imgId, catId], self._dts[imgId, catId]
        if not objects or not results:
            return []
        order = np.argsort([-result['score'] for result in results], kind='mergesort')[: self.params.maxDets[-1]]
        try:
            return sequence_iou([results[i]['masks'] for i in order], [each['masks'] for each in objects])
        except ValueError as error:
            raise ValueError(f'video {imgId}: {error}') from error


def sequence_iou(results: Sequence[Sequence[dict | None]], objects: Sequence[Sequence[dict | None]]) -> np.ndarray:
    """IoU (D, G) of every result with every object, each of them masks of T frames; 0 where both are empty.

    Raises:
        ValueError: one has another number of frames or another size.
    """
    lengths = {len(masks) for masks in (*results, *objects)}
    if len(lengths) > 1:
        raise ValueError(f'results and objects of a video have {sorted(lengths)} frames')
    both, total = np.zeros((2, len(results), len(objects)))
    for frame in range(lengths.pop()):
        result_masks, object_masks = (
            [(i, masks[frame]) for i, masks in enumerate(side) if masks[frame] is not None]
            for side in (results, objects)
        )
        sizes = {tuple(mask['size']) for _, mask in (*result_masks, *object_masks)}
        if len(sizes) > 1:
            raise ValueError(f'masks of frame {frame} have the sizes {sorted(sizes)} (H, W)')
        areas = [np.zeros(len(side)) for side in (results, objects)]
        for side, area in zip((result_masks, object_masks), areas):
            area[[i for i, _ in side]] = coco_masks.area([mask for _, mask in side]) if side else []
        sums = areas[0][:, None] + areas[1]
        if result_masks and object_masks:
            iou = np.asarray(
                coco_masks.iou(
                    [mask for _, mask in result_masks], [mask for _, mask in object_masks], [0] * len(object_masks)
                )
            )
            rows = np.ix_([i for i, _ in result_masks], [i for i, _ in object_masks])
            shared = np.zeros_like(sums)
            shared[rows] = np.round(iou * sums[rows] / (1 + iou))  # pixels: iou = shared / (sum - shared)
            both += shared
            sums -= shared
        total += sums
    return both / np.maximum(total, 1)


def _coco(tracks: Sequence[Track], videos: Sequence[int], num_classes: int) -> COCO:
    """Tracks as annotations of pycocotools."""
    annotations = []
    for number, track in enumerate(tracks, 1):
        areas = [area for area in coco_masks.area([mask for mask in track.masks if mask is not None]) if area]
        annotations.append(
            dict(
                id=number,
                image_id=track.video,
                category_id=track.label,
                score=track.score,
                iscrowd=int(track.crowd),
                area=float(np.mean(areas)) if areas else 0.0,
                masks=track.masks,
            )
        )
    coco = COCO()
    coco.dataset = dict(
        images=[dict(id=video) for video in videos],
        annotations=annotations,
        categories=[dict(id=label) for label in range(num_classes)],
    )
    coco.createIndex()
    return coco
