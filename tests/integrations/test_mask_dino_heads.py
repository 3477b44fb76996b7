"""Mask DINO in the stock detector and segmentor: losses, results, batches that are difficult."""

import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from m2f_mm.boxes import masks_to_boxes
from m2f_mm.models import MaskDINO
from m2f_mm.structures import SegTargets
from tests.helpers.mask_dino_models import NETWORK, detector, names_of, segmentor
from tests.helpers.tiny_models import (
    SEMANTIC_CLASSES,
    STUFF,
    THINGS,
    build,
    detection_batch,
    gradients,
    mmdet_config,
    semantic_batch,
    step,
)


@pytest.mark.parametrize(
    'objects, semantic, denoised',
    [
        ((3, 2), True, True),
        ((3, 2), False, True),
        ((0, 3), False, True),
        ((1, 0), False, True),
        ((0, 0), False, False),
        ((9, 1), False, False),
        ((15, 2), False, False),
    ],
    ids=str,
)
def test_every_batch_trains_everything(objects, semantic, denoised):
    """No object at all, one image without, more than the budget for denoising, more than queries."""
    model = detector(STUFF if semantic else 0).train()
    losses = step(model, detection_batch(objects, semantic))
    expected = names_of(3)
    assert losses.keys() == (expected if denoised else {name for name in expected if 'dn_' not in name})
    assert all(loss.isfinite() and loss.dtype == torch.float32 for loss in losses.values())
    actual = gradients(model)
    assert all(gradient is not None and gradient.isfinite().all() for gradient in actual.values())


def test_boxes_without_extent():
    """A mask of one column of pixels, and one that is empty."""
    model = detector(0).train()
    data = detection_batch((2, 1), False)
    first = data['data_samples'][0].gt_instances.masks.masks
    first[0], first[1] = 0, 0
    first[0, 10:30, 20] = 1
    losses = step(model, data)
    assert all(loss.isfinite() for loss in losses.values())
    assert all(gradient.isfinite().all() for gradient in gradients(model).values())


@pytest.mark.parametrize(
    'options, missing',
    [
        (dict(denoising_queries=0), 'dn_'),
        (dict(criterion=dict(denoise_masks=False)), None),
        (dict(loss_bbox=dict(loss_weight=0), loss_iou=dict(loss_weight=0)), 'loss_bbox'),
    ],
    ids=['no denoising', 'boxes and classes denoised', 'no box losses'],
)
def test_parts_can_be_left_out(options, missing):
    losses = step(detector(**options).train(), detection_batch())
    if missing:
        assert losses and not any(missing in name for name in losses)
    else:
        assert losses.keys() == names_of(3, masks=False)


@pytest.mark.parametrize('start', ['no', 'mask2box'])
@pytest.mark.parametrize('pixel_decoder', [None, 'FPNPixelDecoder'])
def test_inside_autocast(start, pixel_decoder):
    """Also where mask features and memories are of half precision: losses stay float32, everything has a gradient."""
    options = dict(pixel_decoder=dict(type=pixel_decoder), num_transformer_feat_level=3) if pixel_decoder else {}
    model = detector(boxes_from_masks=start, **options).train()
    with torch.autocast('cpu', torch.bfloat16):
        losses = step(model, detection_batch())
    assert all(loss.isfinite() and loss.dtype == torch.float32 for loss in losses.values())
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients(model).values())
    with torch.no_grad(), torch.autocast('cpu', torch.bfloat16):
        results = model.eval().test_step(detection_batch())
    assert all(sample.pred_instances.bboxes.dtype == torch.float32 for sample in results)


def test_losses_are_named_or_refused():
    for options, message in (
        (dict(loss_cls=dict(type='QualityFocalLoss')), "type='QualityFocalLoss' is not supported"),
        (dict(loss_bbox=dict(type='SmoothL1Loss')), "loss_bbox: type='SmoothL1Loss'"),
        (dict(loss_cls=dict(gamma=1.0)), 'loss_cls: gamma=1.0'),
    ):
        with pytest.raises(ValueError, match=message):
            detector(**options)


@pytest.mark.parametrize('start', ['no', 'bitmask', 'mask2box'])
def test_detector_results(start):
    """Boxes are those that were predicted, in pixels of the file; segments and classes beside them."""
    model = detector(boxes_from_masks=start).eval()
    data = model.data_preprocessor(detection_batch(), False)
    with torch.no_grad():
        predictions = model.panoptic_head(model.extract_feat(data['inputs']))
        results = model.predict(data['inputs'], data['data_samples'])
    for sample, boxes in zip(results, predictions.boxes[-1]):
        cx, cy, w, h = boxes.unbind(-1)
        down, right = (
            full * file / image
            for full, file, image in zip(data['inputs'].shape[-2:], sample.ori_shape, sample.img_shape)
        )
        expected = torch.stack(
            ((cx - w / 2) * right, (cy - h / 2) * down, (cx + w / 2) * right, (cy + h / 2) * down), -1
        )
        actual = sample.pred_instances
        assert len(actual) and ((actual.bboxes[:, None] - expected).abs().amax(-1).amin(1) < 1e-3).all()
        assert actual.masks.shape[1:] == sample.ori_shape and (actual.labels < THINGS).all()
        assert sample.pred_panoptic_seg.sem_seg.shape[1:] == sample.ori_shape
        assert sample.pred_sem_seg.sem_seg.max() < THINGS + STUFF


