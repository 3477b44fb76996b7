"""What is drawn over an image, against pixels painted one by one; where names stand; masks of every form."""

import itertools
import tracemalloc

import numpy as np
import pytest
from pycocotools import mask as coco_masks

from m2f_mm.datasets.categories import distinct_colors
from m2f_mm.visualization import drawing
from m2f_mm.visualization.drawing import Segments, draw_segments
from m2f_mm.visualization.labels import luminance, tag
from m2f_mm.visualization.masks import Bitmaps, Enlarged, IdMap, RLEs

CLASSES = ('cat', 'dog', 'grass')


def blobs(height, width, number, seed=0):
    """Ellipses that overlap, bool (N, H, W)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    masks = np.zeros((number, height, width), bool)
    for mask in masks:
        centre, radii = rng.uniform(0, 1, 2) * (height, width), rng.uniform(0.03, 0.3, 2) * (height, width)
        mask[:] = ((y - centre[0]) / radii[0]) ** 2 + ((x - centre[1]) / radii[1]) ** 2 < 1
    return masks


def image_of(height, width):
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)


def encoded(mask, form):
    """COCO's RLE, as text or as a list, which may have runs of no pixel."""
    if form == 'text':
        return coco_masks.encode(np.asfortranarray(mask, np.uint8))
    flat = np.append(mask.T.ravel().astype(int), -1)
    counts, value = [], 0
    for bit, run in itertools.groupby(flat[:-1]):
        if bit != value:
            counts.append(0)
        counts.append(len(list(run)))
        value = 1 - bit
    split = [part for count in counts for part in ((count,) if count < 5 else (2, 0, count - 2))]
    return dict(size=list(mask.shape), counts=split)


def odd_masks():
    """Nothing, everything, one pixel, columns one after the other, a frame, noise."""
    masks = np.zeros((7, 9, 13), bool)
    masks[1] = masks[2, 4, 6] = masks[3, :, 5:7] = True
    masks[4] = True
    masks[4, 1:-1, 1:-1] = False
    masks[5] = np.random.default_rng(0).random((9, 13)) < 0.5
    masks[6, 5:, 3] = masks[6, :4, 4] = True  # a run over two columns
    return masks


@pytest.mark.parametrize('form', ['bitmaps', 'text', 'list', 'enlarged'])
def test_masks_are_cut_out_at_their_boxes(form):
    expected = odd_masks()
    masks = Bitmaps(expected) if form in ('bitmaps', 'enlarged') else None
    masks = masks or RLEs([encoded(mask, form) for mask in expected], expected.shape[1:])
    if form == 'enlarged':
        masks, expected = Enlarged(masks, 3), expected.repeat(3, 1).repeat(3, 2)
    assert len(masks) == len(expected) and masks.size == expected.shape[1:]
    assert masks.areas().tolist() == expected.sum((1, 2)).tolist()
    for i, mask in enumerate(expected):
        box, part = masks.cut(i)
        whole = np.zeros_like(mask)
        whole[box] = part
        assert part.dtype == bool and np.array_equal(whole, mask)
        assert not mask.any() or (part.any(0)[[0, -1]].all() and part.any(1)[[0, -1]].all())


@pytest.mark.parametrize('dtype', [np.uint8, np.int64])
def test_masks_of_a_map(dtype):
    ids = np.array([[0, 0, 3], [7, 3, 3]], dtype)
    masks = IdMap(ids, [0, 3, 5])
    assert masks.areas().tolist() == [2, 3, 0]
    assert masks.cut(1)[0] == (slice(0, 2), slice(1, 3)) and masks.cut(1)[1].tolist() == [[False, True], [True, True]]
    assert masks.cut(2)[1].size == 0
    signed = IdMap(np.array([[-1, 1], [0, -1]]), [0, 1])  # -1 is nothing
    assert signed.areas().tolist() == [1, 1] and signed.cut(0)[0] == (slice(1, 2), slice(0, 1))
    assert RLEs([None], (4, 5)).areas().tolist() == [0] and len(IdMap(ids, []).areas()) == 0


def painted(image, masks, fills, outlines, width, alpha):
    """Pixel by pixel: the smallest segment is on top; its pixels near another one of the image are its outline."""
    height, length = image.shape[:2]
    drawn = image.copy()
    areas = masks.sum((1, 2))
    for y, x in itertools.product(range(height), range(length)):
        there = [i for i in range(len(masks)) if masks[i, y, x]]
        if not there:
            continue
        i = min(reversed(there), key=lambda i: areas[i])
        around = masks[i, max(0, y - width) : y + width + 1, max(0, x - width) : x + width + 1]
        mixed = alpha * fills[i] + (1 - alpha) * image[y, x]
        drawn[y, x] = np.rint(mixed) if around.all() else outlines[i]
    return drawn


@pytest.mark.parametrize('width', [1, 3])
def test_areas_and_outlines(width, monkeypatch):
    monkeypatch.setattr(drawing, '_paste', lambda *_: None)
    monkeypatch.setattr(drawing, '_line_width', lambda _: width)
    monkeypatch.setattr(drawing, '_STRIP', 7)
    image, masks = image_of(40, 50), blobs(40, 50, 9)
    labels = np.arange(9) % 3
    palette = distinct_colors(3)
    segments = Segments(masks, labels)
    drawn = draw_segments(image, segments, CLASSES, palette, 0.25)
    fills = segments.fills(palette).round()
    expected = painted(image, masks, fills, np.array(palette)[labels], width, 0.25)
    assert np.abs(drawn.astype(int) - expected).max() <= 1 and (drawn == expected).mean() > 0.99
    others = ~masks.any(0)
    assert np.array_equal(drawn[others], image[others])


