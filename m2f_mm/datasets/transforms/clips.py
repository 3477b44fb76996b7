"""Clips out of still images."""

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from ...boxes import box_of_mask
from ...registry import TRANSFORMS


@TRANSFORMS.register_module()
class ClipFromImage(BaseTransform):
    """Moves an image and its objects at random, so that an image becomes a clip: data sets of images, such as COCO,
    then pretrain video models or are trained on beside videos.

    The motion is affine and even: from a random pose to another one, each turned, scaled and shifted within the given
    bounds about the image's centre. What comes in from outside is grey, and belongs to nothing.

    Comes after loading and resizing, before ``PackClipInputs``. Needs ``img`` and what MMDetection's
    ``LoadAnnotations`` loads with masks; gives lists with an entry for each frame, and ``gt_instances_ids``.

    Args:
        num_frames: T.
        rotation: largest angle in degrees, to either side.
        scale: smallest and largest factor.
        shift: largest shift, in shares of height and width.
        pad_val: value of pixels from outside.
    """

    def __init__(
        self,
        num_frames: int = 2,
        rotation: float = 15.0,
        scale: tuple[float, float] = (0.8, 1.25),
        shift: float = 0.1,
        pad_val: int = 128,
    ):
        if num_frames < 1 or not 0 < scale[0] <= scale[1] or rotation < 0 or shift < 0:
            raise ValueError(
                'num_frames must be at least 1, scale an interval above 0, rotation and shift not '
                f'negative; got {num_frames}, {scale}, {rotation}, {shift}'
            )
        self.num_frames = num_frames
        self.rotation = rotation
        self.scale = scale
        self.shift = shift
        self.pad_val = pad_val

    def _pose(self) -> np.ndarray:
        """Angle, logarithm of the scale, shift in x and y."""
        return np.array(
            [
                np.random.uniform(-self.rotation, self.rotation),
                np.random.uniform(*np.log(self.scale)),
                *np.random.uniform(-self.shift, self.shift, 2),
            ]
        )

    def transform(self, results: dict) -> dict:
        """Results of an image to those of a clip, with lists of frames."""
        height, width = results['img'].shape[:2]
        first, last = self._pose(), self._pose()
        frames = []
        for share in np.linspace(0, 1, self.num_frames):
            angle, log_scale, x, y = first + share * (last - first)
            matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, float(np.exp(log_scale)))
            matrix[:, 2] += x * width, y * height
            frames.append(self._moved(results, matrix))
        path = results.get('img_path', '')
        for t, frame in enumerate(frames):
            frame.update(
                frame_id=t,
                video_id=results.get('img_id', path),
                video_length=self.num_frames,
                ori_video_length=self.num_frames,
            )
        return {key: [frame[key] for frame in frames] for key in frames[0]}

    def _warped(self, image: np.ndarray, matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        return cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR, borderValue=(self.pad_val,) * 3)

    def _moved(self, results: dict, matrix: np.ndarray) -> dict:
        size = results['img'].shape[1::-1]
        image = results['img']
        if image.shape[2:] == (3,):
            moved = self._warped(image, matrix, size)
        else:  # OpenCV drops the axis of one channel, and pads no more than four
            planes = [self._warped(plane, matrix, size) for plane in np.atleast_3d(image).transpose(2, 0, 1)]
            moved = np.stack(planes, -1).reshape(image.shape)
        frame = dict(results, img=moved)
        if 'gt_masks' not in results:
            return frame
        from mmdet.structures.mask import BitmapMasks

        masks = results['gt_masks'].to_ndarray()
        moved = np.zeros(masks.shape, np.uint8)
        for mask, place in zip(masks, moved):
            cv2.warpAffine(mask.astype(np.uint8), matrix, size, dst=place, flags=cv2.INTER_NEAREST)
        frame['gt_masks'] = BitmapMasks(moved, *masks.shape[1:]) if len(masks) else results['gt_masks']
        frame['gt_bboxes'] = np.array([box_of_mask(mask) for mask in moved], np.float32).reshape(-1, 4)
        frame['gt_instances_ids'] = np.arange(len(masks), dtype=np.int32)
        return frame

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(num_frames={self.num_frames}, rotation={self.rotation}, scale={self.scale}, '
            f'shift={self.shift}, pad_val={self.pad_val})'
        )
