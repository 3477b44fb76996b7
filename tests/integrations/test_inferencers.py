"""OpenMMLab's own inference interfaces on our configs: an image without annotations."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from tests.helpers.small_data import skip_unless_mmseg_draws

CONFIGS = Path(__file__).resolve().parents[2] / 'configs' / 'demo'
IMAGE = np.random.RandomState(0).randint(0, 255, (48, 64, 3), np.uint8)


def test_mmdet_inference():
    apis = pytest.importorskip('mmdet.apis')
    config = Config.fromfile(CONFIGS / 'mask2former_r18_shapes-panoptic.py')
    model = apis.init_detector(config, device='cpu')
    result = apis.inference_detector(model, IMAGE)
    assert result.pred_panoptic_seg.sem_seg.shape == (1, 48, 64)
    assert result.pred_instances.masks.shape[1:] == (48, 64)


def test_mmseg_inference():
    apis = pytest.importorskip('mmseg.apis')
    config = Config.fromfile(CONFIGS / 'mask2former_r18_shapes-semantic.py')
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = apis.init_model(config, device='cpu')
        result = apis.inference_model(model, IMAGE)
    assert result.pred_sem_seg.data.shape == (1, 48, 64)


def test_metainfo_in_the_wrong_order_is_told(tmp_path):
    """Mask AP of MMDetection counts classes in the order of the JSON."""
    from m2f_mm.datasets import PanopticDataset
    from m2f_mm.datasets.converters.shapes import write_shapes
    from m2f_mm.datasets.shapes import STUFF, THINGS, ShapesSpec

    write_shapes(str(tmp_path / 'shapes'), ShapesSpec(height=64, width=64), 0, 1, 1, progress=False)
    things = THINGS[::-1]
    with pytest.warns(UserWarning, match='not in the order of the category ids'):
        PanopticDataset(
            str(tmp_path / 'shapes' / 'annotations' / 'panoptic_train.json'),
            data_prefix=dict(img=str(tmp_path / 'shapes' / 'img_dir' / 'train'), seg=str(tmp_path)),
            metainfo=dict(classes=things + STUFF, thing_classes=things, stuff_classes=STUFF),
        )


@pytest.fixture
def images(tmp_path):
    """Files of two sizes, one of them grey, and the same as arrays."""
    cv2 = pytest.importorskip('cv2')
    (tmp_path / 'images').mkdir()
    cv2.imwrite(str(tmp_path / 'images' / 'a.png'), IMAGE)
    cv2.imwrite(str(tmp_path / 'images' / 'b.png'), IMAGE[:32, :, 0])
    return tmp_path / 'images'


@pytest.fixture(scope='module')
def det_inferencer():
    apis = pytest.importorskip('mmdet.apis')

    def make(**test_cfg):
        torch.manual_seed(0)
        config = Config.fromfile(CONFIGS / 'mask2former_r18_shapes-panoptic.py')
        config.model.backbone.init_cfg = None
        config.model.test_cfg.update(test_cfg)
        return apis.DetInferencer(config, device='cpu', show_progress=False)

    return make


@pytest.mark.smoke
@pytest.mark.parametrize(
    'test_cfg',
    [dict(), dict(instance_masks='rle'), dict(instance_masks='rle', score_thr=1.0)],
    ids=['bitmaps', 'RLE', 'nothing found'],
)
def test_det_inferencer(det_inferencer, images, tmp_path, test_cfg):
    """Panoptic maps without panopticapi, instances in both forms, for every form of image, alone and in batches."""
    inferencer = det_inferencer(object_mask_thr=0.01, iou_thr=0.0, **test_cfg)
    names = sorted(str(path) for path in images.iterdir())
    single = inferencer(names[0])['predictions'][0]
    for inputs in (IMAGE, names, str(images)):
        first = inferencer(inputs, batch_size=2)['predictions'][0]
        assert first.keys() == single.keys() == {'labels', 'scores', 'bboxes', 'masks', 'panoptic_seg'}
        assert first['panoptic_seg'].shape == (48, 64, 3) and first['panoptic_seg'].dtype == np.uint8
        assert len(first['masks']) == len(first['labels']) == len(single['labels'])
        assert all(mask['size'] == [48, 64] and isinstance(mask['counts'], str) for mask in first['masks'])
    sample = inferencer(IMAGE, return_datasamples=True)['predictions'][0]
    ids = sample.pred_panoptic_seg.sem_seg[0].numpy()
    ids[ids % 1000 == len(inferencer.model.dataset_meta['classes'])] = 0
    assert np.array_equal(inferencer(IMAGE)['predictions'][0]['panoptic_seg'].astype(int) @ (1, 256, 65536), ids)
    for inputs, expected in (
        (names, ['a.json', 'a_panoptic_seg.png', 'b.json', 'b_panoptic_seg.png']),
        (IMAGE, ['0.json', '0_panoptic_seg.png']),
    ):
        out = tmp_path / str(type(inputs).__name__)
        inferencer(inputs, out_dir=str(out), no_save_pred=False)
        assert sorted(path.name for path in (out / 'preds').iterdir()) == expected


@pytest.mark.parametrize('masks', ['bitmap', 'rle'])
def test_supervision(det_inferencer, masks):
    """Its own reader takes instances in both forms; ours also panoptic maps, and gives names."""
    sv = pytest.importorskip('supervision', reason='optional: pip install --no-deps supervision pydeprecate defusedxml')
    from m2f_mm.apis.supervision import to_supervision

    inferencer = det_inferencer(instance_masks=masks, object_mask_thr=0.01, iou_thr=0.0)
    classes = [f'class {label}' for label in range(inferencer.model.panoptic_head.num_classes)]
    sample = inferencer(IMAGE, return_datasamples=True)['predictions'][0]
    stock, ours = sv.Detections.from_mmdetection(sample), to_supervision(sample, classes)
    assert len(stock) == len(ours) > 0 and np.array_equal(stock.mask, ours.mask) and ours.mask.dtype == bool
    assert ours.data['class_name'].tolist() == [classes[label] for label in stock.class_id]
    del sample.pred_instances
    segments = to_supervision(sample, classes)
    assert len(segments) > 0 and segments.mask.shape[1:] == (48, 64) and (segments.mask.sum(0) <= 1).all()
    with pytest.raises(ValueError, match='neither pred_instances nor pred_panoptic_seg'):
        to_supervision(sample.new(data={}), classes)


@pytest.mark.parametrize('name', ['panoptic', 'instance'])
@pytest.mark.parametrize('masks', ['bitmap', 'rle'])
def test_sahi(tmp_path, name, masks):
    sahi = pytest.importorskip('sahi', reason='optional: pip install --no-deps sahi fire pybboxes')
    from sahi.predict import get_prediction

    config = Config.fromfile(CONFIGS / f'mask2former_r18_shapes-{name}.py')
    config.model.backbone.init_cfg = None
    config.model.test_cfg.instance_masks = masks
    config.dump(tmp_path / 'config.py')
    model = sahi.AutoDetectionModel.from_pretrained(
        'mmdet', config_path=str(tmp_path / 'config.py'), device='cpu', confidence_threshold=0.0
    )
    objects = get_prediction(IMAGE, model).object_prediction_list
    assert model.has_mask and objects and all(each.mask is not None for each in objects)


def test_segmentor_inferencer_of_several_sizes():
    """Each image as if it were alone."""
    apis = pytest.importorskip('mmseg.apis')
    skip_unless_mmseg_draws()
    torch.manual_seed(0)
    config = Config.fromfile(CONFIGS / 'mask2former_r18_shapes-semantic.py')
    config.model.backbone.init_cfg = None
    inferencer = apis.MMSegInferencer(config, device='cpu', show_progress=False)
    images = [IMAGE, IMAGE[:32], IMAGE[:, :40]]
    together = inferencer(images, batch_size=2)['predictions']
    for image, labels in zip(images, together):
        assert np.array_equal(labels, inferencer(image)['predictions']) and labels.shape == image.shape[:2]
        with DefaultScope.overwrite_default_scope('mmseg'):
            (sample,) = apis.inference_model(inferencer.model, [image])
        assert np.array_equal(sample.pred_sem_seg.data[0].numpy(), labels)
