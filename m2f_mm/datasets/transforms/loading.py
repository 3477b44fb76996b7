"""Images, and panoptic PNGs as one map of segment numbers that OpenMMLab's geometric transforms can move."""

import warnings

import numpy as np
import torch
from mmcv.transforms import BaseTransform, LoadImageFromFile

from ...boxes import box_of_mask
from ...registry import TRANSFORMS
from ..id_map import FIRST_SEGMENT, IGNORE, MAX_SEGMENTS, IdRuns, positions
from ..image_files import check_image_size
from ..label_maps import check_size, read_label_map, renumber
from ..panoptic_files import PanopticIds, shared_panoptic_ids
from .stock_types import TakenForStock

_MISMATCH = ('error', 'warn', 'ignore', 'empty')


@TRANSFORMS.register_module()
class LoadImage(LoadImageFromFile, metaclass=TakenForStock):
    """mmcv's ``LoadImageFromFile``, whose errors always name the file, also for empty ones.

    Grey-scale, four-channel and 16-bit files become BGR uint8 (H, W, 3), as there; ``color_type='unchanged'`` keeps
    channels and depth, and ``imdecode_backend='tifffile'`` with it reads TIFFs of any number of channels.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be decoded, has values that are not finite, or has another size than ``height`` and
            ``width`` of the results say.
    """

    taken_for = 'LoadImageFromFile'

    def transform(self, results: dict) -> dict | None:
        """Results with ``img`` and its sizes."""
        try:
            results = super().transform(results)
        except FileNotFoundError:
            raise
        except Exception as error:  # whatever the decoder raises: OpenCV's own errors, assertions of mmcv
            raise ValueError(
                f'{results["img_path"]} is not a readable image ({error}); is it complete? Replace it, '
                f'or take it out of the annotations'
            ) from error
        if results is None:
            return None
        image = results['img']
        if image.dtype.kind == 'f' and not np.isfinite(image).all():
            raise ValueError(
                f'{results["img_path"]} has {np.count_nonzero(~np.isfinite(image))} values that are not '
                'finite (NaN or infinite): one of them spoils a whole batch. Fill them, or take the file '
                'out of the annotations'
            )
        check_image_size(results)
        return results


@TRANSFORMS.register_module()
class LoadLabelMap(BaseTransform):
    """MMSegmentation's ``LoadAnnotations`` for label maps of up to 16 bits; that one keeps 8 of them.

    Needs ``seg_map_path`` and adds ``gt_seg_map`` uint16 (H, W), so that padding may be 65535, and ``seg_fields``.
    ``reduce_zero_label`` and ``label_map`` of the data set are applied, see ``label_maps.renumber``. An image that
    comes without a data set (OpenMMLab's inferencers) passes untouched.

    Args:
        backend_args: how to read files, see ``mmengine.fileio``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is broken, in color, lossy, or of another size than its image; names the file.
    """

    def __init__(self, backend_args: dict | None = None):
        self.backend_args = backend_args

    def transform(self, results: dict) -> dict:
        """Results with ``gt_seg_map``."""
        if results.get('seg_map_path') is None:
            return results
        path = results['seg_map_path']
        seg_map = read_label_map(path, self.backend_args)
        if 'ori_shape' in results:
            check_size(path, seg_map.shape, results.get('img_path', 'its image'), results['ori_shape'])
        labels = renumber(seg_map, bool(results.get('reduce_zero_label')), results.get('label_map'))
        results['gt_seg_map'] = labels.astype(np.uint16)
        results.setdefault('seg_fields', []).append('gt_seg_map')
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(backend_args={self.backend_args!r})'


