"""Still images that become clips."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope
from pycocotools import mask as coco_masks

from m2f_mm.datasets import ClipFromImage

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'


def image_results(count=2):
    structures = pytest.importorskip('mmdet.structures.mask')
    image = np.zeros((60, 80, 3), np.uint8)
    masks = np.zeros((count, 60, 80), np.uint8)
    for i, mask in enumerate(masks):
        mask[20:40, 15 + 30 * i : 35 + 30 * i] = 1
        image[mask > 0] = 100 + 100 * i
    return dict(
        img=image,
        img_path='a.jpg',
        img_id=5,
        gt_masks=structures.BitmapMasks(masks, 60, 80),
        gt_bboxes_labels=np.arange(count),
        gt_ignore_flags=np.zeros(count, bool),
    )


def test_objects_move_with_their_pixels():
    np.random.seed(0)
    moved = False
    for _ in range(10):
        clip = ClipFromImage(num_frames=3)(image_results())
        assert clip['frame_id'] == [0, 1, 2] and clip['video_id'] == [5] * 3 and clip['video_length'] == [3] * 3
        for image, masks, ids, boxes in zip(
            *(clip[key] for key in ('img', 'gt_masks', 'gt_instances_ids', 'gt_bboxes'))
        ):
            assert image.shape == (60, 80, 3) and ids.tolist() == [0, 1]
            for i, (mask, box) in enumerate(zip(masks.masks, boxes.astype(int))):
                inside = cv2.erode(mask, np.ones((3, 3), np.uint8)) > 0
                assert (image[inside] == 100 + 100 * i).mean() > 0.95
                assert mask[box[1] : box[3], box[0] : box[2]].sum() == mask.sum()
        moved |= (clip['img'][0] != clip['img'][2]).mean() > 0.05
    assert moved


def test_motion_is_even():
    """A point of the second of three frames lies between those of the others, up to the turn."""
    np.random.seed(1)
    clip = ClipFromImage(3, rotation=0, scale=(1, 1), shift=0.15)(image_results(1))
    centres = np.array([np.argwhere(masks.masks[0]).mean(0) for masks in clip['gt_masks']])
    np.testing.assert_allclose(centres[1], (centres[0] + centres[2]) / 2, atol=1)
    assert np.abs(centres[2] - centres[0]).max() > 2


def test_an_image_that_stays():
    still = ClipFromImage(2, rotation=0, scale=(1, 1), shift=0)(image_results())
    for image, masks in zip(still['img'], still['gt_masks']):
        np.testing.assert_array_equal(image, image_results()['img'])
        np.testing.assert_array_equal(masks.masks, image_results()['gt_masks'].masks)


def test_no_objects():
    clip = ClipFromImage()(image_results(0))
    assert [len(masks) for masks in clip['gt_masks']] == [0, 0] and clip['gt_bboxes'][0].shape == (0, 4)


@pytest.mark.parametrize('options', [dict(num_frames=0), dict(scale=(0, 1)), dict(scale=(2, 1)), dict(rotation=-1)])
def test_wrong_options(options):
    with pytest.raises(ValueError, match='num_frames must be at least 1'):
        ClipFromImage(**options)


def test_the_base_makes_clips_of_coco(tmp_path):
    pytest.importorskip('mmdet.datasets')
    mask = np.zeros((40, 60), np.uint8, order='F')
    mask[10:30, 10:50] = 1
    code = coco_masks.encode(mask)
    annotation = dict(
        bbox=[10, 10, 40, 20], area=800, image_id=1, segmentation=dict(code, counts=code['counts'].decode())
    )
    (tmp_path / 'instances.json').write_text(
        json.dumps(
            dict(
                images=[dict(id=1, file_name='a.png', height=40, width=60)],
                categories=[dict(id=3, name='car')],
                annotations=[
                    dict(annotation, id=1, category_id=3, iscrowd=0),
                    dict(annotation, id=2, category_id=3, iscrowd=1),
                ],
            )
        )
    )
    cv2.imwrite(str(tmp_path / 'a.png'), np.full((40, 60, 3), 90, np.uint8))
    dataset = Config.fromfile(CONFIGS / '_base_' / 'datasets' / 'coco_clips.py').train_dataloader.dataset
    dataset.update(
        data_root=str(tmp_path), ann_file='instances.json', data_prefix=dict(img=''), metainfo=dict(classes=('car',))
    )
    with DefaultScope.overwrite_default_scope('mmdet'):
        packed = DATASETS.build(dataset)[0]
    assert packed['inputs'].shape[:2] == (2, 3) and packed['inputs'].shape[2] in (360, 480)
    for frame in packed['data_samples'].video_data_samples:
        assert frame.gt_instances.instances_ids.tolist() == [0] and frame.gt_instances.masks.masks.any()
