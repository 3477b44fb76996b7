"""Tiles against whole images: slow, readable twins of the official inference, at every combination of sizes."""
import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from m2f_mm.postprocess import (
    Sizes,
    instance_segmentation,
    panoptic_segmentation,
    semantic_scores,
    semantic_segmentation,
    tiles,
)
from m2f_mm.postprocess.instance import mask_boxes
from m2f_mm.postprocess.tiles import bands

SIZES = {
    'nothing to do': Sizes((32, 48), (32, 48), (32, 48)),
    'larger': Sizes((32, 48), (32, 48), (75, 101)),
    'smaller': Sizes((32, 48), (32, 48), (9, 13)),
    'padded and larger': Sizes((64, 64), (43, 51), (100, 77)),
    'padded and smaller': Sizes((64, 64), (43, 51), (17, 30)),
    'padding only': Sizes((64, 64), (43, 51), (43, 51)),
    'wider and lower': Sizes((64, 64), (43, 51), (20, 99)),
    'one row': Sizes((32, 32), (31, 3), (1, 64)),
    'one pixel': Sizes((32, 32), (31, 3), (1, 1)),
}
each_size = pytest.mark.parametrize('sizes', SIZES.values(), ids=SIZES)


def promise(sizes, queries=7, classes=4, dims=5):
    """Smooth random masks at a quarter of the padded size, class logits that are sure of something."""
    generator = torch.Generator().manual_seed(0)
    height, width = sizes.padded[0] // 4, sizes.padded[1] // 4
    coarse = torch.randn(1, dims, 4, 4, generator=generator)
    features = F.interpolate(coarse, (height, width), mode='bicubic')
    logits = torch.randn(queries, classes + 1, generator=generator) * 3
    return logits, torch.randn(queries, dims, generator=generator) * 3, features


def resize(maps, size):
    return F.interpolate(maps[None], size, mode='bilinear', align_corners=False)[0]


def whole_masks(embeds, features, sizes):
    """Mask logits (Q, H, W) of the output: resize to the padded size, cut the padding off, resize again."""
    padded = resize(torch.einsum('qd,dhw->qhw', embeds, features[0]), sizes.padded)
    return resize(padded[:, :sizes.image[0], :sizes.image[1]], sizes.output)


@each_size
@pytest.mark.parametrize('band_bytes', [1, 4000, 2**30], ids=['rows', 'bands', 'whole'])
def test_bands_are_the_whole(sizes, band_bytes):
    _, embeds, features = promise(sizes)
    masks = torch.einsum('qd,dhw->qhw', embeds, features[0])
    before = masks.clone()
    pieces = list(bands(masks, sizes, band_bytes=band_bytes))
    assert [rows.start for rows, _ in pieces] == [0, *[rows.stop for rows, _ in pieces[:-1]]]
    assert pieces[-1][0].stop == sizes.output[0]
    assert band_bytes > 1 or len(pieces) == sizes.output[0]
    found = torch.cat([band for _, band in pieces], 1)
    torch.testing.assert_close(found, whole_masks(embeds, features, sizes), atol=1e-4, rtol=1e-5)
    for _, band in pieces:
        band.zero_()
    assert torch.equal(masks, before), 'a band that is changed in place must not be a view of the masks'


@each_size
def test_bands_are_the_same_however_many(sizes):
    """To the last bit, so that nothing depends on a budget."""
    _, embeds, features = promise(sizes)
    masks = torch.einsum('qd,dhw->qhw', embeds, features[0])
    one, many = (torch.cat([band for _, band in bands(masks, sizes, band_bytes=size)], 1) for size in (2**30, 3000))
    assert torch.equal(one, many)


def test_masks_that_need_no_resizing_are_not_changed_in_place():
    masks = torch.randn(3, 8, 8)
    before = masks.clone()
    for _, band in bands(masks, Sizes((8, 8), (8, 8), (8, 8)), band_bytes=100):
        band.zero_()
    assert torch.equal(masks, before)


@pytest.fixture
def narrow(monkeypatch):
    """Several bands even for small pictures."""
    original = tiles.bands
    for module in ('semantic', 'panoptic', 'instance'):
        monkeypatch.setattr(f'm2f_mm.postprocess.{module}.bands',
                            lambda *args, **options: original(*args, **{**options, 'band_bytes': 3000}))


@each_size
@pytest.mark.parametrize('resize_masks', [False, True])
def test_semantic(sizes, resize_masks, narrow):
    logits, embeds, features = promise(sizes)
    classes = logits.softmax(-1)[:, :-1]
    if resize_masks:
        expected = torch.einsum('qc,qhw->chw', classes, whole_masks(embeds, features, sizes).sigmoid())
    else:
        padded = resize(torch.einsum('qd,dhw->qhw', embeds, features[0]), sizes.padded)
        scores = torch.einsum('qc,qhw->chw', classes, padded.sigmoid())
        expected = resize(scores[:, :sizes.image[0], :sizes.image[1]], sizes.output)
    scores = semantic_scores(logits, embeds, features, sizes, resize_masks=resize_masks)
    torch.testing.assert_close(scores, expected, atol=1e-5, rtol=1e-5)
    labels = semantic_segmentation(logits, embeds, features, sizes, resize_masks=resize_masks)
    assert torch.equal(labels, scores.argmax(0))