@TRANSFORMS.register_module()
class LoadPanopticSegments(BaseTransform, metaclass=TakenForStock):
    """Load the segments of an image as one map, whatever their number.

    Of records of MMDetection's own ``CocoPanopticDataset``, which do not tell crowds from stuff, it gives what
    ``LoadPanopticAnnotations`` gives.

    Needs ``seg_map_path``, ``segments_info``, ``void_ids``, ``height`` and ``width`` of ``PanopticDataset``. Adds

    - ``gt_seg_map`` uint16 (H, W): 256 + i at segment i, 255 at void, crowd and classes that are not asked for;
    - ``gt_segment_labels`` int64 (N,): label of each segment that is not crowd;
    - ``seg_fields``: says to OpenMMLab's transforms that there is a map to move;
    - ``panoptic_ids``: the ids of the PNG, for metrics, where ``PackPanopticInputs`` has it among its ``meta_keys``.

    An image that comes without a data set (OpenMMLab's inferencers) passes untouched.

    Args:
        mismatch: what to do when the JSON and the PNG name different ids: 'error', 'warn' or 'ignore'. With the latter
            two, ids that only the PNG has are void, and segments that only the JSON has are left out. 'empty' is for
            annotations that list what lies completely behind something else (ADE20K): segments without a pixel stay,
            as in the official code; ids that only the PNG has are an error.
        backend_args: how to read files, see ``mmengine.fileio``.
        with_mask: always True; ``sahi`` looks for it in a config, to see that there are masks.

    Raises:
        FileNotFoundError: there is no such PNG.
        ValueError: the PNG cannot be read, PNG or image has another size than the JSON says, or the PNG other
            segments.
    """

    taken_for = 'LoadPanopticAnnotations'

    def __init__(self, mismatch: str = 'error', backend_args: dict | None = None, with_mask: bool = True):
        if mismatch not in _MISMATCH:
            raise ValueError(f'mismatch must be one of {_MISMATCH}, got {mismatch!r}')
        if not with_mask:
            raise ValueError(f'{type(self).__name__}: with_mask=False is not possible, its segments are masks')
        self.mismatch = mismatch
        self.backend_args = backend_args

    def transform(self, results: dict) -> dict:
        """Results with the segments, see the class."""
        if 'seg_map_path' not in results:  # an inferencer gives an image and nothing else
            return results
        runs, segments = self._read(results)
        if 'void_ids' not in results:
            return stock_annotations(results, runs, segments)
        if runs is None:
            seg_map = np.full((results['height'], results['width']), IGNORE, np.uint16)
        else:
            index = positions(runs.values, np.array([segment['id'] for segment in segments], np.int32))
            seg_map = runs.replace(np.where(index < 0, IGNORE, index + FIRST_SEGMENT).astype(np.uint16))
        results['gt_seg_map'] = seg_map
        results['gt_segment_labels'] = np.array([segment['category'] for segment in segments], np.int64)
        results.setdefault('seg_fields', []).append('gt_seg_map')
        return results

    def _read(self, results: dict) -> tuple[IdRuns | None, list[dict]]:
        """Ids of the PNG, None of an image without annotation, and the segments without crowds."""
        path = results['seg_map_path']
        shape = (results['height'], results['width'])
        segments = [segment for segment in results['segments_info'] if not segment.get('iscrowd', False)]
        if len(segments) > MAX_SEGMENTS:
            raise ValueError(f'{path} has {len(segments)} segments, more than the {MAX_SEGMENTS} that fit into a map')
        if results.get('ori_shape', shape) != shape:
            raise ValueError(
                f'{results["img_path"]} is {results["ori_shape"]} pixels (H, W), but its JSON says '
                f'{shape}; has the image been scaled, or does its EXIF tag turn it?'
            )
        if path is None:
            return None, segments
        runs = shared_panoptic_ids(path, self.backend_args)
        results['panoptic_ids'] = PanopticIds(path, runs)
        if runs.shape != shape:
            raise ValueError(
                f'{path} is {runs.shape[0]}x{runs.shape[1]} pixels (HxW), but its JSON says {shape[0]}x{shape[1]}'
            )
        if 'void_ids' not in results:  # MMDetection's data set does not list what it leaves out
            return runs, segments
        return runs, self._check(runs, segments, results)

    def _check(self, runs: IdRuns, segments: list, results: dict) -> list:
        """The segments to keep, after comparing PNG and JSON as ``mismatch`` says."""
        present = set(runs.ids().tolist()) - {0}
        listed = {segment['id'] for segment in results['segments_info']} | set(results['void_ids'])
        if present == listed or self.mismatch == 'empty' and present < listed:
            return segments
        if self.mismatch != 'ignore':
            message = (
                f'{results["seg_map_path"]} and its JSON disagree: segment ids {sorted(present - listed)[:10]} '
                f'are only in the PNG, {sorted(listed - present)[:10]} only in the JSON. Mend the annotation, or '
                f"pass LoadPanopticSegments(mismatch='warn') to go on without them"
            )
            if self.mismatch in ('error', 'empty'):
                raise ValueError(message)
            warnings.warn(message, stacklevel=2)
        return [segment for segment in segments if segment['id'] in present]

    def __repr__(self) -> str:
        return f'{type(self).__name__}(mismatch={self.mismatch!r})'


