"""Every form of annotation becomes the same targets, and whatever is in them trains or is refused by name."""

import numpy as np
import pytest
import torch

from tests.helpers.tiny_models import (
    SEMANTIC_CLASSES,
    STUFF,
    THINGS,
    build_detector,
    build_segmentor,
    detection_batch,
    gradients,
    mmdet_config,
    mmseg_config,
    semantic_batch,
    step,
    use_our_heads,
)

pytest.importorskip('mmdet')
from mmdet.structures import DetDataSample  # noqa: E402
from mmdet.structures.mask import BitmapMasks, PolygonMasks  # noqa: E402
from mmengine.structures import InstanceData, PixelData  # noqa: E402

from m2f_mm.integrations.mmdet_samples import to_targets  # noqa: E402

HEIGHT, WIDTH = 6, 8
IS_THING = [True] * THINGS + [False] * STUFF
SKY = THINGS + 1  # a stuff class


def rectangles():
    masks = np.zeros((2, HEIGHT, WIDTH), np.uint8)
    masks[0, 1:3, 2:5] = 1
    masks[1, 3:6, 0:4] = 1
    return masks


def sample(**metainfo):
    return DetDataSample(metainfo=dict(img_path='a.jpg', **metainfo))


def from_our_loader():
    segment_map = np.full((HEIGHT, WIDTH), -1, np.int16)
    for index, mask in enumerate(rectangles()):
        segment_map[mask > 0] = index
    result = sample()
    result.gt_segment_map = PixelData(data=torch.from_numpy(segment_map)[None])
    result.gt_segments = InstanceData(labels=torch.tensor([2, 0]))
    return result


def from_instances(masks):
    result = sample()
    result.gt_instances = InstanceData(labels=torch.tensor([2, 0]), masks=masks)
    return result


def polygons():
    return PolygonMasks([[np.array([2, 1, 5, 1, 5, 3, 2, 3.0])], [np.array([0, 3, 4, 3, 4, 6, 0, 6.0])]], HEIGHT, WIDTH)


@pytest.mark.parametrize(
    'annotated',
    [
        from_our_loader,
        lambda: from_instances(BitmapMasks(rectangles(), HEIGHT, WIDTH)),
        lambda: from_instances(polygons()),
        lambda: from_instances(torch.from_numpy(rectangles())),
        lambda: from_instances(torch.from_numpy(rectangles()).bool()),
    ],
    ids=['our loader', 'bitmaps', 'polygons', 'uint8 tensor', 'bool tensor'],
)
def test_every_form_of_masks(annotated):
    (target,) = to_targets([annotated()], IS_THING, torch.device('cpu'))
    assert target.labels.tolist() == [2, 0] and target.labels.dtype == torch.int64
    assert torch.equal(target.masks, torch.from_numpy(rectangles()).bool())
    assert target.name == 'a.jpg'


def test_polygons_are_drawn_as_mmdetection_draws_them():
    generator = np.random.default_rng(0)
    parts = [
        [generator.uniform(-2, 40, 2 * corners) for corners in generator.integers(3, 9, number)]
        for number in (1, 2, 3, 1)
    ]
    masks = PolygonMasks(parts, 23, 37)
    annotated = sample()
    annotated.gt_instances = InstanceData(labels=torch.zeros(4, dtype=torch.long), masks=masks)
    (target,) = to_targets([annotated], IS_THING, torch.device('cpu'))
    expected = torch.from_numpy(masks.to_bitmap().masks).bool()
    assert expected.flatten(1).any(1).all() and torch.equal(target.masks, expected)


def with_semantic(instances=True, ignore=255):
    """Things again in the semantic map, as mmdet's panoptic loader has them, sky below, the rest ignored."""
    semantic = np.full((HEIGHT, WIDTH), ignore, np.int64)
    semantic[4:] = SKY
    for mask, label in zip(rectangles(), (2, 0)):
        semantic[mask > 0] = label
    result = from_instances(BitmapMasks(rectangles(), HEIGHT, WIDTH)) if instances else sample()
    if not instances:
        result.gt_instances = InstanceData(labels=torch.zeros(0, dtype=torch.long))
    result.gt_sem_seg = PixelData(sem_seg=torch.from_numpy(semantic)[None])
    return result, semantic == SKY


@pytest.mark.parametrize('instances', [True, False])
def test_stuff_comes_from_the_semantic_map(instances):
    annotated, sky = with_semantic(instances)
    (target,) = to_targets([annotated], IS_THING, torch.device('cpu'))
    assert target.labels.tolist() == ([2, 0] if instances else []) + [SKY]
    assert torch.equal(target.masks[-1], torch.from_numpy(sky))