def slow_panoptic(logits, masks, is_thing, object_threshold, overlap_threshold, filter_low_score):
    """The official merging, a query after the other."""
    scores, labels = logits.softmax(-1).max(-1)
    kept = [q for q in range(len(logits)) if labels[q] < logits.shape[-1] - 1 and scores[q] > object_threshold]
    result, segments, stuff = torch.zeros(masks.shape[1:], dtype=torch.int32), [], {}
    if not kept:
        return result, segments
    masks = masks[kept].sigmoid()
    owner = (scores[kept][:, None, None] * masks).argmax(0)
    for k, q in enumerate(kept):
        own = masks[k] >= 0.5
        region = owner == k
        visible = region & own if filter_low_score else region
        if not (region.any() and own.any() and visible.any()):
            continue
        if region.sum().item() / own.sum().item() < overlap_threshold:
            continue
        label = int(labels[q])
        if label in stuff:
            result[visible] = stuff[label]
            continue
        segments.append((len(segments) + 1, label, is_thing[label]))
        result[visible] = len(segments)
        if not is_thing[label]:
            stuff[label] = len(segments)
    return result, segments


@pytest.mark.smoke
@each_size
@pytest.mark.parametrize('filter_low_score', [True, False])
@pytest.mark.parametrize('overlap', [0.0, 0.3, 0.8])
def test_panoptic(sizes, filter_low_score, overlap, narrow):
    logits, embeds, features = promise(sizes, queries=12)
    is_thing = [True, False, True, False]
    found, segments = panoptic_segmentation(logits, embeds, features, sizes, is_thing, 0.4, overlap, filter_low_score)
    masks = torch.cat([band for _, band in bands((embeds @ features[0].flatten(1)).unflatten(1, features.shape[-2:]),
                                                 sizes)], 1)
    expected, wanted = slow_panoptic(logits, masks, is_thing, 0.4, overlap, filter_low_score)
    assert torch.equal(found, expected) and found.dtype == torch.int32
    assert [(segment.id, segment.label, segment.is_thing) for segment in segments] == wanted


def test_panoptic_without_anything():
    sizes = SIZES['larger']
    logits, embeds, features = promise(sizes)
    logits[:, -1] = 50
    found, segments = panoptic_segmentation(logits, embeds, features, sizes, [True] * 4)
    assert found.shape == sizes.output and not found.any() and not segments


@each_size
@pytest.mark.parametrize('is_thing', [None, [True, False, True, False], [False] * 4], ids=['all', 'things', 'none'])
@pytest.mark.parametrize('count', [5, 28, 100], ids=['some', 'exactly all', 'fewer than asked for'])
def test_instances(sizes, is_thing, count, narrow):
    logits, embeds, features = promise(sizes)
    found = instance_segmentation(logits, embeds, features, sizes, count, is_thing)
    probabilities = logits.softmax(-1)[:, :-1]
    masks = whole_masks(embeds, features, sizes)
    expected = []
    for value in probabilities.flatten().sort(descending=True).values[:count]:
        q, label = (probabilities == value).nonzero()[0].tolist()
        if is_thing is None or is_thing[label]:
            inside = masks[q] > 0
            quality = (masks[q].sigmoid() * inside).sum() / (inside.sum() + 1e-6)
            expected.append((float(value * quality), label, inside))
    assert len(found.scores) == len(expected) == len(found.labels) == len(found.masks) == len(found.boxes)
    free = list(range(len(expected)))
    for score, label, mask in expected:
        partner = next((i for i in free if found.labels[i] == label and abs(float(found.scores[i]) - score) < 1e-5
                        and int((found.masks[i] != mask).sum()) <= 2), None)
        assert partner is not None
        free.remove(partner)


def test_boxes_are_tight():
    masks = torch.rand(6, 9, 11, generator=torch.Generator().manual_seed(0)) < 0.03
    masks[0] = False
    masks[1] = True
    masks[2] = False
    masks[2, 4, 10] = True
    for mask, box in zip(masks, mask_boxes(masks).tolist()):
        rows, columns = mask.nonzero().T.tolist() if mask.any() else ([], [])
        expected = [min(columns), min(rows), max(columns) + 1, max(rows) + 1] if rows else [0, 0, 0, 0]
        assert box == expected
    assert mask_boxes(masks[:0]).shape == (0, 4)


class Largest(TorchDispatchMode):
    """The most elements of any floating tensor that an operation gives back."""
    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in tree_flatten(result)[0]:
            if isinstance(tensor, torch.Tensor) and tensor.is_floating_point():
                self.elements = max(self.elements, tensor.untyped_storage().nbytes() // tensor.element_size())
        return result


@pytest.mark.parametrize('task', ['panoptic', 'instance', 'semantic', 'semantic at padded size'])
def test_memory_does_not_grow_with_queries_times_pixels(task, narrow):
    """No floating tensor comes near (queries, H, W): neither for more rows nor for more queries."""
    def largest(queries, height):
        sizes = Sizes((64, 64), (64, 64), (height, 64))
        promised = promise(sizes, queries=queries)
        promised[0][:, -1] = -50  # nothing can be left out
        with torch.no_grad(), Largest() as seen:
            if task == 'panoptic':
                panoptic_segmentation(*promised, sizes, [True] * 4, 0.0)
            elif task == 'instance':
                instance_segmentation(*promised, sizes)
            else:
                semantic_segmentation(*promised, sizes, resize_masks=task == 'semantic')
        return seen.elements

    few = largest(20, 256)
    assert few < 20 * 256 * 64 / 4
    assert largest(20, 1024) <= few
    quarter = 16 * 16  # elements of one promised mask
    assert largest(80, 256) <= max(few, 80 * quarter, 80 * 64 * 8)