@pytest.mark.parametrize(
    'options',
    [
        dict(),
        dict(
            two_stage=False,
            loss_cls=dict(type='CrossEntropyLoss'),
            num_transformer_feat_level=3,
            pixel_decoder=dict(num_layers=1, num_heads=4, num_extra_levels=0, fine_first=False),
        ),
    ],
    ids=['sigmoids', 'as published'],
)
def test_segmentor(options):
    model = segmentor(**options).train()
    assert model.decode_head.cls_embed.out_features == SEMANTIC_CLASSES + bool(options)
    losses = step(model, semantic_batch())
    assert all(loss.isfinite() for loss in losses.values())
    assert all(gradient is not None for gradient in gradients(model).values())
    model.eval()
    with torch.no_grad():
        results = model.test_step(semantic_batch())
        model.keep_logits = True
        whole = model.test_step(semantic_batch())
    for sample, other in zip(results, whole):
        assert sample.pred_sem_seg.data.shape[1:] == sample.ori_shape
        assert sample.pred_sem_seg.data.max() < SEMANTIC_CLASSES
        assert other.seg_logits.data.shape[0] == SEMANTIC_CLASSES


def test_boxes_around_masks():
    """The edges lie behind the last pixel; given boxes stay."""
    masks = torch.zeros(3, 10, 20, dtype=torch.bool)
    masks[0, 2:5, 4:10] = True
    masks[1, 9, 19] = True
    expected = torch.tensor([[7 / 20, 3.5 / 10, 6 / 20, 3 / 10], [19.5 / 20, 9.5 / 10, 1 / 20, 1 / 10], [0.0, 0, 0, 0]])
    torch.testing.assert_close(masks_to_boxes(masks), expected)
    targets = SegTargets(torch.zeros(3, dtype=torch.long), masks)
    assert torch.equal(targets.with_boxes().boxes, masks_to_boxes(masks)) and targets.boxes is None
    given = SegTargets(targets.labels, masks, torch.ones(3, 4))
    assert given.with_boxes() is given


@pytest.mark.parametrize(
    'scope, name',
    [
        ('mmdet', 'mask2former/mask2former_r50_8xb2-lsj-50e_coco.py'),
        ('mmdet', 'mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic.py'),
        ('mmseg', 'mask2former/mask2former_r50_8xb2-160k_ade20k-512x512.py'),
    ],
)
def test_heads_are_exchanged_as_the_docs_say(scope, name, tmp_path):
    """In a config that inherits a stock one."""
    package = pytest.importorskip(scope)
    section = (Path(__file__).parents[2] / 'docs/mask_dino.md').read_text(encoding='utf-8')
    snippets = dict(zip(('mmdet', 'mmseg'), re.findall(r'model = dict\(.*?\n(?=model|```)', section, re.S)))
    stock = Path(package.__file__).parent / '.mim/configs' / name
    (tmp_path / 'mine.py').write_text(f'_base_ = [{str(stock)!r}]\n{snippets[scope]}')
    model = Config.fromfile(tmp_path / 'mine.py').model
    model.backbone.init_cfg = None
    with DefaultScope.overwrite_default_scope(scope):
        model = MODELS.build(model)
    head = model.panoptic_head if scope == 'mmdet' else model.decode_head
    assert isinstance(head, MaskDINO) and head.num_classes == (80 if scope == 'mmdet' else 150)
    assert head.criterion.mask_terms.num_points == head.criterion.assigner.num_points == 12544
    assert set(head.criterion.loss_weights) == {'loss_cls', 'loss_mask', 'loss_dice', 'loss_bbox', 'loss_iou'}


def test_stock_fusion_head_is_refused():
    """It would read the last class of sigmoids as no-object, and no boxes."""
    cfg = mmdet_config()
    cfg.type = 'm2f_mm.MaskDINO'
    cfg.panoptic_head = dict(NETWORK, type='m2f_mm.MaskDINOHead', num_things_classes=THINGS, num_stuff_classes=STUFF)
    cfg.train_cfg = dict(num_points=100)
    with pytest.raises(ValueError, match='set panoptic_fusion_head=None'):
        build(cfg, 'mmdet')