def test_stuff_of_a_batch():
    """Each image keeps its own; one without a map has none."""
    (first, sky), (second, _) = with_semantic(), with_semantic(instances=False, ignore=SKY)
    second.gt_sem_seg.sem_seg[:] = SKY
    second.gt_sem_seg.set_metainfo(dict(ignore_index=SKY))  # as MMDetection's PackDetInputs
    both = to_targets([first, from_instances(polygons()), second, first], IS_THING, torch.device('cpu'))
    assert [target.labels.tolist() for target in both] == [[2, 0, SKY], [2, 0], [], [2, 0, SKY]]
    assert torch.equal(both[3].masks[-1], torch.from_numpy(sky))


@pytest.mark.parametrize('label', [len(IS_THING), -1, 254])
def test_unknown_labels_of_the_semantic_map(label):
    annotated, _ = with_semantic()
    annotated.gt_sem_seg.sem_seg[0, 0, 0] = label
    with pytest.raises(ValueError, match=r'gt_sem_seg of a\.jpg has labels .* 0\.\.\d, and set ignore_index'):
        to_targets([annotated], IS_THING, torch.device('cpu'))


@pytest.mark.parametrize('annotated', [from_our_loader, lambda: with_semantic()[0]], ids=['our loader', 'stock'])
def test_padding_is_nothing(annotated):
    annotated = annotated()
    (plain,) = to_targets([annotated], IS_THING, torch.device('cpu'))
    annotated.set_metainfo(dict(batch_input_shape=(10, 12)))
    (padded,) = to_targets([annotated], IS_THING, torch.device('cpu'))
    assert padded.masks.shape[-2:] == (10, 12)
    assert torch.equal(padded.masks[:, :HEIGHT, :WIDTH], plain.masks)
    assert int(padded.masks.sum()) == int(plain.masks.sum())


def test_crowds_are_not_used():
    annotated = from_instances(BitmapMasks(rectangles(), HEIGHT, WIDTH))
    annotated.ignored_instances = InstanceData(
        labels=torch.tensor([1]), masks=BitmapMasks(rectangles()[:1], HEIGHT, WIDTH)
    )
    (target,) = to_targets([annotated], IS_THING, torch.device('cpu'))
    assert target.labels.tolist() == [2, 0]


@pytest.mark.parametrize(
    'masks',
    [BitmapMasks(np.zeros((0, HEIGHT, WIDTH), np.uint8), HEIGHT, WIDTH), PolygonMasks([], HEIGHT, WIDTH)],
    ids=['bitmaps', 'polygons'],
)
def test_image_without_annotation(masks):
    annotated = sample()
    annotated.gt_instances = InstanceData(labels=torch.zeros(0, dtype=torch.long), masks=masks)
    (target,) = to_targets([annotated], IS_THING, torch.device('cpu'))
    assert len(target) == 0 and target.masks.shape == (0, HEIGHT, WIDTH)


def test_missing_masks_name_the_transform():
    annotated = sample()
    annotated.gt_instances = InstanceData(labels=torch.tensor([1]), bboxes=torch.zeros(1, 4))
    with pytest.raises(ValueError, match=r'a\.jpg have no masks \(only .*bboxes.*with_mask=True'):
        to_targets([annotated], IS_THING, torch.device('cpu'))


# What a training step makes of it -------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def detector():
    return build_detector(use_our_heads(mmdet_config())).train()


def one_pixel(data):
    for annotated in data['data_samples']:
        masks = annotated.gt_instances.masks
        masks.masks[:] = 0
        masks.masks[:, 3, 4] = 1


def empty_masks(data):
    for annotated in data['data_samples']:
        annotated.gt_instances.masks.masks[:] = 0


def all_ignored(data):
    for annotated in data['data_samples']:
        annotated.gt_sem_seg.sem_seg[:] = 255


def from_segments(data):
    for annotated in data['data_samples']:
        masks = torch.from_numpy(annotated.gt_instances.masks.masks).bool()
        segment_map = torch.full((1, *masks.shape[1:]), -1, dtype=torch.int16)
        for index, mask in enumerate(masks):
            segment_map[0, mask] = index
        annotated.gt_segment_map = PixelData(data=segment_map)
        annotated.gt_segments = InstanceData(labels=annotated.gt_instances.labels)
        del annotated.gt_instances, annotated.gt_sem_seg


def as_polygons(data):
    for annotated in data['data_samples']:
        instances, (height, width) = annotated.gt_instances, annotated.img_shape
        box = np.array([5, 5, 40, 5, 40, 30, 5, 30.0])
        instances.masks = PolygonMasks([[box]] * len(instances), height, width)


