"""MMSegmentation's own Mask2Former, built from its own installed config, against ours: one line of it changed."""

import pytest
import torch

from tests.helpers.recorded_random import RecordedPoints, Replay
from tests.helpers.tiny_models import (
    SEMANTIC_CLASSES,
    assert_close,
    assert_same_gradients,
    build_segmentor,
    mmseg_config,
    semantic_batch,
    step,
)

pytest.importorskip('mmseg')
pytest.importorskip('mmdet', reason='mmseg builds its Mask2Former from parts of mmdet')
WIDER = ((64, 96), (64, 96))  # sizes that need no padding
PADDED = ((57, 90), (57, 90))


def our_config():
    model = mmseg_config()
    model.decode_head.type = 'm2f_mm.Mask2FormerSegHead'
    return model


def our_segmentor(**options):
    model = our_config()
    model.type = 'm2f_mm.MaskSegmentor'
    model.update(options)
    return build_segmentor(model)


@pytest.fixture(scope='module')
def stock():
    import mmdet.models  # noqa: F401  the config's custom_imports

    return build_segmentor(mmseg_config())


@pytest.fixture(scope='module')
def ours():
    return build_segmentor(our_config())


@pytest.mark.smoke
def test_checkpoints_load_in_both_directions(stock, ours):
    assert {key: value.shape for key, value in stock.state_dict().items()} == {
        key: value.shape for key, value in ours.state_dict().items()
    }
    ours.load_state_dict(stock.state_dict(), strict=True)
    stock.load_state_dict(ours.state_dict(), strict=True)


def test_every_layer(stock, ours):
    data = stock.data_preprocessor(semantic_batch(), True)
    with torch.no_grad():
        features = stock.eval().extract_feat(data['inputs'])
        class_logits, masks = stock.decode_head(features, data['data_samples'])
        predictions = ours.decode_head.train()(features)
    assert predictions.num_layers == len(class_logits) == 5
    for layer, (logits, mask) in enumerate(zip(class_logits, masks)):
        assert_close(predictions.class_logits[layer], logits, 1e-4, f'class logits of layer {layer}')
        assert_close(torch.stack(predictions.mask_logits(layer))[:, :, 0], mask, 1e-4, f'masks of layer {layer}')


def test_loss_and_gradients(monkeypatch):
    """With models of its own: mmseg's config leaves the statistics of the batch norms to the batch."""
    stock, ours = build_segmentor(mmseg_config()), build_segmentor(our_config())
    ours.decode_head.criterion.draw = points = RecordedPoints()
    losses = step(ours.train(), semantic_batch())
    replay = Replay(points.in_order(range(5)))
    monkeypatch.setattr(torch, 'rand', replay)
    expected = step(stock.train(), semantic_batch())
    assert not replay.values, 'the stock head drew fewer points'
    assert losses.keys() == expected.keys()
    for name in losses:
        assert_close(losses[name], expected[name].squeeze(), 1e-4, name)
    assert_same_gradients(ours, stock)


def predict(model, sizes, **metainfo):
    model.eval()
    data = model.data_preprocessor(semantic_batch(sizes), False)
    for sample in data['data_samples']:
        sample.set_metainfo(metainfo)
    with torch.no_grad():
        return model.predict(data['inputs'], data['data_samples'])


def assert_same_labels(actual, expected):
    for mine, theirs in zip(actual, expected):
        mine, theirs = mine.pred_sem_seg.data, theirs.pred_sem_seg.data
        assert mine.shape == theirs.shape and mine.dtype == theirs.dtype
        assert len(theirs.unique()) > 1, 'nothing to compare'
        assert float((mine != theirs).float().mean()) < 2e-3


@pytest.mark.smoke
@pytest.mark.parametrize('sizes', [WIDER, PADDED], ids=['no padding', 'padded'])
def test_results(stock, ours, sizes):
    actual, expected = predict(ours, sizes), predict(stock, sizes)
    assert_same_labels(actual, expected)
    for mine, theirs in zip(actual, expected):
        assert_close(mine.seg_logits.data, theirs.seg_logits.data, 1e-4, 'scores')