def test_drawn_twice_the_same_and_the_image_is_left_alone():
    image, masks = image_of(90, 120), blobs(90, 120, 8)
    image.flags.writeable = False
    before = image.copy()
    forms = [
        masks,
        RLEs([encoded(mask, 'text') for mask in masks], masks.shape[1:]),
        RLEs([encoded(mask, 'list') for mask in masks], masks.shape[1:]),
    ]
    drawn = [
        draw_segments(image, Segments(form, np.arange(8) % 3, np.linspace(1, 0.5, 8)), CLASSES, distinct_colors(3))
        for form in (*forms, masks)
    ]
    assert all(np.array_equal(each, drawn[0]) for each in drawn) and np.array_equal(image, before)
    assert np.array_equal(draw_segments(image, Segments(masks[:0], np.zeros(0, int)), CLASSES, ()), before)


@pytest.mark.parametrize('kind', ['masks', 'boxes'])
@pytest.mark.parametrize('size', [(8, 9), (60, 40), (300, 400), (900, 700)])
def test_names_stand_inside_and_apart(size, kind, monkeypatch):
    pasted = []
    real = drawing._paste

    def recorded(canvas, text, font_size, color, place):
        real(canvas, text, font_size, color, place)
        if place is not None:
            pasted.append((*place, *tag(text, font_size, color).shape[:2]))

    monkeypatch.setattr(drawing, '_paste', recorded)
    masks = blobs(*size, 60)
    y, x = (size[0] // 2, size[1] // 2)
    masks[1:3] = False
    masks[1, y : y + 2, x : x + 2] = masks[2, -1, -1] = True
    segments = Segments(masks, np.arange(60) % 3, np.full(60, 0.5))
    if kind == 'boxes':
        corners = np.random.default_rng(0).uniform(-5, max(size) + 5, (60, 2, 2))
        segments.masks, segments.boxes = None, np.sort(corners, 1).reshape(60, 4)
    draw_segments(image_of(*size), segments, CLASSES, distinct_colors(3))
    taken = np.zeros(size, int)
    for left, top, height, width in pasted:
        assert left >= 0 and top >= 0 and left + width <= size[1] and top + height <= size[0]
        taken[top : top + height, left : left + width] += 1
    assert taken.max(initial=0) <= 1 and len(pasted) == len(set(pasted))
    if min(size) >= 300:
        assert len(pasted) > 10
        assert kind == 'boxes' or not (taken[y, x] or taken[-1, -1])  # small segments are not hidden


def test_sizes_must_agree():
    with pytest.raises(ValueError, match=r'masks of .9, 13. pixels .H, W. over an image of .9, 12.'):
        draw_segments(image_of(9, 12), Segments(odd_masks(), np.zeros(7, int)), CLASSES, distinct_colors(3))


def test_small_objects_are_seen():
    """Whatever lies under them, and in outlines that fill them."""
    image = np.full((800, 1200, 3), 90, np.uint8)
    masks = np.zeros((2, 800, 1200), bool)
    masks[0, 100:700, 100:1100] = masks[1, 400:402, 600:603] = True
    for order in ([0, 1], [1, 0]):
        labels = np.array([0, 1])[order]
        drawn = draw_segments(image, Segments(masks[order], labels), CLASSES, distinct_colors(3))
        assert (drawn[400:402, 600:603] == distinct_colors(3)[1]).all()


def test_instances_of_a_class_differ_in_shade_and_share_the_outline():
    segments = Segments(None, np.array([0, 1, 0, 0, 1]))
    palette = [(200, 30, 40), (0, 0, 0)]
    fills = segments.fills(palette)
    assert np.array_equal(fills[0], palette[0]) and np.array_equal(fills[1], palette[1])
    assert len(np.unique(fills[[0, 2, 3]], axis=0)) == 3 and np.abs(fills[0] - fills[2]).max() > 40
    assert (fills >= 0).all() and (fills <= 255).all()
    assert np.array_equal(segments.color(2, palette), palette[0])
    for other in (Segments(None, segments.labels, vary=False), Segments(None, segments.labels, numbers=np.zeros(5))):
        assert np.array_equal(other.fills(palette), np.array(palette)[segments.labels])


@pytest.mark.parametrize('color', [(255, 255, 255), (0, 0, 0), (120, 120, 120), *distinct_colors(12)])
def test_letters_contrast_with_their_ground(color):
    """At least 4.5, which WCAG 2 asks of texts."""
    pixels = tag('cat', 12, np.array(color))
    assert (pixels[0] == color).all()
    darkest, lightest = sorted(map(luminance, (pixels.min((0, 1)), pixels.max((0, 1)))))
    assert (lightest + 0.05) / (darkest + 0.05) > 4.5


def test_memory_does_not_grow_with_the_number_of_masks():
    """Of 60 masks of the whole image, one at a time exists; the image has 3 bytes a pixel."""
    height, width = 600, 800
    mask = np.ones((height, width), bool)
    rles = RLEs([encoded(mask, 'text')] * 60, (height, width))
    image = image_of(height, width)
    segments = Segments(rles, np.arange(60) % 3)
    draw_segments(image, segments, CLASSES, distinct_colors(3))  # letters are kept
    tracemalloc.start()
    draw_segments(image, segments, CLASSES, distinct_colors(3))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * height * width  # bytes