@TRANSFORMS.register_module()
class LoadPanopticAnnotations(LoadPanopticSegments):
    """MMDetection's loader of that name without ``panopticapi`` and with the checks of ``LoadPanopticSegments``.

    Adds ``gt_masks``, ``gt_bboxes``, ``gt_bboxes_labels`` and ``gt_ignore_flags`` of the things and ``gt_seg_map``, the
    class of every pixel, 255 at void and crowds. Boxes are those of the masks.

    Args:
        with_bbox, with_label, with_mask, with_seg, box_type: as in MMDetection.
        imdecode_backend: the stock option, without use.
        backend_args, mismatch: see ``LoadPanopticSegments``.
    """

    def __init__(
        self,
        with_bbox: bool = True,
        with_label: bool = True,
        with_mask: bool = True,
        with_seg: bool = True,
        box_type: str | None = 'hbox',
        imdecode_backend: str = 'cv2',
        backend_args: dict | None = None,
        mismatch: str = 'error',
    ):
        super().__init__(mismatch, backend_args)
        self.left_out = {
            key
            for given, keys in (
                (with_bbox, ('gt_bboxes', 'gt_ignore_flags')),
                (with_label, ('gt_bboxes_labels',)),
                (with_mask, ('gt_masks',)),
                (with_seg, ('gt_seg_map',)),
            )
            if not given
            for key in keys
        }
        self.box_type = box_type

    def transform(self, results: dict) -> dict:
        """Results with the annotations, see the class."""
        if 'seg_map_path' not in results:
            return results
        results = stock_annotations(results, *self._read(results), self.box_type)
        for key in self.left_out:
            del results[key]
        return results


def stock_annotations(results: dict, runs: IdRuns | None, segments: list[dict], box_type: str | None = 'hbox') -> dict:
    """Results with what MMDetection's ``LoadPanopticAnnotations`` adds, see there.

    Args:
        results: has ``height`` and ``width``.
        runs: ids of the PNG, None of an image without annotation.
        segments: with ``id``, ``category`` and ``is_thing``.
        box_type: MMDetection's name of a type of boxes, None for an array.
    """
    from mmdet.structures.bbox import get_box_type
    from mmdet.structures.mask import BitmapMasks

    height, width = results['height'], results['width']
    beyond = [segment['category'] for segment in segments if segment['category'] >= IGNORE]
    if beyond:
        raise ValueError(
            f'{results["seg_map_path"]}: class {beyond[0]} does not fit into a map whose void is '
            f'{IGNORE}; take LoadPanopticSegments and PackPanopticInputs of m2f_mm for so many classes'
        )
    things = [segment for segment in segments if segment['is_thing'] and runs is not None]
    masks = [runs.replace((runs.values == segment['id']).astype(np.uint8)) for segment in things]
    boxes = np.array([box_of_mask(mask) for mask in masks], np.float32).reshape(-1, 4)
    seg_map = np.full((height, width), IGNORE, np.int32)
    if runs is not None:
        index = positions(runs.values, np.array([segment['id'] for segment in segments], np.int32))
        labels = np.array([segment['category'] for segment in segments] + [IGNORE], np.int32)
        seg_map = runs.replace(labels[index])
    results.update(
        gt_masks=BitmapMasks(masks, height, width),
        gt_bboxes=boxes if box_type is None else get_box_type(box_type)[1](boxes, dtype=torch.float32),
        gt_bboxes_labels=np.array([segment['category'] for segment in things], np.int64),
        gt_ignore_flags=np.zeros(len(things), bool),
        gt_seg_map=seg_map,
    )
    return results