@pytest.mark.parametrize('sizes', [WIDER, PADDED], ids=['no padding', 'padded'])
@pytest.mark.parametrize('flip', [None, 'horizontal', 'vertical'])
def test_our_segmentor(ours, sizes, flip):
    """The label map without the (classes, H, W) map is the label map with it."""
    metainfo = dict(flip=flip is not None, flip_direction=flip)
    actual = predict(our_segmentor(), sizes, **metainfo)
    assert all('seg_logits' not in sample for sample in actual)
    assert_same_labels(actual, predict(ours, sizes, **metainfo))


def test_our_segmentor_refuses_padding_before_the_image():
    with pytest.raises(ValueError, match=r'image_0\.jpg is padded by 3 on the left'):
        predict(our_segmentor(), WIDER, img_padding_size=(3, 0, 0, 0))


@pytest.mark.parametrize('type', ['EncoderDecoder', 'm2f_mm.MaskSegmentor'])
def test_slide_inference(ours, type):
    """Crops of the whole image, and of it alone: one crop that covers it is whole inference."""
    cfg = our_config()
    cfg.type = type
    cfg.test_cfg = dict(mode='slide', crop_size=(30, 62), stride=(17, 31))  # no multiples of 4
    sliding = predict(build_segmentor(cfg), WIDER)
    assert sliding[0].seg_logits.data.shape == (SEMANTIC_CLASSES, 42, 64)

    cfg.test_cfg = dict(mode='slide', crop_size=(64, 96), stride=(64, 96))
    covered, whole = predict(build_segmentor(cfg), WIDER), predict(ours, WIDER)
    for mine, theirs in zip(covered, whole):
        assert_close(mine.seg_logits.data, theirs.seg_logits.data, 1e-5, 'scores')


def test_slide_inference_is_the_mean_of_its_crops(ours):
    """Each crop is an image of its own, wherever the sizes of the whole are still written."""
    cfg = our_config()
    cfg.test_cfg = dict(mode='slide', crop_size=(64, 64), stride=(64, 32))
    model = build_segmentor(cfg).eval()
    data = model.data_preprocessor(semantic_batch(), False)
    with torch.no_grad():
        actual = model.inference(data['inputs'], [sample.metainfo for sample in data['data_samples']])
        total, count = torch.zeros_like(actual), torch.zeros_like(actual)
        for left in (0, 32):
            crop = data['inputs'][..., left : left + 64]
            meta = [dict(img_shape=(64, 64))] * 2
            total[..., left : left + 64] += ours.eval().decode_head.predict(ours.extract_feat(crop), meta)
            count[..., left : left + 64] += 1
    assert_close(actual, total / count, 1e-5, 'scores')


def test_augmentation_at_test_time(ours):
    """SegTTAModel on our segmentor: the mean of the scores of an image and its mirror image, each flipped back."""
    from m2f_mm.registry import MODELS

    segmentor = our_segmentor().eval()
    model = MODELS.build(dict(type='m2f_mm.SegTTAModel', module=segmentor)).eval()
    plain, mirrored = semantic_batch(), semantic_batch()
    for sample in plain['data_samples']:
        sample.set_metainfo(dict(flip=False, flip_direction=None))
    mirrored['inputs'] = [image.flip(-1) for image in mirrored['inputs']]
    for sample in mirrored['data_samples']:
        sample.set_metainfo(dict(flip=True, flip_direction='horizontal'))
    # one entry per image, each a list of its versions, as the loader's pseudo_collate gives them
    data = {key: [list(versions) for versions in zip(plain[key], mirrored[key])] for key in plain}
    with torch.no_grad():
        merged = model.test_step({key: [list(part) for part in zip(*value)] for key, value in data.items()})
    expected = [predict(ours, WIDER)]
    flipped = ours.data_preprocessor(dict(inputs=mirrored['inputs'], data_samples=mirrored['data_samples']), False)
    with torch.no_grad():
        expected.append(ours.predict(flipped['inputs'], flipped['data_samples']))
    assert len(merged) == 2
    for actual, one, other in zip(merged, *expected):
        mean = (one.seg_logits.data + other.seg_logits.data) / 2
        assert_close(actual.seg_logits.data, mean, 1e-4, 'scores')
        assert torch.equal(actual.pred_sem_seg.data, actual.seg_logits.data.argmax(0, keepdim=True))
