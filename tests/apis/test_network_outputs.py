"""Results of kept network outputs are those of ``predict``, to the last bit; the network runs once."""

import numpy as np
import pytest

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')

from m2f_mm.apis.segmenter import Segmenter
from m2f_mm.heads import head_of
from tests.helpers.mask_dino_models import NETWORK
from tests.helpers.small_models import DETECTOR, SEGMENTOR, thin_config, write_checkpoint


@pytest.fixture(scope='module')
def segmenters(tmp_path_factory):
    folder = tmp_path_factory.mktemp('models')
    return {
        name: Segmenter(write_checkpoint(folder / f'{i}.pth', name)) for i, name in enumerate((DETECTOR, SEGMENTOR))
    }


IMAGE = np.random.default_rng(5).integers(0, 256, (50, 70, 3), np.uint8)
CASES = [
    (DETECTOR, 'panoptic', {}),
    (DETECTOR, 'panoptic', dict(object_mask_thr=0.2, iou_thr=0.5)),
    (DETECTOR, 'instance', {}),
    (DETECTOR, 'instance', dict(score_thr=0.05, max_per_image=7)),
    (DETECTOR, 'semantic', {}),
    (SEGMENTOR, 'semantic', {}),
]


def assert_equal(one, other):
    assert one.kind == other.kind and one.name == other.name and one.image is not other.image
    assert one.to_dict() == other.to_dict()
    for key in ('panoptic', 'semantic'):
        first, second = getattr(one, key), getattr(other, key)
        assert (first is None) == (second is None) and (first is None or np.array_equal(first, second))


@pytest.mark.parametrize('model, task, options', CASES)
def test_as_predict(segmenters, model, task, options):
    segmenter = segmenters[model]
    kept = segmenter.network_output(IMAGE)
    segmenter(np.zeros_like(IMAGE))  # what another image gives changes nothing
    assert_equal(segmenter.result_of(kept, task, **options), segmenter(IMAGE, task, **options))


def test_the_network_runs_once(segmenters):
    segmenter = segmenters[DETECTOR]
    calls = []
    hook = head_of(segmenter.model).register_forward_hook(lambda *_: calls.append(1))
    try:
        kept = segmenter.network_output(IMAGE)
        numbers = [len(segmenter.result_of(kept, 'panoptic', object_mask_thr=each)) for each in (0.0, 0.5, 0.99)]
        segmenter.result_of(kept, 'semantic')
    finally:
        hook.remove()
    assert len(calls) == 1 and numbers[0] > numbers[-1] and numbers == sorted(numbers, reverse=True)
    assert len(kept.masks.predictions) == 1  # the last layer alone
    features = kept.masks.predictions.mask_features
    assert IMAGE.nbytes + features.nbytes < kept.num_bytes < IMAGE.nbytes + 2 * features.nbytes


@pytest.mark.parametrize('task', ['boxes', 'instance', 'panoptic'])
def test_boxes_of_mask_dino(tmp_path, task):
    """A head that predicts boxes, too."""
    cfg = thin_config()
    network = dict(NETWORK, in_channels=[8, 16, 32, 64])
    cfg.model.panoptic_head = dict(
        type='m2f_mm.MaskDINOHead', num_things_classes=4, num_stuff_classes=3, denoising_queries=0, **network
    )
    cfg.model.update(train_cfg=dict(num_points=100))
    segmenter = Segmenter(write_checkpoint(tmp_path / 'dino.pth', cfg=cfg))
    assert 'boxes' in segmenter.tasks
    assert_equal(segmenter.result_of(segmenter.network_output(IMAGE), task), segmenter(IMAGE, task))


def test_wrong_options(segmenters):
    segmenter = segmenters[DETECTOR]
    kept = segmenter.network_output(IMAGE)
    with pytest.raises(ValueError, match='did you mean score_thr'):
        segmenter.result_of(kept, 'instance', scor_thr=0.5)
    with pytest.raises(ValueError, match='predicts panoptic, instance, semantic'):
        segmenter.result_of(kept, 'boxes')
    with pytest.raises(ValueError, match='is not one image'):
        segmenter.network_output([IMAGE, IMAGE])
