"""Images in tiles: the results of tiles of a known image, joined, are that image's."""

from dataclasses import replace

import numpy as np
import pytest
from pycocotools import mask as coco_masks

from m2f_mm.apis.results import Result, ResultSegment
from m2f_mm.apis.tiling import image_tiles, merge_tiles
from m2f_mm.boxes import box_of_mask

CLASSES = ('cat', 'sky')
SIZE = (90, 130)


def ids():
    """Two cats, one of which crosses several tiles, and two regions of sky."""
    panoptic = np.zeros(SIZE, np.int32)
    panoptic[:20], panoptic[70:] = 3, 3
    panoptic[10:60, 20:100] = 1
    panoptic[30:50, 105:125] = 2
    return panoptic


def whole(kind):
    panoptic = ids()
    image = np.zeros((*SIZE, 3), np.uint8)
    result = Result('a', image, kind, [], CLASSES)
    result.panoptic = panoptic if kind == 'panoptic' else None
    result.semantic = np.array([255, 0, 0, 1], np.uint8)[panoptic]
    for number, label in ((1, 0), (2, 0), (3, 1)):
        mask = panoptic == number
        rle = coco_masks.encode(np.asfortranarray(mask, np.uint8))
        masks = dict(panoptic=dict(ids=panoptic, value=number), instance=dict(given_rle=rle), boxes={}, semantic={})[
            kind
        ]
        box = tuple(map(float, box_of_mask(mask)))
        result.segments.append(ResultSegment(label, CLASSES[label], 0.9, label == 0, number, box, SIZE, **masks))
    if kind in ('instance', 'boxes'):
        result.segments = result.segments[:2]
    return result


def part(result, tile):
    """What a perfect model says of a tile: every object that has a pixel there, with a number of its own."""
    image = result.image[tile.rows, tile.columns]
    cut = Result('a', image, result.kind, [], CLASSES)
    crop = ids()[tile.rows, tile.columns]
    if result.kind == 'panoptic':
        cut.panoptic = np.zeros_like(crop)
    cut.semantic = result.semantic[tile.rows, tile.columns]
    for segment in result.segments:
        mask = crop == segment.id
        if mask.any():
            number = len(cut.segments) + 1
            fields = dict(
                id=number, box=tuple(map(float, box_of_mask(mask))), size=mask.shape, ids=None, given_rle=None
            )
            if result.kind == 'panoptic':
                cut.panoptic[mask] = number
                fields.update(ids=cut.panoptic, value=number)
            elif result.kind == 'instance':
                fields['given_rle'] = coco_masks.encode(np.asfortranarray(mask, np.uint8))
            cut.segments.append(replace(segment, **fields))
    return cut


@pytest.mark.parametrize('kind', ['panoptic', 'instance', 'boxes', 'semantic'])
@pytest.mark.parametrize('overlap', [0.2, 0.5])
def test_objects_are_joined_across_tiles(kind, overlap):
    expected = whole(kind)
    tiles = image_tiles((50, 64), overlap)(*SIZE)
    assert len(tiles) > 4
    owned = np.zeros(SIZE, int)
    for tile in tiles:
        owned[tile.own_rows, tile.own_columns] += 1
        assert tile.rows.start <= tile.own_rows.start and tile.own_rows.stop <= tile.rows.stop
    assert (owned == 1).all()  # every pixel belongs to one tile
    merged = merge_tiles([part(expected, tile) for tile in tiles], tiles, expected.image)
    if kind == 'semantic':
        assert np.array_equal(merged.semantic, expected.semantic)
        assert [segment.is_thing for segment in merged] == [True, False]  # also of classes that the first tile lacks
        return
    assert len(merged) == len(expected)
    boxes = sorted(segment.box for segment in expected)
    assert sorted(tuple(map(float, segment.box)) for segment in merged) == boxes
    if kind == 'panoptic':
        assert np.array_equal(merged.semantic, expected.semantic)
    if kind != 'boxes':
        masks = {segment.box: segment.mask for segment in expected}
        for segment in merged:
            assert np.array_equal(segment.mask, masks[tuple(map(float, segment.box))])


def test_small_images_are_not_cut():
    assert image_tiles(100)(80, 100) == []


@pytest.mark.parametrize('arguments', [(8,), ((100, 100), 1.0)])
def test_impossible_tiles(arguments):
    with pytest.raises(ValueError, match='take a'):
        image_tiles(*arguments)
