"""Tiles: what is in them, that nothing depends on how many they are, and how much memory they take."""

import random

import pytest
import torch

from m2f_mm.postprocess import (
    PanopticRules,
    Sizes,
    instance_segmentation,
    panoptic_segmentation,
    semantic_scores,
    semantic_segmentation,
)
from m2f_mm.postprocess.tiles import QUERIES, ROWS, Blocks, RowResize, first_argmax, tiles
from tests.helpers.lazy_masks import SIZES, each_size, random_predictions, tiled_masks, whole_masks

each_budget = pytest.mark.parametrize('tile_bytes', [1, 20000, 100000], ids=['narrow', 'some rows', 'more rows'])
each_number = pytest.mark.parametrize('queries', [7, 300], ids=['few', 'several products'])


@each_size
@each_number
def test_tiles_are_the_whole(sizes, queries):
    _, embeds, features = random_predictions(sizes, queries=queries)
    expected = whole_masks(embeds, features, sizes)
    torch.testing.assert_close(tiled_masks(embeds, features, sizes, 1), expected, atol=1e-4, rtol=1e-5)


@each_size
@each_number
@each_budget
def test_order_and_size(sizes, queries, tile_bytes):
    """Bands from the top, in each all chunks of queries; no tile is larger than it must."""
    _, embeds, features = random_predictions(sizes, queries=queries)
    bottom = last = queries
    for rows, chunk, logits in tiles(embeds, features, sizes, tile_bytes):
        if last == queries:  # a new band
            assert rows.start == (0 if chunk.start == bottom == queries else rows.start) and rows.start % ROWS == 0
            last = 0
        assert chunk.start == last and chunk.stop - chunk.start <= QUERIES
        assert logits.shape == (chunk.stop - chunk.start, rows.stop - rows.start, sizes.output[1])
        assert rows.stop - rows.start <= ROWS or 4 * logits.numel() <= tile_bytes
        last = chunk.stop
    assert last == queries and rows.stop == sizes.output[0]


@each_size
def test_tiles_may_be_changed_in_place(sizes):
    _, embeds, features = random_predictions(sizes, queries=300)
    before, expected = features.clone(), tiled_masks(embeds, features, sizes)
    result = torch.zeros_like(expected)
    for rows, queries, logits in tiles(embeds, features, sizes, 1):
        result[queries, rows] = logits
        logits.fill_(float('nan'))
    assert torch.equal(result, expected) and torch.equal(features, before)


def test_no_queries_give_no_tiles():
    _, embeds, features = random_predictions(SIZES['larger'])
    assert not list(tiles(embeds[:0], features, SIZES['larger']))


@each_size
@each_number
@each_budget
class TestNothingDependsOnTheBudget:
    """To the last bit."""

    def test_logits(self, sizes, queries, tile_bytes):
        _, embeds, features = random_predictions(sizes, queries=queries)
        assert torch.equal(tiled_masks(embeds, features, sizes, tile_bytes), tiled_masks(embeds, features, sizes))

    @pytest.mark.parametrize('resize_masks', [False, True])
    def test_semantic(self, sizes, queries, tile_bytes, resize_masks):
        predictions = random_predictions(sizes, queries=queries, classes=9)
        result, expected = (semantic_scores(*predictions, sizes, resize_masks, size) for size in (tile_bytes, 2**40))
        assert torch.equal(result, expected)
        assert torch.equal(semantic_segmentation(*predictions, sizes, resize_masks, tile_bytes), expected.argmax(0))

    def test_panoptic(self, sizes, queries, tile_bytes):
        predictions = random_predictions(sizes, queries=queries)
        result, expected = (
            panoptic_segmentation(
                *predictions, sizes, PanopticRules([True, False, True, False], 0.4, 0.1), tile_bytes=size
            )
            for size in (tile_bytes, 2**40)
        )
        assert torch.equal(result[0], expected[0]) and result[1] == expected[1]

    @pytest.mark.parametrize('form', ['bitmap', 'rle'])
    def test_instances(self, sizes, queries, tile_bytes, form):
        predictions = random_predictions(sizes, queries=queries)
        result, expected = (
            instance_segmentation(*predictions, sizes, 2 * queries, mask_form=form, tile_bytes=size)
            for size in (tile_bytes, 2**40)
        )
        for name in ('scores', 'labels', 'boxes'):
            assert torch.equal(getattr(result, name), getattr(expected, name))
        same = result.masks == expected.masks
        assert same if form == 'rle' else same.all()