@pytest.mark.smoke
@pytest.mark.parametrize(
    'objects, semantic, change',
    [
        ((3, 2), True, None),
        ((3, 2), False, None),
        ((0, 2), False, None),
        ((0, 0), False, None),
        ((0, 0), True, None),
        ((30, 25), True, None),
        ((3, 2), True, one_pixel),
        ((3, 2), True, empty_masks),
        ((0, 0), True, all_ignored),
        ((3, 2), False, as_polygons),
    ],
    ids=[
        'panoptic',
        'instances',
        'one image without',
        'no image with',
        'stuff alone',
        'more objects than queries',
        'one pixel',
        'empty masks',
        'all ignored',
        'polygons',
    ],
)
def test_trains(detector, objects, semantic, change):
    data = detection_batch(objects, semantic)
    if change:
        change(data)
    losses = step(detector, data)
    assert len(losses) == 15
    for name, loss in losses.items():
        assert loss.isfinite(), name
    for name, gradient in gradients(detector).items():
        assert gradient is not None and gradient.isfinite().all(), name


@pytest.mark.parametrize('objects', [(3, 2), (0, 0)], ids=str)
def test_our_loader_trains(objects):
    """Its segments need no padding by the preprocessor, which would ask for masks that are not there."""
    cfg = use_our_heads(mmdet_config())
    cfg.data_preprocessor.update(pad_mask=False, pad_seg=False)
    cfg.data_preprocessor.batch_augments[0].update(pad_mask=False, pad_seg=False)
    detector, data = build_detector(cfg).train(), detection_batch(objects)
    from_segments(data)
    assert all(loss.isfinite() for loss in step(detector, data).values())
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients(detector).values())


def test_crowd_in_training(detector):
    """The losses of an image do not change when a crowd region is added."""
    torch.manual_seed(0)
    expected = step(detector, detection_batch(semantic=False))
    data = detection_batch(semantic=False)
    for annotated in data['data_samples']:
        annotated.ignored_instances = annotated.gt_instances[:1]
    torch.manual_seed(0)
    for name, loss in step(detector, data).items():
        torch.testing.assert_close(loss, expected[name])


@pytest.mark.parametrize('label', [THINGS + STUFF, 99])
def test_label_without_class_is_refused(detector, label):
    data = detection_batch(semantic=False)
    data['data_samples'][1].gt_instances.labels[0] = label
    with pytest.raises(ValueError, match=rf'image_1\.jpg\) has the label {label}, but the model has 8 classes'):
        step(detector, data)


def test_broken_image_is_named(detector):
    data = detection_batch()
    data['inputs'] = [image.float() for image in data['inputs']]
    data['inputs'][1][0, 5, 5] = float('nan')
    with pytest.raises(FloatingPointError, match=r'layer d0 are not finite for image 1 of the batch \(image_1\.jpg\)'):
        step(detector, data)


def test_broken_weights_are_named():
    detector = build_detector(use_our_heads(mmdet_config())).train()
    with torch.no_grad():
        detector.panoptic_head.transformer_decoder.layers[2].ffn.layers[1].weight[0, 0] = float('nan')
    with pytest.raises(FloatingPointError, match='layer d3 are not finite for image 0'):
        step(detector, detection_batch())


def test_fewer_pairs_than_asked_for():
    """20 queries and 8 classes make 160 pairs; the stock fusion head fails at more."""
    cfg = use_our_heads(mmdet_config())
    cfg.test_cfg.max_per_image = 1000
    cfg.panoptic_head.num_things_classes = cfg.panoptic_fusion_head.num_things_classes = THINGS + STUFF
    cfg.panoptic_head.num_stuff_classes = cfg.panoptic_fusion_head.num_stuff_classes = 0
    model = build_detector(cfg).eval()
    data = model.data_preprocessor(detection_batch(), False)
    with torch.no_grad():
        results = model.predict(data['inputs'], data['data_samples'])
    assert [len(result.pred_instances) for result in results] == [160, 160]


@pytest.fixture(scope='module')
def segmentor():
    pytest.importorskip('mmseg')
    cfg = mmseg_config()
    cfg.decode_head.type = 'm2f_mm.Mask2FormerSegHead'
    return build_segmentor(cfg).train()


@pytest.mark.parametrize('ignore_everything', [False, True])
def test_semantic_maps_train(segmentor, ignore_everything):
    losses = step(segmentor, semantic_batch(ignore_everything=ignore_everything))
    assert all(loss.isfinite() for loss in losses.values())
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients(segmentor).values())


def test_semantic_label_without_class_is_refused(segmentor):
    data = semantic_batch()
    data['data_samples'][0].gt_sem_seg.data[0, 20:30] = SEMANTIC_CLASSES
    with pytest.raises(ValueError, match=rf'image_0\.jpg\) has the label {SEMANTIC_CLASSES}, but the model has 7'):
        step(segmentor, data)