@pytest.mark.parametrize(
    'source, target',
    [
        (540, 2160),
        (2160, 540),
        (4001, 6003),
        (1, 7),
        (7, 1),
        (9999, 10007),
        (2, 8),
        (2, 30000),
        (30000, 2),
        (29999, 30000),
    ],
)
def test_needed_rows_hold_what_is_read(source, target):
    resize = RowResize(source, target, torch.device('cpu'))
    for start in range(0, target, 13):
        stop = min(start + 8, target)
        first, end = resize.needed(start, stop)
        low, high = int(resize.upper[start:stop].min()), int(resize.lower[start:stop].max())
        assert first <= low <= high < end and (end - first) - (high - low + 1) <= 2


def random_sizes(count):
    """Sizes down to one pixel and of any aspect ratio, with and without padding; the generator's choice is fixed."""
    draw = random.Random(0)

    def side():
        return draw.choice([1, 1, 2, 3, draw.randint(1, 12), draw.randint(1, 90)])

    for _ in range(count):
        image, output = (side(), side()), (side(), side())
        padded = tuple(draw.choice([length, length + draw.randint(0, 9), -(-length // 32) * 32]) for length in image)
        yield Sizes(padded, image, output if draw.random() < 0.8 else image)


def test_any_size_is_two_plain_resizes():
    """Positions above the centre of the first row are clamped to it, and read the second row, too."""
    generator = torch.Generator().manual_seed(0)
    for sizes in [Sizes((8, 8), (2, 8), (2, 8)), *random_sizes(600)]:
        features = torch.randn(1, 3, *(-(-length // 4) for length in sizes.padded), generator=generator)
        embeds = torch.randn(2, 3, generator=generator)
        expected = whole_masks(embeds, features, sizes)
        for budget in (1, 2**40):
            result = tiled_masks(embeds, features, sizes, budget)
            torch.testing.assert_close(result, expected, atol=1e-4, rtol=1e-5, msg=f'differs at {sizes}')


@pytest.mark.parametrize('heights', [[5], [2, 2, 2, 1], [1] * 9, [4, 4, 3]])
def test_blocks(heights):
    """Any rows that do not go back, and only blocks that are still needed are held."""
    maps = torch.randn(3, sum(heights), 2)
    for step in (1, 2, 3, 5):
        computed = []
        rows = Blocks(computed.append(block) or block for block in maps.split(heights, 1))
        for start in range(0, maps.shape[1], step):
            stop = min(start + 2, maps.shape[1])
            assert torch.equal(rows(start, stop), maps[:, start:stop])
            assert sum(block.shape[1] for block in computed[:-1]) < stop, 'computed before it was needed'
            assert sum(block.shape[1] for block in rows.held) <= 2 + 2 * max(heights)


@pytest.mark.parametrize('count', [1, 2, 256, 257, 1000])
def test_first_argmax(count):
    x = torch.randint(0, 9, (count, 5, 7), generator=torch.Generator().manual_seed(0)).float()
    x[:, 0, 0] = float('-inf')
    x[:, 1] = 3
    best, index = first_argmax(x)
    expected = x.max(0)
    assert torch.equal(best, expected.values) and torch.equal(index, (x == best).int().argmax(0))


def peak(run):
    """Most bytes at once, by the events of the allocator."""
    with torch.autograd.profiler.profile(use_kineto=True, profile_memory=True) as profile:
        result = run()
    del result
    now = most = 0
    for event in profile.kineto_results.events():
        if event.name() == '[memory]':
            now += event.nbytes()
            most = max(most, now)
    return most


@pytest.mark.parametrize('task', ['panoptic', 'instance', 'semantic', 'semantic at padded size'])
def test_memory(task):
    """Bounded by what comes out and some rows of a product's queries, not by queries times pixels."""
    height, width, classes = 512, 256, 9
    sizes = Sizes((height, width), (height, width), (height, width))

    def memory(queries):
        predictions = random_predictions(sizes, queries=queries, classes=classes)
        predictions[0][:, -1] = -50  # nothing can be left out
        with torch.no_grad():
            if task == 'panoptic':
                rules = PanopticRules([True] * classes, object_threshold=0.0)
                return peak(lambda: panoptic_segmentation(*predictions, sizes, rules, tile_bytes=1))
            if task == 'instance':
                return peak(lambda: instance_segmentation(*predictions, sizes, 50, mask_form='rle', tile_bytes=1))
            return peak(lambda: semantic_segmentation(*predictions, sizes, task == 'semantic', tile_bytes=1))

    memory(1)  # what the libraries allocate once
    tile = 4 * QUERIES * ROWS * width
    result = dict(panoptic=8, instance=50 / 8).get(task, 8) * height * width
    few, many = memory(QUERIES), memory(1000)
    assert few <= 6 * tile + result, 'more than a few tiles'
    logit_bytes = 4 * 1000 * 4 * ROWS * width // 4  # logits at the size of the features
    assert many <= few + logit_bytes < 4 * 1000 * height * width / 10
